#include "support/letters.hpp"

#include <fmt/format.h>

namespace cairn::support {

std::string last_mail(Database& database, std::string_view to) {
  return database.value(
      fmt::format("select body from app.mails where to_address = '{}' and kind <> 'notice' "
                  "order by created_at desc limit 1",
                  to));
}

std::string token_of(std::string_view mail) {
  constexpr std::string_view start = "?token=";
  const auto at = mail.find(start);
  if (at == std::string_view::npos) return {};
  const auto rest = mail.substr(at + start.size());
  return std::string(rest.substr(0, rest.find_first_of("\r\n")));
}

account::totp::Secret totp_secret(std::string_view base32_secret) {
  account::totp::Secret secret{};
  std::uint64_t bits = 0;
  unsigned count = 0;
  std::size_t at = 0;
  for (const char c : base32_secret) {
    bits = bits << 5 | static_cast<std::uint64_t>(c >= 'A' ? c - 'A' : c - '2' + 26);
    count += 5;
    if (count < 8) continue;
    count -= 8;
    secret.at(at++) = static_cast<std::uint8_t>(bits >> count);
  }
  return secret;
}

std::string totp_code(std::string_view base32_secret, int steps) {
  return account::totp::code(totp_secret(base32_secret), account::totp::step_at(Instant::now()) + steps);
}

}  // namespace cairn::support
