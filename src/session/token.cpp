#include "session/token.hpp"

#include <sodium.h>

#include <algorithm>

namespace cairn::session {
namespace {

constexpr std::array<std::string_view, 3> prefixes{"cairn_s_", "cairn_r_", "cairn_t_"};  // in the order of Use
constexpr std::size_t id_bytes = 16, token_bytes = id_bytes + 32, token_characters = 64;
constexpr std::size_t head_bytes = 18, head_characters = 24;  // where the id ends in both

std::string_view prefix_of(Use use) { return prefixes[static_cast<std::size_t>(use)]; }
const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Token encoded(Use use, const Uuid& user, const std::array<unsigned char, 32>& secret) {
  std::array<unsigned char, token_bytes> raw;
  std::copy(user.bytes.begin(), user.bytes.end(), raw.begin());
  std::copy(secret.begin(), secret.end(), raw.begin() + id_bytes);
  std::array<char, token_characters + 1> text;
  sodium_bin2base64(text.data(), text.size(), raw.data(), raw.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  Token token;
  token.use = use;
  token.text = std::string(prefix_of(use)) + text.data();
  token.user = user;
  token.hash = sha256(token.text);
  return token;
}

}  // namespace

Token Token::make(const Uuid& user, Use use) {
  std::array<unsigned char, 32> secret;
  randombytes_buf(secret.data(), secret.size());
  return encoded(use, user, secret);
}

Token Token::derive(Use use, const Token& from, const Hash& salt) {
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, salt.data(), salt.size());
  for (const auto part : {std::string_view(from.text), prefix_of(use)})
    crypto_auth_hmacsha256_update(&state, bytes(part), part.size());
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> secret;
  crypto_auth_hmacsha256_final(&state, secret.data());
  return encoded(use, from.user, secret);
}

std::optional<Token> Token::parse(std::string_view text) {
  const auto prefix = std::ranges::find_if(prefixes, [&](std::string_view known) { return text.starts_with(known); });
  if (prefix == prefixes.end() || text.size() != prefix->size() + token_characters) return std::nullopt;
  std::array<unsigned char, head_bytes> raw;
  std::size_t length = 0;
  const auto code = text.substr(prefix->size(), head_characters);
  if (sodium_base642bin(raw.data(), raw.size(), code.data(), code.size(), nullptr, &length, nullptr,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      length != raw.size())
    return std::nullopt;
  // The rest is looked at by whoever looks the hash up.
  Token token;
  token.use = static_cast<Use>(prefix - prefixes.begin());
  token.text = text;
  std::copy_n(raw.begin(), id_bytes, token.user.bytes.begin());
  token.hash = sha256(text);
  return token;
}

KnownTokens::Hasher::Hasher() { randombytes_buf(secret.data(), secret.size()); }
std::size_t KnownTokens::Hasher::operator()(std::string_view text) const noexcept {
  static_assert(crypto_shorthash_KEYBYTES == sizeof secret && crypto_shorthash_BYTES == sizeof(std::size_t));
  std::size_t hash = 0;
  crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), bytes(text), text.size(), secret.data());
  return hash;
}

std::shared_ptr<const Token> KnownTokens::find(std::string_view text) const {
  const auto found = tokens_.find(text);
  return found == tokens_.end() ? nullptr : found->second;
}

void KnownTokens::add(std::shared_ptr<const Token> token) {
  if (tokens_.size() >= capacity) tokens_.clear();
  const std::string_view text = token->text;
  tokens_.try_emplace(text, std::move(token));
}

}  // namespace cairn::session
