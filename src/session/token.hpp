#pragma once
// Opaque tokens: a prefix that says what they are for and 64 characters of base64url, the user's id and 256 random
// bits. Only the SHA-256 of the whole is stored anywhere.
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/hash.hpp"
#include "base/id.hpp"

namespace cairn::session {

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

// Tokens that were good of late, so that the next request with one need not decode and hash it. What they may still do
// is asked for anew. Of one core.
class KnownTokens {
 public:
  std::shared_ptr<const Token> find(std::string_view text) const;
  void add(std::shared_ptr<const Token> token);

 private:
  // Keyed: nobody can choose a text by where it is put.
  struct Hasher {
    Hasher();
    std::size_t operator()(std::string_view text) const noexcept;
    std::array<unsigned char, 16> secret;
  };
  static constexpr std::size_t capacity = 10'000;
  std::unordered_map<std::string_view, std::shared_ptr<const Token>, Hasher> tokens_;  // keys: in the tokens
};

}  // namespace cairn::session
