#include "admin/admin.hpp"

#include <fmt/format.h>

#include "account/mail_token.hpp"
#include "job/outbox.hpp"
#include "pg/error.hpp"

namespace cairn::admin {
namespace {

using account::AccountId;
using account::MailToken;
using account::Purpose;
using organization::OrganizationId;

const pg::Constraint last_admin{"users_last_admin", Kind::conflict, "last_admin", "",
                                "A server keeps at least one administrator: make somebody else one first."};
const pg::Constraint own_account{"users_role_own", Kind::forbidden, "own_account", "",
                                 "Nobody does this to their own account."};
const pg::Constraint no_admin{"users_role_admin", Kind::forbidden, "forbidden", "",
                              "This is for administrators of the server."};

// -- users
// --------------------------------------------------------------------------------------------------------------

const pg::Family<account::Account> all_users{
    "admin.users",
    R"sql(
  select t.id, t.email, t.first_name, t.last_name, t.role, t.status, t.email_verified, t.last_login_at, t.created_at,
         t.updated_at, t.version
  from app.server_users t where true)sql",
    {pg::filter<account::Status>("t.status = {}"), pg::filter<account::Role>("t.role = {}"),
     pg::filter<Text<1, 255>>(R"(t.email collate "C" ^@ lower({}))")},
    {{"email", R"(t.email collate "C")"}, {"created_at", "t.created_at"}}};

const pg::Sql<UserRow(AccountId)> user_by_id{"admin.user", R"sql(
  select id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version,
         sessions, api_tokens, second_factor
  from app.server_users where id = $1)sql"};

const pg::Sql<Membership(AccountId)> memberships{"admin.memberships", R"sql(
  select organization_id, name, slug, status, role, joined_at
  from app.server_memberships where user_id = $1 order by joined_at, organization_id)sql"};

const pg::Sql<void(AccountId, Email, account::Name, account::Name, account::Role, bool)> insert_user{
    "admin.insert_user", "select app.administer_new_user($1, $2, $3, $4, $5, $6)"};

const pg::Sql<bool(AccountId, std::optional<account::Role>, std::optional<account::Status>,
                   std::optional<std::int64_t>)>
    update_user{"admin.update_user", "select app.administer_user($1, $2, $3, $4)"};

const pg::Sql<bool(AccountId, Hash, std::string, std::string, std::int64_t)> post_reset{"admin.post_reset", R"sql(
  select app.administer_reset($1, $2, $3, $4, make_interval(mins => $5::bigint::int)))sql"};

const pg::Sql<bool(AccountId)> drop_second_factor{"admin.drop_second_factor",
                                                  "select app.administer_second_factor($1)"};

const pg::Sql<bool(AccountId)> end_access{"admin.end_access", "select app.administer_sessions($1)"};

account::Status status_of(Standing standing) {
  return standing == Standing::active ? account::Status::active : account::Status::suspended;
}

[[noreturn]] void refuse_version(std::int64_t version) {
  throw Problem(Kind::stale, fmt::format("It is at version {} now: read it again before you change it.", version));
}
[[noreturn]] void refuse_inactive() {
  throw Problem(Kind::conflict, "account_inactive", "This account was given up, or never was anybody's.");
}

async<User> find_user(pg::Reader& tx, AccountId id) {
  User user;
  static_cast<UserRow&>(user) = co_await tx.one(user_by_id, id);
  user.organizations = co_await tx.all(memberships, id);
  co_return user;
}

async<api::Page<account::Account>> list_users(pg::ReadTx& tx, UserQuery query) {
  api::Selection selection;
  selection.when(0, query.status).when(1, query.role).when(2, query.email);
  const auto key_of = [](const account::Account& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id.value;
    if (sort == 0)
      cursor.text_key = row.email.str();
    else
      cursor.key = row.created_at.micros;
  };
  const auto bind_key = [](pg::Params& params, unsigned sort, const api::Cursor& cursor) {
    if (sort == 0)
      params.add(cursor.text_key);
    else
      params.add(Instant{cursor.key});
  };
  return api::read_page(tx, all_users, std::move(selection), std::move(query), "email", key_of, bind_key);
}

async<User> show_user(pg::ReadTx& tx, AccountId id) { return find_user(tx, id); }

// Nobody but the person ever knows a password: it is set by the link in a mail.
async<> send_letter(api::Call& call, pg::Tx& tx, AccountId id, MailToken token, Letter letter) {
  const bool posted =
      co_await tx.one(post_reset, id, token.hash, letter.subject, letter.text, account::minutes(Purpose::reset));
  if (!posted) {
    co_await tx.one(user_by_id, id);
    throw Problem(Kind::conflict, "account_inactive", "Only an account that is active gets such a mail.");
  }
  tx.after_commit(&job::wake);
  co_await tx.commit();
  co_await account::remember(call, Purpose::reset, token.hash);
}

async<api::Created<User>> create_user(api::Call& call, pg::Tx& tx, NewUser draft) {
  const auto id = AccountId::make();
  const auto role = draft.role.value_or(account::Role::user);
  const bool verified = draft.verified.value_or(false);
  co_await tx.run(insert_user, id, draft.email, draft.first_name, draft.last_name, role, verified);
  User user = co_await find_user(tx, id);
  const auto token = MailToken::make();
  auto letter = welcome(call.core.shared.base_url, account::link(call, "reset", token));
  co_await send_letter(call, tx, id, token, std::move(letter));
  co_return user;
}

async<User> edit_user(pg::Tx& tx, AccountId id, api::IfMatch match, UserEdit edit) {
  std::optional<account::Role> role;
  if (edit.role.given()) role = edit.role.value();
  std::optional<account::Status> status;
  if (edit.status.given()) status = status_of(edit.status.value());
  const bool changed = co_await tx.one(update_user, id, role, status, match.version);
  User user = co_await find_user(tx, id);
  if (!changed) {
    if (match.version && *match.version != user.version) refuse_version(user.version);
    refuse_inactive();
  }
  co_return user;
}

async<> reset_password(api::Call& call, pg::Tx& tx, AccountId id) {
  const auto token = MailToken::make();
  auto letter = reset(account::link(call, "reset", token));
  co_await send_letter(call, tx, id, token, std::move(letter));
}

async<> end_sessions(pg::Tx& tx, AccountId id) {
  const bool there = co_await tx.one(end_access, id);
  if (!there) throw Problem(Kind::not_found);
}

async<> remove_second_factor(pg::Tx& tx, AccountId id) {
  const bool there = co_await tx.one(drop_second_factor, id);
  if (!there) throw Problem(Kind::not_found);
}

// -- organizations
// ------------------------------------------------------------------------------------------------------

const pg::Family<OrganizationRow> all_organizations{
    "admin.organizations",
    R"sql(
  select t.id, t.name, t.slug, t.status, t.members, t.projects, t.created_at, t.updated_at, t.deleted_at, t.version
  from app.server_organizations t where true)sql",
    {pg::filter<organization::Status>("t.status = {}"), pg::filter<bool>("(t.deleted_at is not null) = {}"),
     pg::filter<Text<1, 200>>("t.slug ^@ lower({})")},
    {{"name", "t.name"}, {"created_at", "t.created_at"}}};

