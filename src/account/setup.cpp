#include "account/setup.hpp"

#include <libpq-fe.h>

#include <array>
#include <memory>

#include "account/account.hpp"
#include "account/mail_token.hpp"
#include "account/password.hpp"
#include "pg/error.hpp"

namespace cairn::account {
namespace {

const pg::Sql<bool()> setup_is_open{"setup.is_open", "select app.setup_is_open()"};
const pg::Sql<bool(Hash)> setup_accepts{"setup.accepts", "select app.setup_accepts($1)"};
const pg::Sql<bool(Hash, Email, std::string, Name, Name)> set_up{"setup.set_up", R"sql(
  select app.set_up($1, $2, $3, $4, $5))sql"};

[[noreturn]] void refuse() {
  throw Problem(Kind::forbidden, "setup_closed", "This server is set up, or the link is not its newest: see its log.");
}

async<Setup> show(pg::ReadTx& tx) {
  Setup state;
  state.open = co_await tx.one(setup_is_open);
  co_return state;
}

async<api::Created<Account>> create(api::Call& call, Founder given) {
  const auto hash = sha256(given.token.reveal());
  {
    pg::ReadTx reading = call.core.database.read(pg::Prelude(), call.deadline);
    const bool accepted = co_await reading.one(setup_accepts, hash);
    if (!accepted) refuse();
  }
  check_password(given.password, given.email, call.core.shared.config, "/password");
  const std::string password = co_await call.core.shared.hasher.hash(std::move(given.password));

  const auto id = AccountId::make();
  pg::Tx tx = call.core.database.write(session::as_user(call, id.value), call.deadline);
  const bool made = co_await tx.one(set_up, hash, given.email, password, given.first_name, given.last_name);
  if (!made) refuse();
  Account account = co_await tx.finish(own_account);
  co_return account;
}

}  // namespace

std::optional<std::string> open_setup(const std::string& owner_conninfo) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(owner_conninfo.c_str()), PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) throw pg::unavailable(PQerrorMessage(connection.get()));
  const auto token = MailToken::make();
  const auto hash = "\\x" + hex(token.hash);
  const std::array values{hash.c_str()};
  const pg::Result answer(PQexecParams(connection.get(), "select app.open_setup($1::bytea)", 1, nullptr, values.data(),
                                       nullptr, nullptr, 0));
  if (PQresultStatus(answer.get()) != PGRES_TUPLES_OK) throw pg::unavailable(PQerrorMessage(connection.get()));
  if (answer.field(0, 0).bytes() != "t") return std::nullopt;
  return token.text;
}

void mount_setup(api::Api& api) {
  using api::Access;
  api.get("/setup", show,
          {.id = "setup.show",
           .summary = "Does this server wait for its first administrator?",
           .allow = Access::anonymous});
  api.post("/setup", create,
           {.id = "setup.create",
            .summary = "Make the first administrator",
            .description = "Once, with the token of the link that the server's log names while nobody has an account.",
            .allow = Access::anonymous,
            .location = "/me",
            .problems = "contains_email,setup_closed,too_common,too_short",
            .rate = api::Rate::login});
}

}  // namespace cairn::account
