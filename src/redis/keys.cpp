#include "redis/keys.hpp"

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <stdexcept>

namespace cairn::redis::keys {

namespace {

bool is_lower_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
}

std::string_view part(std::string_view text) {
  if (text.empty() || !std::ranges::all_of(text, is_plain)) throw std::invalid_argument("not a part of a Redis key");
  return text;
}

std::string_view digest(std::string_view text) {
  if (text.size() != 64 || !std::ranges::all_of(text, is_lower_hex))
    throw std::invalid_argument("not a SHA-256 digest");
  return text;
}

std::string network(std::string_view ip) {
  boost::system::error_code error;
  auto address = boost::asio::ip::make_address(ip, error);
  if (error) throw std::invalid_argument("not an IP address");
  if (address.is_v4()) return address.to_string();
  auto v6 = address.to_v6();
  // ::ffff:0:0/96 is how a dual-stack socket shows IPv4 clients: one /64 would hold them all.
  if (v6.is_v4_mapped()) return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6).to_string();
  auto bytes = v6.to_bytes();
  auto group = [&](std::size_t i) { return bytes[2 * i] << 8 | bytes[2 * i + 1]; };
  return fmt::format("{:x}-{:x}-{:x}-{:x}", group(0), group(1), group(2), group(3));
}

}  // namespace

std::string user_session(const Uuid& user) { return "session:user:" + user.text(); }

std::string rate_limit(std::string_view ip, std::string_view endpoint) {
  return fmt::format("rate_limit:{}:{}", network(ip), part(endpoint));
}

std::string rate_limit_account(std::string_view account_hash, std::string_view endpoint) {
  return fmt::format("rate_limit:acct-{}:{}", part(account_hash), part(endpoint));
}

std::string rate_limit_token(std::string_view token_hash, std::string_view endpoint) {
  return fmt::format("rate_limit:tok-{}:{}", part(token_hash), part(endpoint));
}

std::string api_cache(std::string_view endpoint, std::string_view params_hash) {
  return fmt::format("api_cache:{}:{}", part(endpoint), digest(params_hash));
}

std::string user_permissions(const Uuid& user, const Uuid& organization) {
  return fmt::format("permissions:user:{}:org:{}", user.text(), organization.text());
}

std::string project_stats(const Uuid& project) { return "stats:project:" + project.text(); }

std::string org_member_count(const Uuid& organization) {
  return fmt::format("count:org:{}:members", organization.text());
}

std::string task_counts(const Uuid& project) { return fmt::format("counts:project:{}:tasks", project.text()); }

std::string email_verification(std::string_view token_hash) {
  return fmt::format("verify:email:{}", digest(token_hash));
}

std::string password_reset(std::string_view token_hash) { return fmt::format("reset:password:{}", digest(token_hash)); }

}  // namespace cairn::redis::keys
