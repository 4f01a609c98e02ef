#include "account/again.hpp"

#include "pg/sql.hpp"

namespace cairn::account {
namespace {

struct Own {
  Own() = default;
  Email email;
  std::string password_hash;
};
BOOST_DESCRIBE_STRUCT(Own, (), (email, password_hash))

const pg::Sql<Own()> own_credentials{"account.own_credentials", R"sql(
  select email, password_hash from app.own_credentials())sql"};
const pg::Sql<void()> record_wrong_password{"account.record_wrong_password", R"sql(
  select app.record('login', 'users', app.actor(), '{"outcome": "failure", "factor": "again"}'))sql"};

}  // namespace

async<Email> again(api::Call& call, Secret password, std::string_view pointer) {
  pg::Tx reading = call.write();
  const auto own = co_await reading.finish(own_credentials);
  const auto verdict = co_await call.core.shared.hasher.verify(std::move(password), own.password_hash);
  if (!verdict.right) {
    pg::Tx failed = call.write();
    co_await failed.finish(record_wrong_password);
    std::vector<FieldError> errors;
    errors.emplace_back(std::string(pointer), "wrong_password", "is not the password of this account");
    throw Problem(Kind::invalid, "The password is wrong.").with(std::move(errors));
  }
  co_return own.email;
}

}  // namespace cairn::account
