#pragma once
#include "base/id.hpp"

#include <chrono>
#include <string>
#include <string_view>

// The only place that knows how a key is spelled and how long it lives. Variable parts are limited to [A-Za-z0-9._-],
// so that none can reach into another key or a pattern; any other part throws std::invalid_argument.
namespace cairn::redis::keys {

std::string user_session(const Uuid& user);
// `ip` is the client's address as text. IPv6 counts by /64, because one subscriber owns 2^64 addresses.
std::string rate_limit(std::string_view ip, std::string_view endpoint);
// The same limit counted by account, whatever address it comes from.
std::string rate_limit_account(std::string_view account_hash, std::string_view endpoint);
// And by what a request is authenticated with, so that a team behind one address does not share one limit.
std::string rate_limit_token(std::string_view token_hash, std::string_view endpoint);
// Digests are SHA-256 in lower-case hex. `params_hash` covers whatever an answer depends on.
std::string api_cache(std::string_view endpoint, std::string_view params_hash);
std::string user_permissions(const Uuid& user, const Uuid& organization);
std::string project_stats(const Uuid& project);
std::string org_member_count(const Uuid& organization);
std::string task_counts(const Uuid& project);
// Of the mailed token only its digest is stored: keys show up in SCAN, SLOWLOG and dumps.
std::string email_verification(std::string_view token_hash);
std::string password_reset(std::string_view token_hash);

}  // namespace cairn::redis::keys

namespace cairn::redis::ttl {

inline constexpr std::chrono::seconds session{24 * 60 * 60};
inline constexpr std::chrono::seconds api_cache{5 * 60};
inline constexpr std::chrono::seconds permissions{30 * 60};
inline constexpr std::chrono::seconds stats{10 * 60};
inline constexpr std::chrono::seconds counts{5 * 60};
inline constexpr std::chrono::seconds email_verification{60 * 60};
inline constexpr std::chrono::seconds password_reset{30 * 60};
inline constexpr std::chrono::seconds rate_limit{60};

}  // namespace cairn::redis::ttl