const pg::Sql<OrganizationRow(OrganizationId)> organization_by_id{"admin.organization", R"sql(
  select id, name, slug, status, members, projects, created_at, updated_at, deleted_at, version
  from app.server_organizations where id = $1)sql"};

const pg::Sql<Owner(OrganizationId)> owners{"admin.owners", R"sql(
  select user_id, email, first_name, last_name
  from app.server_memberships where organization_id = $1 and role = 'owner' order by joined_at, user_id)sql"};

const pg::Sql<bool(OrganizationId, bool, std::optional<std::int64_t>)> suspend_organization{
    "admin.suspend_organization", "select app.administer_organization($1, $2, $3)"};

async<Organization> find_organization(pg::Reader& tx, OrganizationId id) {
  Organization found;
  static_cast<OrganizationRow&>(found) = co_await tx.one(organization_by_id, id);
  found.owners = co_await tx.all(owners, id);
  co_return found;
}

async<api::Page<OrganizationRow>> list_organizations(pg::ReadTx& tx, OrganizationQuery query) {
  api::Selection selection;
  selection.when(0, query.status).when(1, query.deleted).when(2, query.slug);
  const auto key_of = [](const OrganizationRow& row, unsigned sort, api::Cursor& cursor) {
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
  return api::read_page(tx, all_organizations, std::move(selection), std::move(query), "name", key_of, bind_key);
}

async<Organization> show_organization(pg::ReadTx& tx, OrganizationId id) { return find_organization(tx, id); }

async<Organization> edit_organization(pg::Tx& tx, OrganizationId id, api::IfMatch match, OrganizationEdit edit) {
  const bool suspended = edit.status == Standing::suspended;
  const bool changed = co_await tx.one(suspend_organization, id, suspended, match.version);
  Organization found = co_await find_organization(tx, id);
  if (!changed) {
    if (match.version && *match.version != found.version) refuse_version(found.version);
    throw Problem(Kind::conflict, "organization_inactive", "Its owners made it inactive, and bring it back.");
  }
  co_return found;
}

}  // namespace

