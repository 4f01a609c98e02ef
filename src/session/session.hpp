#pragma once
// Sessions: one per device, from login to logout. PostgreSQL (app.devices, app.sessions) is the authority that every
// request asks in the round trip that does its work; the Redis hash session:user:{userId} holds what may be lost: when
// each device was last seen. Reasons: docs/adr/0007.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/registry.hpp"
#include "session/token.hpp"

namespace cairn::session {

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
struct SessionAccess : Access {
  SessionAccess() = default;
  Uuid session_id;
  Instant created_at;  // when the device got this token
  std::int32_t server_rank = 0;
};
BOOST_DESCRIBE_STRUCT(SessionAccess, (Access), (session_id, created_at, server_rank))

// What a device is given at login and with each refresh. What is in a cookie is not repeated.
struct Tokens : json::Read {
  Tokens() = default;
  std::optional<std::string> token;
  Instant expires_at;
  std::optional<std::string> refresh_token;
  std::optional<Instant> refresh_expires_at;
};
BOOST_DESCRIBE_STRUCT(Tokens, (), (token, expires_at, refresh_token, refresh_expires_at))

struct Session;
using SessionId = Id<Session>;

struct Session : json::Read {
  Session() = default;
  SessionId id;
  bool current = false;
  Instant created_at, expires_at;
  std::optional<Instant> last_seen;
  std::optional<std::string> ip_address, user_agent;
};
BOOST_DESCRIBE_STRUCT(Session, (), (id, current, created_at, expires_at, last_seen, ip_address, user_agent))

struct Refresh : json::Written {
  Refresh() = default;
  std::optional<Secret> refresh_token;
};
BOOST_DESCRIBE_STRUCT(Refresh, (), (refresh_token))

// The preludes: a person by session, a person by id (who has just proved it otherwise), and nobody.
api::Identity identify(const api::Call& call, const Token& token, const Access& access);
pg::Prelude as_session(const api::Call& call, const Token& token, const Access& access);
pg::Prelude as_user(const api::Call& call, const Uuid& user);
api::Identity nobody(const api::Call& call);

// Where a device keeps its tokens. Cookies are kept from the scripts of a page; a browser that is to stay logged in has
// a second one.
enum class Keep { itself, cookie, cookies };
// Logs the actor of `tx`, who is `user`, in on one more device, and out on the oldest ones beyond the limit. Commits.
async<Tokens> begin(pg::Tx& tx, api::Call& call, Uuid user, Keep keep);
// Begins the session that asks again, in the transaction that has just ended all of its user's, as a change of the
// password does. Its refresh token stays ended.
async<> resume(pg::Tx& tx, const api::Call& call, Instant expires);

// One core's view of live sessions: what their people may do, and when Redis was last told that they are in use, which
// is once a minute for each and not once a request. That a session is still valid, and what is remembered still so, is
// PostgreSQL's to say, with every request.
class Cache {
 public:
  // What is remembered and need not be asked about; null: check.
  std::shared_ptr<const SessionAccess> fresh(const Token& token) const;
  // What PostgreSQL says. Throws Problem (unauthenticated) when there is no such session, or, unless asked `anew` for
  // one that is in use, ends it when it has been idle too long.
  async<std::shared_ptr<const SessionAccess>> check(api::Call& call, const Token& token, bool anew);

 private:
  struct Entry {
    std::chrono::steady_clock::time_point seen{};
    std::shared_ptr<const SessionAccess> access;
  };

  static constexpr std::size_t capacity = 50'000;
  std::unordered_map<Hash, Entry, FirstBytes> entries_;
};

// Sets the authenticator of `api`, with caches for each core, and adds the endpoints of sessions and tokens.
void mount(api::Api& api, unsigned cores);

}  // namespace cairn::session

namespace cairn::json {
template<>
inline constexpr auto member_docs<session::Tokens> = std::to_array<MemberDoc>({
    {"token",
     "Send it as `Authorization: Bearer <token>`. It is shown once and stored nowhere. Null when it is in a cookie."},
    {"expires_at", "The token ends then at the latest, and earlier when it is not used for an hour."},
    {"refresh_token",
     "Gives the next pair of tokens, once: see `POST /sessions/refresh`. Null when the token is in a cookie."},
    {"refresh_expires_at", "With a refresh token, one has to log in again then at the latest."},
});
template<>
inline constexpr auto member_docs<session::Refresh> =
    std::to_array<MemberDoc>({{"refresh_token", "Left out by a page in a browser, whose cookie it is in."}});
template<>
inline constexpr auto member_docs<session::Session> = std::to_array<MemberDoc>({
    {"current", "Whether it is the one that asks."},
    {"expires_at", "One has to log in again then at the latest."},
    {"last_seen", "To a minute; null when that is not known."},
    {"ip_address", "At the login."},
    {"user_agent", "At the login."},
});
}  // namespace cairn::json
