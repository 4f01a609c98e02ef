#include "organization/organization.hpp"

#include "pg/error.hpp"

namespace cairn::organization {
namespace {

using account::AccountId;

const pg::Constraint slug_taken{"organizations_slug_key", Kind::conflict, "slug_taken", "/slug", "is not available"};
const pg::Constraint member_already{"user_organizations_user_id_organization_id_key", Kind::conflict, "member_already",
                                    "/email", "is a member already"};
const pg::Constraint last_owner{"user_organizations_last_owner", Kind::conflict, "last_owner", "",
                                "An organization keeps at least one owner: make somebody else owner first."};
const pg::Constraint permissions_known{"user_organizations_permissions_known", Kind::invalid, "contradictory",
                                       "/permissions", "must not grant and deny the same"};
const pg::Constraint owner_undenied{"user_organizations_owner_undenied", Kind::invalid, "owner_undenied",
                                    "/permissions", "must deny nothing to an owner"};
const pg::Constraint suspension{"organizations_status_suspended", Kind::forbidden, "suspended", "",
                                "Only an administrator of the server suspends an organization or ends that."};

// First in every change of memberships: what comes after it sees who the actor is by then.
const pg::Sql<void(OrganizationId)> take_turn{"organization.take_turn", "select app.take_turn($1)"};

// -- organizations
// ------------------------------------------------------------------------------------------------------

const pg::Sql<Organization(OrganizationId)> by_id{"organization.by_id", R"sql(
  select o.id, o.name, o.slug, o.description, o.logo_url, o.website_url, o.industry, o.size, o.status, o.settings, m.role,
         o.created_at, o.updated_at, o.deleted_at, o.version
  from organizations o join app.memberships m on m.organization_id = o.id where o.id = $1)sql"};

const pg::Family<Organization> mine{"organization.mine",
                                    R"sql(
  select t.id, t.name, t.slug, t.description, t.logo_url, t.website_url, t.industry, t.size, t.status, t.settings, m.role,
         t.created_at, t.updated_at, t.deleted_at, t.version
  from organizations t join app.memberships m on m.organization_id = t.id where true)sql",
                                    {},
                                    {{"name", "t.name"}, {"created_at", "t.created_at"}}};

// Of the past, those that the caller is a member of now, and the role of now.
const pg::Sql<Organization(OrganizationId, std::optional<Instant>, std::optional<std::string>)> by_id_as_of{
    "organization.by_id_as_of", R"sql(
  select t.id, t.name, t.slug, t.description, t.logo_url, t.website_url, t.industry, t.size, t.status, t.settings, m.role,
         t.created_at, t.updated_at, t.deleted_at, t.version
  from app.memberships m
  cross join lateral jsonb_populate_record(null::organizations, app.state_of(
    'organizations', $1, (select to_jsonb(o) from organizations o where o.id = $1),
    coalesce($2::timestamptz, '-infinity'), coalesce($3::text, '1:1:')::pg_snapshot)) t
  where m.organization_id = $1 and t.id is not null)sql"};

const pg::Family<Organization> mine_as_of{"organization.mine_as_of",
                                          R"sql(
  select t.id, t.name, t.slug, t.description, t.logo_url, t.website_url, t.industry, t.size, t.status, t.settings, m.role,
         t.created_at, t.updated_at, t.deleted_at, t.version
  from app.memberships m
  cross join lateral jsonb_populate_record(null::organizations, app.state_of(
    'organizations', m.organization_id, (select to_jsonb(o) from organizations o where o.id = m.organization_id),
    coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot)) t
  where t.id is not null)sql",
                                          {},
                                          {{"name", "t.name"}, {"created_at", "t.created_at"}}};