Letter welcome(std::string_view base_url, std::string_view link) {
  Letter letter;
  letter.subject = "Your account at Cairn";
  letter.text = fmt::format(
      "An administrator made an account for you at {}\n\nSet your password here, within {} minutes:\n{}\n\n"
      "After that ask for another link: {}/reset\n",
      base_url, account::minutes(Purpose::reset), link, base_url);
  return letter;
}

Letter reset(std::string_view link) {
  Letter letter;
  letter.subject = "A new password for Cairn";
  letter.text = fmt::format(
      "An administrator asks you to set a new password for your account.\n\nSet one here, within {} minutes:\n{}\n\n"
      "Until then your password stays as it is.\n",
      account::minutes(Purpose::reset), link);
  return letter;
}

void mount(api::Api& api) {
  using api::Access;
  api.get("/admin/users", list_users,
          {.id = "admin_user.list", .summary = "Everybody who has an account", .allow = Access::server_manager});
  api.post("/admin/users", create_user,
           {.id = "admin_user.create",
            .summary = "Make an account for somebody",
            .description = "A mail goes to the address, with a link to set the password by.",
            .allow = Access::server_admin,
            .location = "/admin/users/{id}",
            .problems = "email_taken"});
  api.get("/admin/users/{user}", show_user,
          {.id = "admin_user.show", .summary = "An account and where it belongs", .allow = Access::server_manager});
  api.patch("/admin/users/{user}", edit_user,
            {.id = "admin_user.edit",
             .summary = "Suspend and reactivate accounts, give roles on the server",
             .description = "Nobody does that to themselves; the last administrator stays. Holds from the next "
                            "request on.",
             .allow = Access::server_admin,
             .problems = "account_inactive,last_admin,own_account,stale"});
  api.post("/admin/users/{user}/password-reset", reset_password,
           {.id = "admin_user.reset_password",
            .summary = "Mail somebody a link to set a new password by",
            .allow = Access::server_admin,
            .problems = "account_inactive"});
  api.del("/admin/users/{user}/sessions", end_sessions,
          {.id = "admin_user.end_sessions",
           .summary = "Log somebody out everywhere",
           .description = "Ends their sessions and API tokens.",
           .allow = Access::server_admin});
  api.del("/admin/users/{user}/second-factor", remove_second_factor,
          {.id = "admin_user.remove_second_factor",
           .summary = "Take off the second factor of somebody who lost it",
           .description = "Make sure first that it is they who ask. Ends their sessions and API tokens.",
           .allow = Access::server_admin,
           .problems = "own_account"});
  api.get(
      "/admin/organizations", list_organizations,
      {.id = "admin_organization.list", .summary = "All organizations of the server", .allow = Access::server_manager});
  api.get(
      "/admin/organizations/{organization}", show_organization,
      {.id = "admin_organization.show", .summary = "An organization and its owners", .allow = Access::server_manager});
  api.patch("/admin/organizations/{organization}", edit_organization,
            {.id = "admin_organization.edit",
             .summary = "Suspend and reactivate organizations",
             .allow = Access::server_admin,
             .problems = "organization_inactive,stale"});
}

}  // namespace cairn::admin
