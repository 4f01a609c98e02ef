#include "account/recovery.hpp"

#include <fmt/format.h>

#include "account/account.hpp"
#include "account/again.hpp"
#include "account/mail_token.hpp"
#include "account/password.hpp"
#include "job/outbox.hpp"
#include "pg/error.hpp"

namespace cairn::account {
namespace {

struct Owner {
  Owner() = default;
  Uuid user_id;
  Email email;
};
BOOST_DESCRIBE_STRUCT(Owner, (), (user_id, email))

const pg::Sql<void(Email, Hash, std::string, std::string, std::int64_t)> request_reset{"account.request_reset", R"sql(
  select app.request_reset($1, $2, $3, $4, make_interval(mins => $5::bigint::int)))sql"};

const pg::Sql<Owner(std::string, Hash)> token_owner{"account.token_owner", R"sql(
  select user_id, email from app.mail_token_owner($1, $2))sql"};

// A new address ends sessions and tokens by trigger, the confirmation of the one that is there changes a flag.
const pg::Sql<AccountId(Hash)> verify_email{"account.verify_email", R"sql(
  with proved as materialized (select app.use_mail_token('verification', $1) as email)
  update users u set email = proved.email, email_verified = true from proved
  where u.id = app.actor() and u.status = 'active' and proved.email is not null
  returning u.id)sql"};

const pg::Sql<Email(Hash, std::string)> reset_password{"account.reset_password", R"sql(
  with proved as materialized (select app.use_mail_token('reset', $1) as email)
  update users u set password_hash = $2, email_verified = true from proved
  where u.id = app.actor() and u.status = 'active' and u.email = proved.email
  returning u.email)sql"};

const pg::Sql<void(std::string)> update_password{"account.update_password", R"sql(
  update users set password_hash = $1 where id = app.actor())sql"};

const pg::Sql<Instant()> session_end{"account.session_end", R"sql(
  select max(expires_at) from app.sessions where device_id = current_setting('app.session_id')::uuid)sql"};

const pg::Sql<bool()> is_verified{"account.is_verified", "select email_verified from users where id = app.actor()"};

const pg::Sql<Email()> own_email{"account.own_email", "select email from users where id = app.actor()"};

const pg::Sql<void()> deactivate_own{"account.deactivate", "select app.deactivate()"};

[[noreturn]] void refuse(std::string_view pointer, std::string_view code, std::string detail) {
  std::vector<FieldError> errors;
  errors.emplace_back(std::string(pointer), code, std::move(detail));
  throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
}
[[noreturn]] void refuse_token() {
  refuse("/token", "invalid_token", "is not valid, or no longer: ask for a new mail");
}

async<Owner> owner_of(api::Call& call, Purpose purpose, Hash hash) {
  pg::ReadTx reading = call.core.database.read(pg::Prelude(), call.deadline);
  std::string name = purpose == Purpose::reset ? "reset" : "verification";
  const auto owner = co_await reading.maybe(token_owner, name, hash);
  if (!owner) refuse_token();
  co_return *owner;
}

async<> ask_for_verification(api::Call& call) {
  const auto token = MailToken::make();
  pg::Tx tx = call.write();
  const bool verified = co_await tx.one(is_verified);
  if (verified) throw Problem(Kind::conflict, "already_verified", "The address is verified already.");
  const auto email = co_await tx.one(own_email);
  co_await send_verification(tx, call, token, email);
  co_await tx.commit();
  co_await remember(call, Purpose::verification, token.hash);
}

async<> verify(api::Call& call, Verification given) {
  const auto hash = sha256(given.token.reveal());
  const auto owner = co_await owner_of(call, Purpose::verification, hash);
  pg::Tx tx = call.core.database.write(session::as_user(call, owner.user_id), call.deadline);
  const auto verified = co_await tx.maybe_finish(verify_email, hash);
  if (!verified) refuse_token();
  co_await forget(call, Purpose::verification, hash);
}

async<> ask_for_reset(api::Call& call, ResetRequest given) {
  co_await call.core.limiter.account(call, given.email.str());
  const auto token = MailToken::make();
  const auto text = fmt::format(
      "Somebody, hopefully you, asked for a new password for your account.\n\nSet one here, within {} minutes:\n{}\n\n"
      "If it was not you, do nothing: your password stays as it is.\n",
      minutes(Purpose::reset), link(call, "reset", token));
  pg::Tx tx = call.write();
  tx.after_commit(&job::wake);
  co_await tx.finish(request_reset, given.email, token.hash, "A new password for Cairn", text, minutes(Purpose::reset));
  // Also when nobody has the address: the time it takes must not tell.
  co_await remember(call, Purpose::reset, token.hash);
}

async<> reset(api::Call& call, Reset given) {
  const auto hash = sha256(given.token.reveal());
  const auto owner = co_await owner_of(call, Purpose::reset, hash);
  check_password(given.password, owner.email, call.core.shared.config, "/password");
  const std::string password = co_await call.core.shared.hasher.hash(std::move(given.password));
  pg::Tx tx = call.core.database.write(session::as_user(call, owner.user_id), call.deadline);
  const auto email = co_await tx.maybe(reset_password, hash, password);
  if (!email) refuse_token();
  co_await send_notice(tx, call, *email, "Your password was changed", "the password of your account was reset");
  co_await tx.commit();
  co_await forget(call, Purpose::reset, hash);
}

async<> change_password(api::Call& call, PasswordChange given) {
  const auto email = co_await again(call, std::move(given.current_password), "/current_password");
  check_password(given.new_password, email, call.core.shared.config, "/new_password");
  const std::string password = co_await call.core.shared.hasher.hash(std::move(given.new_password));
  pg::Tx tx = call.write();
  const auto end = co_await tx.one(session_end);
  // It ends every session by trigger. This one goes on: it is begun anew, to end when it would have ended.
  co_await tx.run(update_password, password);
  co_await session::resume(tx, call, end);
  co_await send_notice(tx, call, email, "Your password was changed", "the password of your account was changed");
  co_await tx.commit();
}

async<> change_email(api::Call& call, EmailChange given) {
  const auto current = co_await again(call, std::move(given.password), "/password");
  if (given.email == current) refuse("/email", "unchanged", "is the address of this account already");
  co_await call.core.limiter.account(call, given.email.str());
  const auto token = MailToken::make();
  pg::Tx tx = call.write();
  // Whether somebody has the new address already shows when it is confirmed, to whoever reads its mail.
  co_await send_verification(tx, call, token, given.email);
  co_await send_notice(
      tx, call, current, "Your address is about to change",
      "another e-mail address was asked for. It becomes your account's when it is confirmed from there");
  co_await tx.commit();
  co_await remember(call, Purpose::verification, token.hash);
}

async<> deactivate(api::Call& call, Deactivation given) {
  co_await again(call, std::move(given.password), "/password");
  pg::Tx tx = call.write();
  tx.after_commit(&job::wake);
  co_await tx.run(deactivate_own);
  co_await tx.commit();
}

}  // namespace

void mount_recovery(api::Api& api) {
  using api::Access;
  api.post("/me/verification", ask_for_verification,
           {.id = "verification.request",
            .summary = "Send me the verification mail again",
            .description = "The links sent before are good no longer.",
            .allow = Access::user,
            .problems = "already_verified",
            .rate = api::Rate::mail});
  api.post(
      "/verifications", verify,
      {.id = "verification.create",
       .summary = "Confirm an e-mail address by the token of a mail",
       .description = "Where the mail confirms a new address, the account has it from then on, and all its sessions "
                      "end.",
       .allow = Access::anonymous,
       .problems = "email_taken,invalid_token",
       .rate = api::Rate::login});
  api.post("/password-resets", ask_for_reset,
           {.id = "password_reset.request",
            .summary = "Ask for a mail to set a new password with",
            .description = "The answer is the same whether or not an account has the address.",
            .allow = Access::anonymous,
            .rate = api::Rate::mail});
  api.post("/password-resets/complete", reset,
           {.id = "password_reset.complete",
            .summary = "Set a new password by the token of a mail",
            .description = "All sessions end; nobody is logged in.",
            .allow = Access::anonymous,
            .problems = "contains_email,invalid_token,too_common,too_short",
            .rate = api::Rate::login});
  api.post("/me/password", change_password,
           {.id = "account.change_password",
            .summary = "Change my password",
            .description = "All other sessions end.",
            .allow = Access::user,
            .problems = "contains_email,too_common,too_short,wrong_password",
            .rate = api::Rate::login});
  api.post(
      "/me/email", change_email,
      {.id = "account.change_email",
       .summary = "Change my e-mail address",
       .description = "It changes when the new address is confirmed by the mail that goes there. Both addresses get a "
                      "mail.",
       .allow = Access::user,
       .problems = "unchanged,wrong_password",
       .rate = api::Rate::mail});
  api.post(
      "/me/deactivation", deactivate,
      {.id = "account.deactivate",
       .summary = "Leave for good",
       .description = "Name, address and profile are deleted, also from the record; what I did stays, without a name. "
                      "Organizations that have no other member are deleted.",
       .allow = Access::user,
       .problems = "last_owner,wrong_password",
       .rate = api::Rate::login});
}

}  // namespace cairn::account