const pg::Family<Organization> mine_deleted{"organization.mine_deleted",
                                            R"sql(
  select t.id, t.name, t.slug, t.description, t.logo_url, t.website_url, t.industry, t.size, t.status, t.settings,
         'owner'::organization_role as role, t.created_at, t.updated_at, t.deleted_at, t.version
  from app.deleted_organizations() t where t.id = coalesce(app.token_organization(), t.id))sql",
                                            {},
                                            {{"name", "t.name"}, {"created_at", "t.created_at"}}};

const pg::Sql<void(OrganizationId, Name, Slug, std::optional<Markdown>, std::optional<Url<500>>,
                   std::optional<Url<500>>, std::optional<Text<1, 100>>, std::optional<Size>,
                   std::optional<JsonObject>)>
    insert_organization{"organization.insert", R"sql(
  insert into organizations (id, name, slug, description, logo_url, website_url, industry, size, settings)
  values ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, '{}'::jsonb)))sql"};

const pg::Sql<void(OrganizationId)> insert_founder{"organization.insert_founder", R"sql(
  insert into user_organizations (user_id, organization_id, role) values (app.actor(), $1, 'owner'))sql"};

// The status is for owners to change, and when nothing else is (the last parameter), also where it leaves them no
// right.
const pg::Sql<OrganizationId(OrganizationId, Change<Name>, Change<Slug>, Change<std::optional<Markdown>>,
                             Change<std::optional<Url<500>>>, Change<std::optional<Url<500>>>,
                             Change<std::optional<Text<1, 100>>>, Change<std::optional<Size>>, Change<JsonObject>,
                             std::optional<std::int64_t>, std::int64_t, Change<Status>, bool)>
    update_organization{"organization.update", R"sql(
  update organizations o set
    name = case when $2 then $3 else name end, slug = case when $4 then $5 else slug end,
    description = case when $6 then $7 else description end, logo_url = case when $8 then $9 else logo_url end,
    website_url = case when $10 then $11 else website_url end, industry = case when $12 then $13 else industry end,
    size = case when $14 then $15 else size end, settings = case when $16 then $17 else settings end,
    status = case when $20 then $21 else status end
  from app.memberships m
  where o.id = $1 and m.organization_id = o.id and (m.rights & $19 <> 0 or $22)
    and (not $20 or m.role = 'owner') and ($18::bigint is null or o.version = $18)
  returning o.id)sql"};

const pg::Sql<void(OrganizationId, std::optional<std::int64_t>, std::int64_t)> delete_organization{
    "organization.delete", R"sql(
  update organizations o set deleted_at = clock_timestamp()
  from app.memberships m
  where o.id = $1 and m.organization_id = o.id and m.rights & $3 <> 0 and ($2::bigint is null or o.version = $2))sql"};

const pg::Sql<Standing(OrganizationId)> standing{"organization.standing", R"sql(
  select m.rights, o.version from organizations o join app.memberships m on m.organization_id = o.id where o.id = $1)sql"};

struct OwnerStanding : Standing {
  OwnerStanding() = default;
  bool owner = false;
};
BOOST_DESCRIBE_STRUCT(OwnerStanding, (Standing), (owner))

const pg::Sql<OwnerStanding(OrganizationId)> owner_standing{"organization.owner_standing", R"sql(
  select m.rights, o.version, m.role = 'owner' as owner
  from organizations o join app.memberships m on m.organization_id = o.id where o.id = $1)sql"};

const pg::Sql<bool(OrganizationId)> restore_organization{"organization.restore", R"sql(
  select app.restore_organization($1))sql"};

// Nothing is denied to an owner.
const pg::Sql<void(OrganizationId, AccountId, std::int64_t)> transfer_ownership{"organization.transfer", R"sql(
  update user_organizations o
  set role = case when o.user_id = $2 then 'owner'::organization_role else 'admin'::organization_role end,
      permissions = case when o.user_id = $2 then app.undenied(o.permissions) else o.permissions end
  from app.memberships m
  where o.organization_id = $1 and m.organization_id = $1 and m.role = 'owner' and m.rights & $3 <> 0
    and o.user_id in ($2, app.actor()) and $2 <> app.actor()
    and exists (select from user_organizations t join users u on u.id = t.user_id
                where t.organization_id = $1 and t.user_id = $2 and u.status = 'active'))sql"};

