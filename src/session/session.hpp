#pragma once
// Sessions: an opaque token per device. PostgreSQL (app.sessions) is the authority that every request asks in the round
// trip that does its work; the Redis hash session:user:{userId} holds what may be lost: when each device was last seen.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
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

// What a core remembers of the person behind a token, in the form in which each request gives it back to PostgreSQL:
// see db/migrations/0007_permissions.sql. `access_version` tells whether it is still so.
struct Access {
  Access() = default;
  Uuid user_id;
  std::int64_t access_version = 0;
  std::string open, rights, closed, closed_rights, projects, project_rights;
  bool open_only() const { return closed.empty() && projects.empty(); }
};
BOOST_DESCRIBE_STRUCT(Access, (),
                      (user_id, access_version, open, rights, closed, closed_rights, projects, project_rights))

// The preludes: a person by token, a person by id (who has just proved it otherwise), and nobody.
api::Identity identify(const api::Call& call, const Token& token, const Access& access);
pg::Prelude as_session(const api::Call& call, const Token& token, const Access& access);
pg::Prelude as_user(const api::Call& call, const Uuid& user);
api::Identity nobody(const api::Call& call);

// Begins a session for the actor of `tx` and ends the oldest ones beyond the limit.
async<> begin(pg::Tx& tx, const api::Call& call, const Token& token, Instant expires);
// Ends the session that `tx` acts in, on the record as a logout.
async<> end(pg::Tx& tx, std::string reason);

// One core's view of live sessions: what their people may do, and when Redis was last told that they are in use, which
// is once a minute for each and not once a request. That a session is still valid, and what is remembered still so, is
// PostgreSQL's to say, with every request.
class Cache {
 public:
  // What is remembered, or what PostgreSQL says when nothing is or `anew`. Throws Problem (unauthenticated) when there
  // is no such session, or ends it when it has been idle too long.
  async<std::shared_ptr<const Access>> check(api::Call& call, const Token& token, bool anew);

 private:
  struct Entry {
    std::chrono::steady_clock::time_point seen{};
    std::shared_ptr<const Access> access;
  };
  struct FirstBytes {
    std::size_t operator()(const Hash& hash) const noexcept {
      std::size_t bytes;
      std::memcpy(&bytes, hash.data(), sizeof bytes);
      return bytes;
    }
  };

  static constexpr std::size_t capacity = 50'000;
  std::unordered_map<Hash, Entry, FirstBytes> entries_;
};

// Remembers in Redis that the session was used now.
async<> remember(api::Call& call, const Token& token);
async<> forget(api::Call& call, const Token& token);

// Sets the authenticator of `api`; one cache per core.
void mount(api::Api& api, unsigned cores);

}  // namespace cairn::session
