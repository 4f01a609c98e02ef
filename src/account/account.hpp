#pragma once
#include <boost/describe.hpp>

#include "api/registry.hpp"
#include "base/codec.hpp"
#include "base/values.hpp"
#include "pg/sql.hpp"
#include "session/session.hpp"

namespace cairn::account {

// The specification's user_role and user_status.
BOOST_DEFINE_ENUM_CLASS(Role, admin, manager, user)
BOOST_DEFINE_ENUM_CLASS(Status, active, inactive, suspended)

struct Account;
using AccountId = Id<Account>;
using Name = Text<1, 100>;

struct Account : json::Read {
  Account() = default;
  AccountId id;
  Email email;
  Name first_name, last_name;
  Role role = Role::user;
  Status status = Status::active;
  bool email_verified = false;
  std::optional<Instant> last_login_at;
  Instant created_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Account, (),
                      (id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at,
                       updated_at, version))

struct Registration : json::Written {
  Registration() = default;
  Email email;
  Secret password;
  Name first_name, last_name;
};
BOOST_DESCRIBE_STRUCT(Registration, (), (email, password, first_name, last_name))

struct Credentials : json::Written {
  Credentials() = default;
  Email email;
  Secret password;
  std::optional<Text<1, 40>> code;
  std::optional<bool> cookie, remember;
};
BOOST_DESCRIBE_STRUCT(Credentials, (), (email, password, code, cookie, remember))

struct Edit : json::Written {
  Edit() = default;
  Change<Name> first_name, last_name;
};
BOOST_DESCRIBE_STRUCT(Edit, (), (first_name, last_name))

struct Login : session::Tokens {
  Login() = default;
  Account account;
};
BOOST_DESCRIBE_STRUCT(Login, (session::Tokens), (account))

// Makes the account that the actor of `tx` is to be. `verified`: its address is proven already.
async<> insert(pg::Tx& tx, AccountId id, Email email, std::string password_hash, Name first_name, Name last_name,
               bool verified);

// The actor's own.
extern const pg::Sql<Account()> own_account;

void mount(api::Api& api);

}  // namespace cairn::account

namespace cairn::json {
template<>
inline constexpr auto member_docs<account::Credentials> = std::to_array<MemberDoc>({
    {"code", "Of the second factor, where there is one: the app's, or a recovery code."},
    {"cookie", "For a page in a browser: the token comes as a cookie that no script can read, and not in the body."},
    {"remember", "With `cookie`: the browser can stay logged in beyond that token, by a second cookie."},
});
template<>
inline constexpr auto member_docs<account::Login> = member_docs<session::Tokens>;
}  // namespace cairn::json