[[noreturn]] void refuse_organization(const std::optional<OwnerStanding>& found, std::int64_t needed,
                                      api::IfMatch match = {}) {
  std::optional<Standing> own;
  if (found) own = *found;
  refuse(own, needed, match);
}
void refuse_unless_owner(const std::optional<OwnerStanding>& found) {
  if (!found || (found->rights & permission::organization_delete) == 0)
    refuse_organization(found, permission::organization_delete);
  if (!found->owner) throw Problem(Kind::forbidden, "Only an owner hands an organization over.");
}

async<api::Created<Organization>> create(pg::Tx& tx, Draft draft) {
  const auto id = OrganizationId::make();
  co_await tx.run(insert_organization, id, draft.name, draft.slug, draft.description, draft.logo_url, draft.website_url,
                  draft.industry, draft.size, draft.settings);
  co_await tx.run(insert_founder, id);
  Organization organization = co_await tx.one(by_id, id);
  co_return organization;
}

async<api::Page<Organization>> list(api::Call& call, pg::ReadTx& tx, Filter query) {
  const auto key_of = [](const Organization& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id.value;
    if (sort == 0)
      cursor.text_key = row.name.str();
    else
      cursor.key = row.created_at.micros;
  };
  const auto bind_key = [](pg::Params& params, unsigned sort, const api::Cursor& cursor) {
    if (sort == 0)
      params.add(cursor.text_key);
    else
      params.add(Instant{cursor.key});
  };
  api::Selection selection;
  const auto* family = &mine;
  if (query.deleted.value_or(false)) {
    family = &mine_deleted;
  } else if (query.as_of) {
    const auto past = co_await api::settle(call, tx, *query.as_of);
    selection.always(past.at()).always(past.seen());
    family = &mine_as_of;
  }
  auto page = co_await api::read_page(tx, *family, std::move(selection), std::move(query), "name", key_of, bind_key);
  co_return page;
}

async<Organization> show(api::Call& call, pg::ReadTx& tx, OrganizationId id, api::AsOfQuery query) {
  if (!query.as_of) {
    Organization organization = co_await tx.one(by_id, id);
    co_return organization;
  }
  const auto past = co_await api::settle(call, tx, *query.as_of);
  Organization organization = co_await tx.one(by_id_as_of, id, past.at(), past.seen());
  co_return organization;
}

async<Organization> edit(pg::Tx& tx, OrganizationId id, api::IfMatch match, Edit edit) {
  const bool status_only = edit.status.given() && !edit.name.given() && !edit.slug.given() &&
                           !edit.description.given() && !edit.logo_url.given() && !edit.website_url.given() &&
                           !edit.industry.given() && !edit.size.given() && !edit.settings.given();
  const auto changed = co_await tx.maybe(update_organization, id, edit.name, edit.slug, edit.description, edit.logo_url,
                                         edit.website_url, edit.industry, edit.size, edit.settings, match.version,
                                         permission::organization_edit, edit.status, status_only);
  if (!changed) {
    const auto found = co_await tx.maybe(owner_standing, id);
    if (found && edit.status.given() && !found->owner)
      throw Problem(Kind::forbidden, "Only owners change the status of their organization.");
    refuse_organization(found, status_only ? 0 : permission::organization_edit, match);
  }
  Organization organization = co_await tx.one(by_id, id);
  co_return organization;
}

async<Organization> restore(pg::Tx& tx, OrganizationId id) {
  const bool restored = co_await tx.one(restore_organization, id);
  if (!restored) {
    const auto found = co_await tx.maybe(standing, id);
    if (!found || (found->rights & permission::organization_delete) == 0)
      refuse(found, permission::organization_delete);
  }
  Organization organization = co_await tx.one(by_id, id);
  co_return organization;
}

