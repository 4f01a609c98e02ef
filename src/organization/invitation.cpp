#include "organization/invitation.hpp"

#include <fmt/format.h>

#include "account/mail_token.hpp"
#include "account/password.hpp"
#include "job/outbox.hpp"
#include "pg/error.hpp"

namespace cairn::organization {
namespace {

using account::AccountId;
using account::MailToken;

constexpr std::size_t most_projects = 50;
constexpr std::chrono::minutes lifetime{7 * 24 * 60};

const pg::Constraint pending_already{"invitations_pending_key", Kind::conflict, "invitation_pending", "/email",
                                     "is invited already: send that invitation again"};
const pg::Constraint permissions_known{"invitations_permissions_known", Kind::invalid, "contradictory", "/permissions",
                                       "must not grant and deny the same"};
const pg::Constraint owner_undenied{"invitations_owner_undenied", Kind::invalid, "owner_undenied", "/permissions",
                                    "must deny nothing to an owner"};

#define CAIRN_INVITATION_COLUMNS                                                                                      \
  "t.id, t.organization_id, t.email, t.role, array(select jsonb_array_elements_text(t.permissions)) as "              \
  "permissions, t.projects, t.invited_by, t.expires_at, t.last_sent_at, t.accepted_at, t.revoked_at, t.accepted_by, " \
  "t.created_at, t.updated_at, t.version from invitations t "

const pg::Sql<Invitation(OrganizationId, InvitationId)> by_id{
    "invitation.by_id", "select " CAIRN_INVITATION_COLUMNS "where t.organization_id = $1 and t.id = $2"};

const pg::Family<Invitation> of_organization{
    "invitation.of_organization",
    "select " CAIRN_INVITATION_COLUMNS "where t.organization_id = {}",
    {pg::filter<bool>("(t.accepted_at is null and t.revoked_at is null and t.expires_at > now()) = {}")},
    {{"created_at", "t.created_at"}, {"email", "t.email"}}};

#undef CAIRN_INVITATION_COLUMNS

// How the caller stands to an invitation that gives a role and permissions.
struct Sender : Standing {
  Sender() = default;
  bool owner = false, ranks = false;
  std::int64_t beyond = 0;
  std::string organization, name;
};
BOOST_DESCRIBE_STRUCT(Sender, (Standing), (owner, ranks, beyond, organization, name))

const pg::Sql<Sender(OrganizationId, Role, JsonArray)> sender{"invitation.sender", R"sql(
  select m.rights, 0::bigint as version, m.role = 'owner' as owner, m.rank >= app.role_rank($2) as ranks,
         app.rights_of($2, $3) & ~m.rights as beyond, o.name as organization, u.first_name || ' ' || u.last_name as name
  from organizations o join app.memberships m on m.organization_id = o.id join users u on u.id = app.actor()
  where o.id = $1)sql"};

const pg::Sql<bool(OrganizationId, Email)> is_member{"invitation.is_member", R"sql(
  select exists (select from user_organizations o join users u on u.id = o.user_id
                 where o.organization_id = $1 and u.email = $2))sql"};

// The places of projects that the caller cannot add somebody to in that role.
const pg::Sql<std::int64_t(OrganizationId, JsonArray, std::int64_t)> refused_projects{"invitation.refused_projects",
                                                                                      R"sql(
  select e.n - 1 as n from jsonb_array_elements($2) with ordinality e(wanted, n)
  where not exists (
    select from projects p cross join lateral (select app.rights_in(p.organization_id, p.id) as rights) m
    where p.id = (e.wanted ->> 'project_id')::uuid and p.organization_id = $1 and m.rights & $3 <> 0
      and (app.project_rights_of(e.wanted ->> 'role') & ~m.rights) = 0)
  order by e.n)sql"};

const pg::Sql<void(InvitationId, OrganizationId, Email, Role, JsonArray, JsonArray, std::int64_t)> insert_invitation{
    "invitation.insert", R"sql(
  insert into invitations (id, organization_id, email, role, permissions, projects, invited_by, expires_at)
  values ($1, $2, $3, $4, $5, $6, app.actor(), clock_timestamp() + make_interval(mins => $7::bigint::int)))sql"};

const pg::Sql<void(InvitationId, Hash, bool)> set_token{"invitation.set_token",
                                                        R"sql(select app.set_invitation_token($1, $2, $3))sql"};

// Whoever sends it again answers for it from then on.
const pg::Sql<void(OrganizationId, InvitationId, std::int64_t, std::int64_t)> renew{"invitation.renew", R"sql(
  update invitations i set invited_by = app.actor(), last_sent_at = clock_timestamp(),
                           expires_at = clock_timestamp() + make_interval(mins => $4::bigint::int)
  from app.memberships m
  where i.organization_id = $1 and i.id = $2 and m.organization_id = $1 and m.rights & $3 <> 0
    and m.rank >= app.role_rank(i.role) and (app.rights_of(i.role, i.permissions) & ~m.rights) = 0
    and i.accepted_at is null and i.revoked_at is null)sql"};

const pg::Sql<void(OrganizationId, InvitationId, std::int64_t)> revoke_invitation{"invitation.revoke", R"sql(
  update invitations i set revoked_at = clock_timestamp()
  from app.memberships m
  where i.organization_id = $1 and i.id = $2 and m.organization_id = $1 and m.rights & $3 <> 0
    and m.rank >= app.role_rank(i.role) and i.accepted_at is null and i.revoked_at is null)sql"};

struct Opened : InvitationPreview {
  Opened() = default;
  bool mailed = false;
};
BOOST_DESCRIBE_STRUCT(Opened, (InvitationPreview), (mailed))

const pg::Sql<Opened(Hash)> opened{"invitation.opened", R"sql(
  select email, role, organization_name, invited_by_name, expires_at, mailed from app.show_invitation($1))sql"};

const pg::Sql<std::optional<OrganizationId>(Hash)> accept_invitation{"invitation.accept", R"sql(
  select app.accept_invitation($1))sql"};

void refuse_sender(const std::optional<Sender>& found) {
  std::optional<Standing> own;
  if (found) own = *found;
  if (!found || (found->rights & permission::member_invite) == 0) refuse(own, permission::member_invite);
  if (!found->ranks) throw Problem(Kind::forbidden, "Nobody gives a role above their own.");
  if (found->beyond != 0)
    throw Problem(Kind::forbidden, "Nobody grants what they may not do themselves: " + names_of(found->beyond) + ".");
}

[[noreturn]] void refuse_settled() {
  throw Problem(Kind::conflict, "invitation_settled", "This invitation was accepted or revoked already.");
}

[[noreturn]] void refuse_token() {
  std::vector<FieldError> errors;
  errors.emplace_back("/token", "invalid_token", "is not valid, or no longer: ask for another invitation");
  throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
}

JsonArray json_of(const std::vector<InvitedProject>& projects) {
  std::string text;
  json::encode(text, projects);
  return JsonArray::trusted(std::move(text));
}

// Gives the invitation its token and owes the mail. With a mail server the link is for the mail only, so that whoever
// has it reads that mail; without one the sender has to pass it on.
async<std::optional<std::string>> send(pg::Tx& tx, const api::Call& call, Invitation invitation, Sender by) {
  const auto token = MailToken::make();
  const bool mailed = !call.core.shared.config.mail.url.empty();
  co_await tx.run(set_token, invitation.id, token.hash, mailed);
  const auto address = account::link(call, "invitation", token);
  job::Mail mail;
  mail.kind = "invitation";
  mail.to = invitation.email;
  mail.subject = fmt::format("{} invites you to {}", by.name, by.organization);
  mail.text = fmt::format(
      "{} invites you to {} on Cairn.\n\nJoin here, within 7 days:\n{}\n\n"
      "If you did not expect this, do nothing.\n",
      by.name, by.organization, address);
  mail.good_for = lifetime;
  co_await job::post(tx, mail);
  std::optional<std::string> shown;
  if (!mailed) shown = address;
  co_return shown;
}

async<api::Created<SentInvitation>> invite(api::Call& call, pg::Tx& tx, OrganizationId organization,
                                           NewInvitation draft) {
  const auto role = draft.role.value_or(Role::member);
  const auto permissions = organization::json_of(draft.permissions.value_or(std::vector<Grant>()));
  const auto wanted = draft.projects.value_or(std::vector<InvitedProject>());
  auto by = co_await tx.maybe(sender, organization, role, permissions);
  refuse_sender(by);

  std::vector<FieldError> errors;
  if (wanted.size() > most_projects)
    errors.emplace_back("/projects", "too_many", fmt::format("must be at most {}", most_projects));
  const auto projects = json_of(wanted);
  if (errors.empty()) {
    const auto refused = co_await tx.all(refused_projects, organization, projects, permission::project_members);
    for (const auto index : refused)
      errors.emplace_back(fmt::format("/projects/{}", index), "invalid",
                          "is not a project that you can add somebody to in this role");
  }
  if (!errors.empty()) throw Problem(Kind::invalid, "Some projects are not acceptable.").with(std::move(errors));

  const bool member = co_await tx.one(is_member, organization, draft.email);
  if (member) {
    errors.emplace_back("/email", "member_already", "is a member already");
    throw Problem(Kind::conflict, "member_already", "email is a member already.").with(std::move(errors));
  }
  const auto id = InvitationId::make();
  co_await tx.run(insert_invitation, id, organization, draft.email, role, permissions, projects, lifetime.count());
  SentInvitation sent;
  static_cast<Invitation&>(sent) = co_await tx.one(by_id, organization, id);
  sent.link = co_await send(tx, call, sent, *by);
  co_return sent;
}

async<api::Page<Invitation>> list(pg::ReadTx& tx, OrganizationId organization, InvitationFilter filter) {
  api::Selection selection;
  selection.always(organization).when(0, filter.pending);
  const auto key_of = [](const Invitation& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id.value;
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
  auto page = co_await api::read_page(tx, of_organization, std::move(selection), std::move(filter), "-created_at",
                                      key_of, bind_key);
  if (!page.data.empty()) co_return page;
  const JsonArray nothing;
  const auto own = co_await tx.maybe(sender, organization, Role::member, nothing);
  if (!own || !own->owner) {
    std::optional<Standing> found;
    if (own) found = *own;
    if (!found || (found->rights & permission::member_invite) == 0) refuse(found, permission::member_invite);
  }
  co_return page;
}

async<Invitation> show(pg::ReadTx& tx, OrganizationId organization, InvitationId id) {
  const auto found = co_await tx.maybe(by_id, organization, id);
  if (found) co_return *found;
  const JsonArray nothing;
  const auto own = co_await tx.maybe(sender, organization, Role::member, nothing);
  if (own && !own->owner && (own->rights & permission::member_invite) == 0)
    refuse(Standing(), permission::member_invite);
  throw Problem(Kind::not_found);
}

// Why nothing came of an act on the invitation.
async<> explain(pg::Tx& tx, OrganizationId organization, InvitationId id) {
  const auto found = co_await tx.maybe(by_id, organization, id);
  if (!found) {
    const JsonArray nothing;
    const auto own = co_await tx.maybe(sender, organization, Role::member, nothing);
    if (own && (own->rights & permission::member_invite) == 0) refuse(Standing(), permission::member_invite);
    throw Problem(Kind::not_found);
  }
  const auto permissions = organization::json_of(found->permissions);
  const auto own = co_await tx.maybe(sender, organization, found->role, permissions);
  refuse_sender(own);
  refuse_settled();
}

async<SentInvitation> resend(api::Call& call, pg::Tx& tx, OrganizationId organization, InvitationId id) {
  const auto changed = co_await tx.run(renew, organization, id, permission::member_invite, lifetime.count());
  if (changed == 0) co_await explain(tx, organization, id);
  SentInvitation sent;
  static_cast<Invitation&>(sent) = co_await tx.one(by_id, organization, id);
  const auto permissions = organization::json_of(sent.permissions);
  const auto by = co_await tx.one(sender, organization, sent.role, permissions);
  sent.link = co_await send(tx, call, sent, by);
  co_return sent;
}

async<> revoke(pg::Tx& tx, OrganizationId organization, InvitationId id) {
  const auto changed = co_await tx.run(revoke_invitation, organization, id, permission::member_invite);
  if (changed == 0) co_await explain(tx, organization, id);
}

// -- the other side

async<InvitationPreview> preview(api::Call& call, InvitationToken given) {
  const auto hash = sha256(given.token.reveal());
  pg::ReadTx tx = call.core.database.read(pg::Prelude{}, call.deadline);
  const auto found = co_await tx.maybe(opened, hash);
  if (!found) refuse_token();
  InvitationPreview shown = *found;
  co_return shown;
}

async<Organization> accept(pg::Tx& tx, InvitationToken given) {
  const auto hash = sha256(given.token.reveal());
  const auto organization = co_await tx.one(accept_invitation, hash);
  if (!organization) {
    const auto found = co_await tx.maybe(opened, hash);
    if (found)
      throw Problem(Kind::forbidden, "other_account",
                    "This invitation is for another address: log in with the account of that address.");
    refuse_token();
  }
  Organization joined = co_await find(tx, *organization);
  co_return joined;
}

async<api::Created<account::Account>> join(api::Call& call, Newcomer draft) {
  const auto token_hash = sha256(draft.token.reveal());
  pg::ReadTx reading = call.core.database.read(pg::Prelude{}, call.deadline);
  const auto found = co_await reading.maybe(opened, token_hash);
  if (!found) refuse_token();
  account::check_password(draft.password, found->email, call.core.shared.config, "/password");
  const std::string password_hash = co_await call.core.shared.hasher.hash(draft.password);

  // A new person acts for themselves from the first row on. Nothing of them stays when the invitation went to somebody
  // else meanwhile.
  const auto id = AccountId::make();
  pg::Tx tx = call.core.database.write(session::as_user(call, id.value), call.deadline);
  co_await account::insert(tx, id, found->email, password_hash, draft.first_name, draft.last_name, found->mailed);
  const auto organization = co_await tx.one(accept_invitation, token_hash);
  if (!organization) refuse_token();
  account::Account account = co_await tx.finish(account::own_account);
  co_return account;
}

}  // namespace

void mount_invitations(api::Api& api) {
  using api::Access;
  api.post("/organizations/{organization}/invitations", invite,
           {.id = "invitation.create",
            .summary = "Invite somebody by e-mail",
            .description = "Whether or not the address has an account. Nobody gives a role above their own or grants "
                           "what they may not do themselves, also by the time the invitation is accepted.",
            .allow = Access::admin,
            .location = "/organizations/{organization}/invitations/{id}",
            .problems = "invitation_pending,member_already,contradictory,owner_undenied,too_many",
            .rate = api::Rate::mail});
  api.get("/organizations/{organization}/invitations", list,
          {.id = "invitation.list", .summary = "List invitations", .allow = Access::admin});
  api.get("/organizations/{organization}/invitations/{invitation}", show,
          {.id = "invitation.show", .summary = "Show an invitation", .allow = Access::admin});
  api.post("/organizations/{organization}/invitations/{invitation}/resend", resend,
           {.id = "invitation.resend",
            .summary = "Send an invitation again",
            .description = "With a new link, good for a week; the one before is void.",
            .allow = Access::admin,
            .problems = "invitation_settled",
            .rate = api::Rate::mail});
  api.del("/organizations/{organization}/invitations/{invitation}", revoke,
          {.id = "invitation.revoke",
           .summary = "Revoke an invitation",
           .allow = Access::admin,
           .problems = "invitation_settled"});
  api.post("/invitations/preview", preview,
           {.id = "invitation.preview",
            .summary = "What does this link invite to?",
            .allow = Access::anonymous,
            .problems = "invalid_token"});
  api.post("/invitations/acceptance", accept,
           {.id = "invitation.accept",
            .summary = "Accept an invitation",
            .description = "Logged in as the account of the address that was invited.",
            .allow = Access::user,
            .problems = "invalid_token,other_account"});
  api.post("/invitations/registration", join,
           {.id = "invitation.register",
            .summary = "Register and accept an invitation",
            .description = "For the address that was invited; also where registration is closed to others.",
            .allow = Access::anonymous,
            .location = "/me",
            .problems = "contains_email,email_taken,invalid_token,too_common,too_short",
            .rate = api::Rate::registration});
}

}  // namespace cairn::organization
