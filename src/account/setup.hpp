#pragma once
#include <optional>
#include <string>

#include "account/account.hpp"
#include "api/registry.hpp"

namespace cairn::account {

struct Setup : json::Read {
  Setup() = default;
  bool open = false;
};
BOOST_DESCRIBE_STRUCT(Setup, (), (open))

struct Founder : json::Written {
  Founder() = default;
  Secret token;
  Email email;
  Secret password;
  Name first_name, last_name;
};
BOOST_DESCRIBE_STRUCT(Founder, (), (token, email, password, first_name, last_name))

// For whoever starts a server: a new token with which the first administrator may be made, while there is nobody at
// all. Blocking. Throws Problem when the database, which is asked as its owner, cannot be used.
std::optional<std::string> open_setup(const std::string& owner_conninfo);

void mount_setup(api::Api& api);

}  // namespace cairn::account