async<Organization> transfer(pg::Tx& tx, OrganizationId id, Transfer transfer) {
  co_await tx.run(take_turn, id);
  const auto changed = co_await tx.run(transfer_ownership, id, transfer.user_id, permission::organization_delete);
  if (changed == 0) {
    const auto own = co_await tx.maybe(owner_standing, id);
    refuse_unless_owner(own);
    std::vector<FieldError> errors;
    errors.emplace_back("/user_id", "not_a_member", "is not another member of this organization");
    throw Problem(Kind::invalid, "not_a_member", "user_id is not another member of this organization.")
        .with(std::move(errors));
  }
  Organization organization = co_await tx.one(by_id, id);
  co_return organization;
}

async<> remove(pg::Tx& tx, OrganizationId id, api::IfMatch match) {
  const auto changed = co_await tx.run(delete_organization, id, match.version, permission::organization_delete);
  if (changed == 0) refuse(co_await tx.maybe(standing, id), permission::organization_delete, match);
}

// -- members
// ------------------------------------------------------------------------------------------------------------

const pg::Sql<Member(OrganizationId, AccountId)> member_by_id{"organization.member", R"sql(
  select u.id as user_id, u.email, u.first_name, u.last_name, u.status, o.role,
         array(select jsonb_array_elements_text(o.permissions)) as permissions, o.joined_at, o.updated_at, o.version
  from user_organizations o join users u on u.id = o.user_id join app.memberships m on m.organization_id = o.organization_id
  where o.organization_id = $1 and o.user_id = $2)sql"};

// The list's own table is the membership: its id breaks ties, its row version is the member's.
struct MemberRow : Member {
  MemberRow() = default;
  Uuid id;
};
BOOST_DESCRIBE_STRUCT(MemberRow, (Member), (id))

const pg::Family<MemberRow> members{"organization.members",
                                    R"sql(
  select t.id, u.id as user_id, u.email, u.first_name, u.last_name, u.status, t.role,
         array(select jsonb_array_elements_text(t.permissions)) as permissions, t.joined_at, t.updated_at, t.version
  from user_organizations t join users u on u.id = t.user_id join app.memberships m on m.organization_id = t.organization_id
  where t.organization_id = {})sql",
                                    {pg::filter<Role>("t.role = {}"), pg::filter<Email>("u.email = {}")},
                                    {{"joined_at", "t.joined_at"}, {"email", "u.email"}}};

// Memberships of the past, of people as they are now.
const pg::Family<MemberRow> members_as_of{
    "organization.members_as_of",
    R"sql(
  select t.id, t.user_id, u.email, u.first_name, u.last_name, u.status, t.role,
         array(select jsonb_array_elements_text(t.permissions)) as permissions, t.joined_at, t.updated_at, t.version
  from app.members_as_of({}, coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot) t
  cross join lateral app.person(t.user_id) u
  where app.belongs_to(t.organization_id))sql",
    {pg::filter<Role>("t.role = {}"), pg::filter<Email>("u.email = {}"), pg::filter<AccountId>("t.user_id = {}")},
    {{"joined_at", "t.joined_at"}, {"email", "u.email"}}};

struct MemberQuery : api::PageQuery {
  MemberQuery() = default;
  std::optional<Role> role;
  std::optional<Email> email;
  std::optional<api::AsOf> as_of;
};
BOOST_DESCRIBE_STRUCT(MemberQuery, (api::PageQuery), (role, email, as_of))

// Nobody gives a role above their own, nor one that may do what they may not.
const pg::Sql<void(OrganizationId, AccountId, Role, std::int64_t)> insert_member{"organization.insert_member", R"sql(
  insert into user_organizations (user_id, organization_id, role)
  select $2, m.organization_id, $3 from app.memberships m
  where m.organization_id = $1 and m.rights & $4 <> 0 and m.rank >= app.role_rank($3)
    and (app.rights_of($3, '[]') & ~m.rights) = 0)sql"};

