#pragma once
// Sessions: an opaque token per device. PostgreSQL (app.sessions) is the authority that every request asks in the round
// trip that does its work; the Redis hash session:user:{userId} holds what may be lost: when each device was last seen.
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "api/registry.hpp"

namespace cairn::session {

using Hash = std::array<std::uint8_t, 32>;

// "cairn_s_" and 64 characters of base64url: the user's id, so that the session's key in Redis can be named, and 256
// random bits. Only the SHA-256 of the whole is stored anywhere.
struct Token {
  Token() = default;
  std::string text;
  Hash hash{};
  Uuid user;

  static Token make(const Uuid& user);
  static std::optional<Token> parse(std::string_view text);
};
std::string hex(const Hash& hash);
// The token that an authenticated request came with.
Token presented(const api::Call& call);

// What the prelude of a request with a token yields; `context` is what it set on the way.
struct Caller {
  Caller() = default;
  Uuid user_id, session_id;
  std::string context;
};
BOOST_DESCRIBE_STRUCT(Caller, (), (user_id, session_id, context))

// The preludes: a person by token, a person by id (who has just proved it otherwise), and nobody.
api::Identity identify(const api::Call& call, const Token& token);
pg::Prelude as_user(const api::Call& call, const Uuid& user);
api::Identity nobody(const api::Call& call);

// Begins a session for the actor of `tx` and ends the oldest ones beyond the limit.
async<> begin(pg::Tx& tx, const api::Call& call, const Token& token, Instant expires);
// Ends the session that `tx` acts in, on the record as a logout.
async<> end(pg::Tx& tx, std::string reason);

// One core's view of live sessions, so that Redis is asked once a minute for each and not once a request. It only ever
// refuses early (idle for too long); that a session is still valid is PostgreSQL's to say.
class Cache {
 public:
  // Throws Problem (unauthenticated) when there is no such session, or ends it when it has been idle too long.
  async<> check(api::Call& call, const Token& token);
  void forget(const Hash& hash) { seen_.erase(key(hash)); }

 private:
  static std::string key(const Hash& hash) { return {reinterpret_cast<const char*>(hash.data()), hash.size()}; }

  static constexpr std::size_t capacity = 50'000;
  std::unordered_map<std::string, std::chrono::steady_clock::time_point> seen_;
};

// Remembers in Redis that the session was used now.
async<> remember(api::Call& call, const Token& token);
async<> forget(api::Call& call, const Token& token);

// Sets the authenticator of `api`; one cache per core.
void mount(api::Api& api, unsigned cores);

}  // namespace cairn::session
