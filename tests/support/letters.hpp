#pragma once
#include <string>
#include <string_view>

#include "account/totp.hpp"
#include "support/stack.hpp"

namespace cairn::support {

// The text of the newest mail that is queued for the address.
std::string last_mail(Database& database, std::string_view to);
// The token of the link in a mail; empty when there is none.
std::string token_of(std::string_view mail);
// The secret that an authenticator app is given.
account::totp::Secret totp_secret(std::string_view base32_secret);
// The code that an authenticator app would show, some steps from now.
std::string totp_code(std::string_view base32_secret, int steps = 0);

}  // namespace cairn::support