const pg::Sql<std::optional<AccountId>(Email)> user_by_email{"organization.user_by_email", R"sql(
  select app.user_by_email($1))sql"};

// Nor changes somebody above them, nor adds what they may not do to what somebody else may.
const pg::Sql<void(OrganizationId, AccountId, Change<Role>, Change<JsonArray>, std::optional<std::int64_t>,
                   std::int64_t)>
    update_member{"organization.update_member", R"sql(
  update user_organizations o set role = case when $3 then $4 else o.role end,
                                  permissions = case when $5 then $6 else o.permissions end
  from app.memberships m
  where o.organization_id = $1 and o.user_id = $2 and m.organization_id = o.organization_id and m.rights & $8 <> 0
    and m.rank >= app.role_rank(o.role) and m.rank >= app.role_rank(case when $3 then $4 else o.role end)
    and (app.rights_of(case when $3 then $4 else o.role end, case when $5 then $6 else o.permissions end)
         & ~(o.rights | m.rights)) = 0
    and ($7::bigint is null or o.version = $7))sql"};

const pg::Sql<void(OrganizationId, AccountId, std::optional<std::int64_t>, std::int64_t)> delete_member{
    "organization.delete_member", R"sql(
  delete from user_organizations o using app.memberships m
  where o.organization_id = $1 and o.user_id = $2 and m.organization_id = o.organization_id
    and (o.user_id = app.actor() or (m.rights & $4 <> 0 and m.rank >= app.role_rank(o.role)))
    and ($3::bigint is null or o.version = $3))sql"};

// How the caller stands to the member who is meant: also by rank, since nobody changes somebody above them, and by what
// the change would add that the caller may not do.
struct MemberStanding : Standing {
  MemberStanding() = default;
  std::int32_t rank = 0, target_rank = 0;
  std::int64_t beyond = 0;
};
BOOST_DESCRIBE_STRUCT(MemberStanding, (Standing), (rank, target_rank, beyond))

const pg::Sql<MemberStanding(OrganizationId, AccountId, Change<Role>, Change<JsonArray>)> member_standing{
    "organization.member_standing", R"sql(
  select m.rights, o.version, m.rank, app.role_rank(o.role) as target_rank,
         app.rights_of(case when $3 then $4 else o.role end, case when $5 then $6 else o.permissions end)
         & ~(o.rights | m.rights) as beyond
  from user_organizations o join app.memberships m on m.organization_id = o.organization_id
  where o.organization_id = $1 and o.user_id = $2)sql"};

struct Rank {
  Rank() = default;
  std::int64_t rights = 0, beyond = 0;
  std::int32_t rank = 0;
};
BOOST_DESCRIBE_STRUCT(Rank, (), (rights, beyond, rank))

const pg::Sql<Rank(OrganizationId, Role)> own_rank{"organization.own_rank", R"sql(
  select rights, app.rights_of($2, '[]') & ~rights as beyond, rank from app.memberships where organization_id = $1)sql"};

// As app.role_rank has them.
std::int32_t rank_of(Role role) {
  switch (role) {
    case Role::owner: return 4;
    case Role::admin: return 3;
    case Role::manager: return 2;
    case Role::member: return 1;
  }
  return 4;
}

[[noreturn]] void refuse_above() {
  throw Problem(Kind::forbidden, "Nobody gives a role above their own or changes somebody above them.");
}
[[noreturn]] void refuse_beyond(std::int64_t rights) {
  throw Problem(Kind::forbidden, "Nobody grants what they may not do themselves: " + names_of(rights) + ".");
}

