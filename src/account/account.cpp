#include "account/account.hpp"

#include <fmt/format.h>

#include "api/credentials.hpp"
#include "pg/error.hpp"
#include "session/session.hpp"

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
};
BOOST_DESCRIBE_STRUCT(Known, (), (id, password_hash, status))

const pg::Sql<Known(Email)> credentials_by_email{"account.credentials", R"sql(
  select id, password_hash, status from app.credentials($1))sql"};

const pg::Sql<void(AccountId, Email, std::string, Name, Name)> insert_account{"account.insert", R"sql(
  insert into users (id, email, password_hash, first_name, last_name) values ($1, $2, $3, $4, $5))sql"};

const pg::Sql<void()> insert_profile{"account.insert_profile", R"sql(
  insert into user_profiles (user_id) values (app.actor()))sql"};

const pg::Sql<Account()> own_account{"account.own", R"sql(
  select id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version
  from users where id = app.actor())sql"};

// One change of one row, so one entry on the record: a login, and not an update beside it.
const pg::Sql<Account()> record_login{"account.record_login", R"sql(
  update users set last_login_at = clock_timestamp()
  where id = app.actor() and set_config('app.audit_action', 'login', true) = 'login'
  returning id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version)sql"};

// The nil id stands for an account that does not exist; the address itself is not kept (it may be a password typed into
// the wrong field).
const pg::Sql<void(AccountId)> record_failed_login{"account.record_failed_login", R"sql(
  select app.record('login', 'users', $1, '{"outcome": "failure"}'))sql"};

const pg::Sql<Account(Change<Name>, Change<Name>, std::optional<std::int64_t>)> update_own{"account.update_own", R"sql(
  update users set first_name = case when $1 then $2 else first_name end,
                   last_name = case when $3 then $4 else last_name end
  where id = app.actor() and ($5::bigint is null or version = $5)
  returning id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version)sql"};

void check_password(const Secret& password, const Config& config) {
  const auto length = count_code_points(password.reveal()).value_or(0);
  if (length >= config.password.min_length) return;
  std::vector<FieldError> errors;
  errors.emplace_back("/password", "too_short",
                      fmt::format("must have at least {} characters", config.password.min_length));
  throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
}

async<api::Created<Account>> create(api::Call& call, Registration draft) {
  if (!call.core.shared.config.registration.open)
    throw Problem(Kind::forbidden, "registration_closed", "This server takes no registrations; ask an administrator.");
  check_password(draft.password, call.core.shared.config);
  const std::string hash = co_await call.core.shared.hasher.hash(draft.password);

  // A new person acts for themselves from the first row on.
  const auto id = AccountId::make();
  pg::Tx tx = call.core.database.write(session::as_user(call, id.value), call.deadline);
  co_await tx.run(insert_account, id, draft.email, hash, draft.first_name, draft.last_name);
  co_await tx.run(insert_profile);
  Account account = co_await tx.finish(own_account);
  co_return account;
}

async<api::Created<Login>> login(api::Call& call, Credentials given) {
  const bool in_cookie = given.cookie.value_or(false);
  if (in_cookie) api::expect_same_origin(call);
  co_await call.core.limiter.account(call, given.email.str());
  pg::ReadTx reading = call.core.database.read(pg::Prelude{}, call.deadline);
  const auto known = co_await reading.maybe(credentials_by_email, given.email);
  std::optional<std::string> hash;
  if (known) hash = known->password_hash;
  const auto verdict = co_await call.core.shared.hasher.verify(given.password, hash);
  if (!verdict.right || known->status != Status::active) {
    const auto whose = known ? known->id : AccountId();
    pg::Tx failed = call.write();
    co_await failed.finish(record_failed_login, whose);
    throw Problem(Kind::unauthenticated, "invalid_credentials", "The e-mail address or the password is wrong.");
  }

  Login login;
  const auto token = session::Token::make(known->id.value);
  if (!in_cookie) login.token = token.text;
  login.expires_at = Instant::now();
  login.expires_at.micros += std::chrono::microseconds(call.core.shared.config.session.absolute_hours).count();

  pg::Tx tx = call.core.database.write(session::as_user(call, known->id.value), call.deadline);
  login.account = co_await tx.one(record_login);
  co_await session::begin(tx, call, token, login.expires_at);
  co_await tx.commit();
  co_await session::remember(call, token);
  call.identity.user = known->id.value;
  if (in_cookie) api::set_session_cookie(call, token.text);
  co_return login;
}

async<> logout(api::Call& call) {
  const auto token = session::presented(call);
  pg::Tx tx = call.write();
  co_await session::end(tx, "logout");
  co_await session::forget(call, token);
  if (call.by_cookie) api::clear_session_cookie(call);
}

async<Account> show(pg::ReadTx& tx) { return tx.one(own_account); }

async<Account> edit(pg::Tx& tx, api::IfMatch match, Edit edit) {
  auto account = co_await tx.maybe(update_own, edit.first_name, edit.last_name, match.version);
  if (!account) throw Problem(Kind::stale, "It has changed: read it again before you change it.");
  co_return std::move(*account);
}

}  // namespace

void mount(api::Api& api) {
  api.post("/accounts", create,
           {.id = "account.create",
            .summary = "Register",
            .allow = api::Access::anonymous,
            .location = "/me",
            .problems = "email_taken,registration_closed",
            .rate = api::Rate::registration});
  api.post("/sessions", login,
           {.id = "session.create",
            .summary = "Log in",
            .allow = api::Access::anonymous,
            .location = "/session",
            .problems = "invalid_credentials,cross_origin",
            .rate = api::Rate::login});
  api.del("/session", logout,
          {.id = "session.remove",
           .summary = "Log out",
           .description = "Ends this session only.",
           .allow = api::Access::user});
  api.get("/me", show, {.id = "account.show", .summary = "Who am I?", .allow = api::Access::user});
  api.patch("/me", edit, {.id = "account.edit", .summary = "Change my name", .allow = api::Access::user});
}

}  // namespace cairn::account
