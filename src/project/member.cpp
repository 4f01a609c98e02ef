#include "project/member.hpp"

#include "pg/error.hpp"

namespace cairn::project {
namespace {

namespace permission = organization::permission;
using organization::refuse;
using organization::Standing;

const pg::Constraint member_already{"project_members_project_id_user_id_key", Kind::conflict, "member_already",
                                    "/user_id", "is a member already"};
const pg::Constraint not_a_member{"project_members_is_member", Kind::invalid, "not_a_member", "/user_id",
                                  "is not a member of this organization"};

const pg::Sql<Member(ProjectId, AccountId)> by_id{"project_member.by_id", R"sql(
  select u.id as user_id, u.email, u.first_name, u.last_name, t.role, t.created_at, t.updated_at, t.version
  from project_members t join users u on u.id = t.user_id
  where t.project_id = $1 and t.user_id = $2 and app.belongs_to(t.organization_id))sql"};

// The list's own table is the membership, whose id breaks ties.
struct MemberRow : Member {
  MemberRow() = default;
  Uuid id;
};
BOOST_DESCRIBE_STRUCT(MemberRow, (Member), (id))

const pg::Family<MemberRow> in_project{"project_member.in_project",
                                       R"sql(
  select t.id, u.id as user_id, u.email, u.first_name, u.last_name, t.role, t.created_at, t.updated_at, t.version
  from project_members t join users u on u.id = t.user_id
  where t.project_id = {} and app.belongs_to(t.organization_id))sql",
                                       {pg::filter<ProjectRole>("t.role = {}")},
                                       {{"created_at", "t.created_at"}, {"email", "u.email"}}};

// Nobody gives a role that may do what they may not, nor changes or removes somebody who has one.
const pg::Sql<void(ProjectId, AccountId, ProjectRole, std::int64_t)> insert_member{"project_member.insert", R"sql(
  insert into project_members (project_id, organization_id, user_id, role)
  select p.id, p.organization_id, $2::uuid, $3::project_role
  from projects p cross join lateral (select app.rights_in(p.organization_id, p.id) as rights) m
  where p.id = $1 and m.rights & $4 <> 0 and (app.project_rights_of($3::project_role::text) & ~m.rights) = 0)sql"};

const pg::Sql<void(ProjectId, AccountId, ProjectRole, std::optional<std::int64_t>, std::int64_t)> update_member{
    "project_member.update", R"sql(
  update project_members t set role = $3
  from projects p cross join lateral (select app.rights_in(p.organization_id, p.id) as rights) m
  where t.project_id = $1 and t.user_id = $2 and p.id = $1 and m.rights & $5 <> 0
    and ((app.project_rights_of($3::project_role::text) | app.project_rights_of(t.role::text)) & ~m.rights) = 0
    and ($4::bigint is null or t.version = $4))sql"};

const pg::Sql<void(ProjectId, AccountId, std::optional<std::int64_t>, std::int64_t)> delete_member{
    "project_member.delete", R"sql(
  delete from project_members t using projects p
  where t.project_id = $1 and t.user_id = $2 and p.id = $1 and app.belongs_to(p.organization_id)
    and (t.user_id = app.actor()
         or app.rights_in(p.organization_id, p.id) & $4 <> 0
            and (app.project_rights_of(t.role::text) & ~app.rights_in(p.organization_id, p.id)) = 0)
    and ($3::bigint is null or t.version = $3))sql"};

// `beyond` is what the roles involved, the one to give and the one that is there, may do and the caller may not.
struct MemberStanding : Standing {
  MemberStanding() = default;
  std::int64_t beyond = 0;
};
BOOST_DESCRIBE_STRUCT(MemberStanding, (Standing), (beyond))

const pg::Sql<MemberStanding(ProjectId, std::optional<ProjectRole>)> standing{"project_member.standing_in_project",
                                                                              R"sql(
  select app.rights_in(p.organization_id, p.id) as rights, 0::bigint as version,
         coalesce(app.project_rights_of($2::project_role::text), 0) & ~app.rights_in(p.organization_id, p.id) as beyond
  from projects p where p.id = $1 and app.belongs_to(p.organization_id))sql"};

const pg::Sql<MemberStanding(ProjectId, AccountId, std::optional<ProjectRole>)> member_standing{
    "project_member.standing", R"sql(
  select app.rights_in(t.organization_id, t.project_id) as rights, t.version,
         (coalesce(app.project_rights_of($3::project_role::text), 0) | app.project_rights_of(t.role::text))
         & ~app.rights_in(t.organization_id, t.project_id) as beyond
  from project_members t where t.project_id = $1 and t.user_id = $2 and app.belongs_to(t.organization_id))sql"};

[[noreturn]] void refuse_member(const std::optional<MemberStanding>& found, api::IfMatch match = {}) {
  std::optional<Standing> own;
  if (found) {
    if ((found->rights & permission::project_members) != 0 && found->beyond != 0)
      throw Problem(Kind::forbidden,
                    "Nobody gives a role that may do what they may not, or changes somebody who has one: " +
                        organization::names_of(found->beyond) + ".");
    own = *found;
  }
  refuse(own, permission::project_members, match);
}

async<api::Page<Member>> list(pg::ReadTx& tx, ProjectId project, MemberFilter filter) {
  api::Selection selection;
  selection.always(project).when(0, filter.role);
  const auto key_of = [](const MemberRow& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id;
    if (sort == 0)
      cursor.key = row.created_at.micros;
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
      co_await api::read_page(tx, in_project, std::move(selection), std::move(filter), "created_at", key_of, bind_key);
  if (rows.data.empty()) co_await tx.one(standing, project, std::nullopt);
  api::Page<Member> page;
  page.data.assign(std::make_move_iterator(rows.data.begin()), std::make_move_iterator(rows.data.end()));
  page.next_cursor = std::move(rows.next_cursor);
  co_return page;
}

async<Member> show(pg::ReadTx& tx, ProjectId project, AccountId user) { return tx.one(by_id, project, user); }

async<api::Created<Member>> add(pg::Tx& tx, ProjectId project, NewMember draft) {
  const auto role = draft.role.value_or(ProjectRole::contributor);
  const auto changed = co_await tx.run(insert_member, project, draft.user_id, role, permission::project_members);
  if (changed == 0) refuse_member(co_await tx.maybe(standing, project, role));
  Member member = co_await tx.one(by_id, project, draft.user_id);
  co_return member;
}

async<Member> edit(pg::Tx& tx, ProjectId project, AccountId user, api::IfMatch match, MemberEdit edit) {
  const auto changed =
      co_await tx.run(update_member, project, user, edit.role, match.version, permission::project_members);
  if (changed == 0) refuse_member(co_await tx.maybe(member_standing, project, user, edit.role), match);
  Member member = co_await tx.one(by_id, project, user);
  co_return member;
}

async<> remove(pg::Tx& tx, ProjectId project, AccountId user, api::IfMatch match) {
  const auto changed = co_await tx.run(delete_member, project, user, match.version, permission::project_members);
  if (changed == 0) refuse_member(co_await tx.maybe(member_standing, project, user, std::nullopt), match);
}

}  // namespace

void mount_members(api::Api& api) {
  using api::Access;
  api.get("/projects/{project}/members", list,
          {.id = "project_member.list", .summary = "List a project's members", .allow = Access::member});
  api.post("/projects/{project}/members", add,
           {.id = "project_member.add",
            .summary = "Add a member to a project",
            .description = "Of somebody who is a member of its organization already.",
            .allow = Access::manager,
            .problems = "member_already,not_a_member"});
  api.get("/projects/{project}/members/{user}", show,
          {.id = "project_member.show", .summary = "Show a project's member", .allow = Access::member});
  api.patch("/projects/{project}/members/{user}", edit,
            {.id = "project_member.edit",
             .summary = "Change a member's role in a project",
             .allow = Access::manager,
             .problems = "stale"});
  api.del("/projects/{project}/members/{user}", remove,
          {.id = "project_member.remove",
           .summary = "Remove a member from a project",
           .description = "Anybody may remove themselves, a last lead too: who sees all private projects can name "
                          "another. Tasks in a private project that its member was assigned become unassigned.",
           .allow = Access::manager,
           .problems = "stale"});
}

}  // namespace cairn::project