[[noreturn]] void refuse_member(const std::optional<MemberStanding>& found, std::int32_t given_rank,
                                std::int64_t needed, api::IfMatch match) {
  std::optional<Standing> own;
  if (found) {
    if ((found->rights & needed) != 0 && found->rank < std::max(found->target_rank, given_rank)) refuse_above();
    if ((found->rights & needed) != 0 && found->beyond != 0) refuse_beyond(found->beyond);
    own = *found;
  }
  refuse(own, needed, match);
}

async<api::Page<Member>> read_members(pg::ReadTx& tx, const pg::Family<MemberRow>& family, api::Selection selection,
                                      api::PageQuery query) {
  const auto key_of = [](const MemberRow& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id;
    if (sort == 0)
      cursor.key = row.joined_at.micros;
    else
      cursor.text_key = row.email.str();
  };
  const auto bind_key = [](pg::Params& params, unsigned sort, const api::Cursor& cursor) {
    if (sort == 0)
      params.add(Instant{cursor.key});
    else
      params.add(cursor.text_key);
  };
  auto rows =
      co_await api::read_page(tx, family, std::move(selection), std::move(query), "joined_at", key_of, bind_key);
  api::Page<Member> page;
  page.data.assign(std::make_move_iterator(rows.data.begin()), std::make_move_iterator(rows.data.end()));
  page.next_cursor = std::move(rows.next_cursor);
  co_return page;
}

async<api::Page<Member>> list_members(api::Call& call, pg::ReadTx& tx, OrganizationId id, MemberQuery query) {
  api::Selection selection;
  selection.always(id);
  const auto* family = &members;
  if (query.as_of) {
    const auto past = co_await api::settle(call, tx, *query.as_of);
    selection.always(past.at()).always(past.seen());
    family = &members_as_of;
  }
  selection.when(0, query.role).when(1, query.email);
  auto page = co_await read_members(tx, *family, std::move(selection), std::move(query));
  if (page.data.empty()) co_await tx.one(standing, id);
  co_return page;
}

async<Member> show_member(api::Call& call, pg::ReadTx& tx, OrganizationId id, AccountId user, api::AsOfQuery query) {
  if (!query.as_of) {
    Member member = co_await tx.one(member_by_id, id, user);
    co_return member;
  }
  const auto past = co_await api::settle(call, tx, *query.as_of);
  const std::optional<AccountId> whom = user;
  api::Selection selection;
  selection.always(id).always(past.at()).always(past.seen()).when(2, whom);
  auto page = co_await read_members(tx, members_as_of, std::move(selection), api::PageQuery());
  if (page.data.empty()) throw Problem(Kind::not_found);
  co_return std::move(page.data.front());
}

async<api::Created<Member>> add_member(pg::Tx& tx, OrganizationId id, NewMember draft) {
  const auto role = draft.role.value_or(Role::member);
  co_await tx.run(take_turn, id);
  const auto own = co_await tx.one(own_rank, id, role);
  if ((own.rights & permission::member_invite) == 0) refuse(Standing(), permission::member_invite);
  if (own.rank < rank_of(role)) refuse_above();
  if (own.beyond != 0) refuse_beyond(own.beyond);
  const auto user = co_await tx.one(user_by_email, draft.email);
  if (!user) {
    std::vector<FieldError> errors;
    errors.emplace_back("/email", "no_such_account", "has no account on this server");
    throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
  }
  const auto changed = co_await tx.run(insert_member, id, *user, role, permission::member_invite);
  if (changed == 0) refuse(co_await tx.maybe(standing, id), permission::member_invite);
  Member member = co_await tx.one(member_by_id, id, *user);
  co_return member;
}

