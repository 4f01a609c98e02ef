#pragma once
// Opaque tokens: a prefix that says what they are for and 64 characters of base64url, the user's id and 256 random
// bits. Only the SHA-256 of the whole is stored anywhere.
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/id.hpp"

namespace cairn::session {

using Hash = std::array<std::uint8_t, 32>;
std::string hex(const Hash& hash);

// For tables: what it hashes is a hash already.
struct FirstBytes {
  std::size_t operator()(const Hash& hash) const noexcept {
    std::size_t bytes;
    std::memcpy(&bytes, hash.data(), sizeof bytes);
    return bytes;
  }
};

enum class Use { session, refresh, api };  // "cairn_s_", "cairn_r_", "cairn_t_"

struct Token {
  Token() = default;
  Use use = Use::session;
  std::string text;
  Hash hash{};
  Uuid user;

  static Token make(const Uuid& user, Use use = Use::session);
  // The token that follows from another: the same each time, and only for who has both the other and the salt.
  static Token derive(Use use, const Token& from, const Hash& salt);
  static std::optional<Token> parse(std::string_view text);
};

}  // namespace cairn::session
