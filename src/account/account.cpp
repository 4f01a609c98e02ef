#include "account/account.hpp"

#include <fmt/format.h>

#include "account/mail_token.hpp"
#include "account/password.hpp"
#include "account/recovery.hpp"
#include "account/setup.hpp"
#include "account/totp.hpp"
#include "api/credentials.hpp"
#include "job/outbox.hpp"
#include "pg/error.hpp"

namespace cairn::account {
namespace {

const pg::Constraint email_taken{"users_email_lower_key", Kind::conflict, "email_taken", "/email",
                                 "has an account already"};
const pg::Constraint email_taken_too{"users_email_key", Kind::conflict, "email_taken", "/email",
                                     "has an account already"};
const pg::Constraint not_active{"sessions_user_id_active", Kind::unauthenticated, "invalid_credentials", "",
                                "The e-mail address or the password is wrong."};

struct Known {
  Known() = default;
  AccountId id;
  std::string password_hash;
  Status status = Status::active;
  bool email_verified = false, second_factor = false;
};
BOOST_DESCRIBE_STRUCT(Known, (), (id, password_hash, status, email_verified, second_factor))

const pg::Sql<Known(Email)> credentials_by_email{"account.credentials", R"sql(
  select id, password_hash, status, email_verified, second_factor from app.login_credentials($1))sql"};

const pg::Sql<void(AccountId, Email, std::string, Name, Name, bool)> insert_account{"account.insert", R"sql(
  insert into users (id, email, password_hash, first_name, last_name, email_verified) values ($1, $2, $3, $4, $5, $6))sql"};

const pg::Sql<void()> insert_profile{"account.insert_profile", R"sql(
  insert into user_profiles (user_id) values (app.actor()))sql"};

// One change of one row, so one entry on the record: a login, and not an update beside it.
const pg::Sql<Account()> record_login{"account.record_login", R"sql(
  update users set last_login_at = clock_timestamp()
  where id = app.actor() and set_config('app.audit_action', 'login', true) = 'login'
  returning id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version)sql"};

// The same password hashed with today's parameters, which ends no session.
const pg::Sql<Account(std::string)> record_login_rehashed{"account.record_login_rehashed", R"sql(
  update users set last_login_at = clock_timestamp(), password_hash = $1
  where id = app.actor() and set_config('app.audit_action', 'login', true) = 'login'
    and set_config('app.rehash', 'true', true) = 'true'
  returning id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version)sql"};

// The nil id stands for an account that does not exist; the address itself is not kept (it may be a password typed into
// the wrong field).
const pg::Sql<void(AccountId)> record_failed_login{"account.record_failed_login", R"sql(
  select app.record('login', 'users', $1, '{"outcome": "failure"}'))sql"};

// Worth to know: somebody has the password.
const pg::Sql<void(AccountId)> record_missing_code{"account.record_missing_code", R"sql(
  select app.record('login', 'users', $1, '{"outcome": "code_missing"}'))sql"};

const pg::Sql<Account(Change<Name>, Change<Name>, std::optional<std::int64_t>)> update_own{"account.update_own", R"sql(
  update users set first_name = case when $1 then $2 else first_name end,
                   last_name = case when $3 then $4 else last_name end
  where id = app.actor() and ($5::bigint is null or version = $5)
  returning id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version)sql"};

const pg::Sql<void(Email, std::string, std::string)> refuse_registration{"account.refuse_registration", R"sql(
  select app.refuse_registration($1, $2, $3))sql"};

// Where mails go out, only who reads those to an address learns whether it has an account: see docs/adr/0013.
bool confirms_addresses(const api::Call& call) { return !call.core.shared.config.mail.url.empty(); }

async<Account> insert_unconfirmed(api::Call& call, AccountId id, Registration draft, std::string hash,
                                  MailToken token) {
  // A new person acts for themselves from the first row on.
  pg::Tx tx = call.core.database.write(session::as_user(call, id.value), call.deadline);
  co_await insert(tx, id, draft.email, hash, draft.first_name, draft.last_name, false);
  co_await send_verification(tx, call, token, draft.email);
  Account account = co_await tx.finish(own_account);
  co_return account;
}

// Tells whoever has the address. The answer is that of an account that is new, and there is none of its id.
async<Account> pretend(api::Call& call, AccountId id, Registration draft) {
  const auto& base_url = call.core.shared.base_url;
  const auto text = fmt::format(
      "Somebody, hopefully you, tried to register at Cairn with this address, which has an account already.\n\n"
      "Log in with it at {}\nor set a new password: {}/reset\n\nIf it was not you, do nothing.\n",
      base_url, base_url);
  pg::Tx tx = call.write();
  tx.after_commit(&job::wake);
  co_await tx.finish(refuse_registration, draft.email, "You have an account already", text);
  Account account;
  account.id = id;
  account.email = draft.email;
  account.first_name = draft.first_name;
  account.last_name = draft.last_name;
  account.created_at = account.updated_at = Instant::now();
  account.version = 1;
  co_return account;
}

async<api::Created<Account>> create(api::Call& call, Registration draft) {
  if (!call.core.shared.config.registration.open)
    throw Problem(Kind::forbidden, "registration_closed", "This server takes no registrations; ask an administrator.");
  check_password(draft.password, draft.email, call.core.shared.config, "/password");
  co_await call.core.limiter.account(call, draft.email.str());
  const std::string hash = co_await call.core.shared.hasher.hash(draft.password);

  const auto id = AccountId::make();
  const auto token = MailToken::make();
  std::optional<Account> account;
  try {
    account = co_await insert_unconfirmed(call, id, draft, hash, token);
  } catch (const Problem& problem) {
    if (!confirms_addresses(call) || problem.code != "email_taken") throw;
  }
  if (!account) account = co_await pretend(call, id, draft);
  // Also when it is nobody's: the time it takes must not tell.
  co_await remember(call, Purpose::verification, token.hash);
  co_return std::move(*account);
}

async<api::Created<Login>> login(api::Call& call, Credentials given) {
  const bool in_cookie = given.cookie.value_or(false), remembered = given.remember.value_or(false);
  const auto keep = !in_cookie ? session::Keep::itself : remembered ? session::Keep::cookies : session::Keep::cookie;
  if (in_cookie) api::expect_same_origin(call);
  co_await call.core.limiter.account(call, given.email.str());
  pg::ReadTx reading = call.core.database.read(pg::Prelude{}, call.deadline);
  const auto known = co_await reading.maybe(credentials_by_email, given.email);
  std::optional<std::string> hash;
  if (known) hash = known->password_hash;
  const auto verdict = co_await call.core.shared.hasher.verify(given.password, hash);
  const bool confirms = confirms_addresses(call);
  if (!verdict.right || known->status != Status::active || (confirms && !known->email_verified)) {
    const auto whose = known ? known->id : AccountId();
    pg::Tx failed = call.write();
    co_await failed.finish(record_failed_login, whose);
    throw Problem(Kind::unauthenticated, "invalid_credentials",
                  confirms ? "The e-mail address or the password is wrong, or the address is not confirmed yet."
                           : "The e-mail address or the password is wrong.");
  }
  if (known->second_factor && !given.code) {
    pg::Tx missing = call.write();
    co_await missing.finish(record_missing_code, known->id);
    throw Problem(Kind::unauthenticated, "totp_required", "Give the code of your second factor as well.");
  }
  std::optional<std::string> rehashed;
  if (verdict.outdated) rehashed = co_await call.core.shared.hasher.hash(given.password);

  Login login;
  pg::Tx tx = call.core.database.write(session::as_user(call, known->id.value), call.deadline);
  if (known->second_factor) co_await totp::demand(call, tx, given.code->str(), Kind::unauthenticated);
  if (rehashed)
    login.account = co_await tx.one(record_login_rehashed, *rehashed);
  else
    login.account = co_await tx.one(record_login);
  static_cast<session::Tokens&>(login) = co_await session::begin(tx, call, known->id.value, keep);
  co_return login;
}

async<Account> show(pg::ReadTx& tx) { return tx.one(own_account); }

async<Account> edit(pg::Tx& tx, api::IfMatch match, Edit edit) {
  auto account = co_await tx.maybe(update_own, edit.first_name, edit.last_name, match.version);
  if (!account) throw Problem(Kind::stale, "It has changed: read it again before you change it.");
  co_return std::move(*account);
}

}  // namespace

async<> insert(pg::Tx& tx, AccountId id, Email email, std::string password_hash, Name first_name, Name last_name,
               bool verified) {
  co_await tx.run(insert_account, id, email, password_hash, first_name, last_name, verified);
  co_await tx.run(insert_profile);
}

const pg::Sql<Account()> own_account{"account.own", R"sql(
  select id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version
  from users where id = app.actor())sql"};

void mount(api::Api& api) {
  api.post(
      "/accounts", create,
      {.id = "account.create",
       .summary = "Register",
       .description = "Where the server sends mails, one can log in once the address is confirmed by the mail that "
                      "goes there. The answer is the same when somebody has the address, whom the mail then tells.",
       .allow = api::Access::anonymous,
       .location = "/me",
       .problems = "contains_email,email_taken,registration_closed,too_common,too_short",
       .rate = api::Rate::registration});
  api.post("/sessions", login,
           {.id = "session.create",
            .summary = "Log in",
            .allow = api::Access::anonymous,
            .location = "/session",
            .problems = "cross_origin,invalid_code,invalid_credentials,totp_locked,totp_required",
            .rate = api::Rate::login});
  api.get("/me", show, {.id = "account.show", .summary = "Who am I?", .allow = api::Access::user});
  api.patch("/me", edit, {.id = "account.edit", .summary = "Change my name", .allow = api::Access::user});
  mount_recovery(api);
  mount_setup(api);
  totp::mount(api);
}

}  // namespace cairn::account