async<Member> edit_member(pg::Tx& tx, OrganizationId id, AccountId user, api::IfMatch match, MemberEdit edit) {
  Change<JsonArray> permissions;
  if (edit.permissions.given()) permissions.set(json_of(edit.permissions.value()));
  co_await tx.run(take_turn, id);
  const auto changed =
      co_await tx.run(update_member, id, user, edit.role, permissions, match.version, permission::member_edit);
  if (changed == 0) {
    const auto found = co_await tx.maybe(member_standing, id, user, edit.role, permissions);
    refuse_member(found, edit.role.given() ? rank_of(edit.role.value()) : 0, permission::member_edit, match);
  }
  // An administrator may have just given up the right to see it from above, never the right to see it.
  Member member = co_await tx.one(member_by_id, id, user);
  co_return member;
}

async<> remove_member(pg::Tx& tx, OrganizationId id, AccountId user, api::IfMatch match) {
  co_await tx.run(take_turn, id);
  const auto changed = co_await tx.run(delete_member, id, user, match.version, permission::member_remove);
  if (changed > 0) co_return;
  const Change<Role> no_role;
  const Change<JsonArray> no_permissions;
  const auto found = co_await tx.maybe(member_standing, id, user, no_role, no_permissions);
  refuse_member(found, 0, permission::member_remove, match);
}

}  // namespace

async<Organization> find(pg::Reader& tx, OrganizationId id) { return tx.one(by_id, id); }

void mount(api::Api& api) {
  using api::Access;
  api.post("/organizations", create,
           {.id = "organization.create",
            .summary = "Create an organization",
            .description = "The caller becomes its owner.",
            .allow = Access::user,
            .location = "/organizations/{id}",
            .problems = "slug_taken"});
  api.get("/organizations", list,
          {.id = "organization.list", .summary = "List my organizations", .allow = Access::user});
  api.get("/organizations/{organization}", show,
          {.id = "organization.show", .summary = "Show an organization", .allow = Access::member});
  api.patch("/organizations/{organization}", edit,
            {.id = "organization.edit",
             .summary = "Change an organization",
             .allow = Access::admin,
             .problems = "slug_taken,suspended,stale"});
  api.del("/organizations/{organization}", remove,
          {.id = "organization.remove",
           .summary = "Delete an organization",
           .description = "It disappears for everybody at once. Its owners can restore it for 30 days; then it is "
                          "purged, its record apart.",
           .allow = Access::owner});
  api.post("/organizations/{organization}/restoration", restore,
           {.id = "organization.restore",
            .summary = "Restore a deleted organization",
            .description = "As it was, for 30 days after it was deleted. GET /organizations?deleted=true lists what "
                           "there is.",
            .allow = Access::owner});
  api.post("/organizations/{organization}/transfer", transfer,
           {.id = "organization.transfer",
            .summary = "Hand an organization over",
            .description = "The other member becomes owner and the caller administrator, both at once.",
            .allow = Access::owner,
            .problems = "not_a_member"});

  api.get("/organizations/{organization}/members", list_members,
          {.id = "member.list", .summary = "List members", .allow = Access::member});
  api.post("/organizations/{organization}/members", add_member,
           {.id = "member.add",
            .summary = "Add a member",
            .allow = Access::admin,
            .problems = "member_already,no_such_account"});
  api.get("/organizations/{organization}/members/{user}", show_member,
          {.id = "member.show", .summary = "Show a member", .allow = Access::member});
  api.patch("/organizations/{organization}/members/{user}", edit_member,
            {.id = "member.edit",
             .summary = "Change a member's role and permissions",
             .description = "Nobody gives a role above their own, grants what they may not do themselves, or changes "
                            "somebody above them; the last owner stays.",
             .allow = Access::admin,
             .problems = "last_owner,contradictory,owner_undenied,stale"});
  api.del("/organizations/{organization}/members/{user}", remove_member,
          {.id = "member.remove",
           .summary = "Remove a member",
           .description = "Anybody may remove themselves. The member's tasks in this organization become unassigned.",
           .allow = Access::admin,
           .problems = "last_owner,stale"});

  mount_permissions(api);
  mount_invitations(api);
  mount_counts(api);
}

}  // namespace cairn::organization
