#pragma once
// What somebody does who forgot, changes or gives up what an account is entered by.
#include "api/registry.hpp"
#include "base/codec.hpp"

namespace cairn::account {

struct Verification : json::Written {
  Verification() = default;
  Secret token;
};
BOOST_DESCRIBE_STRUCT(Verification, (), (token))

struct ResetRequest : json::Written {
  ResetRequest() = default;
  Email email;
};
BOOST_DESCRIBE_STRUCT(ResetRequest, (), (email))

struct Reset : json::Written {
  Reset() = default;
  Secret token, password;
};
BOOST_DESCRIBE_STRUCT(Reset, (), (token, password))

struct PasswordChange : json::Written {
  PasswordChange() = default;
  Secret current_password, new_password;
};
BOOST_DESCRIBE_STRUCT(PasswordChange, (), (current_password, new_password))

struct EmailChange : json::Written {
  EmailChange() = default;
  Email email;
  Secret password;
};
BOOST_DESCRIBE_STRUCT(EmailChange, (), (email, password))

struct Deactivation : json::Written {
  Deactivation() = default;
  Secret password;
};
BOOST_DESCRIBE_STRUCT(Deactivation, (), (password))

void mount_recovery(api::Api& api);

}  // namespace cairn::account
