#include "session/session.hpp"

#include <sodium.h>

#include <algorithm>

#include "base/json.hpp"
#include "redis/keys.hpp"

namespace cairn::session {
namespace {

constexpr std::string_view token_prefix = "cairn_s_";
constexpr std::size_t token_bytes = 16 + 32, token_characters = 64;
constexpr std::chrono::seconds touch_interval{60};

// The preludes: nothing is set unless the session lives and what we remember of the person is still so. Read-only
// requests need to know who asks and what that person may do; a write also tells the record from where and for which
// request.
const pg::Sql<bool(Hash, std::int64_t, std::string, std::string)> enter_reading{"session.enter_reading", R"sql(
  select access_version = $2 and set_config('app.user_id', user_id::text, true) is not null
         and set_config('app.open', $3, true) is not null and set_config('app.rights', $4, true) is not null
  from app.live_sessions where token_hash = $1)sql"};

const pg::Sql<bool(Hash, std::int64_t, std::string, std::string, std::string, std::string, std::string)> enter_writing{
    "session.enter_writing", R"sql(
  select access_version = $2 and set_config('app.user_id', user_id::text, true) is not null
         and set_config('app.open', $3, true) is not null and set_config('app.rights', $4, true) is not null
         and set_config('app.session_id', session_id::text, true) is not null
         and set_config('app.ip', $5, true) is not null and set_config('app.user_agent', $6, true) is not null
         and set_config('app.request_id', $7, true) is not null
  from app.live_sessions where token_hash = $1)sql"};

// The same for a person from whom some project may be hidden: what the others need not pay for.
const pg::Sql<bool(Hash, std::int64_t, std::string, std::string, std::string, std::string, std::string, std::string)>
    enter_reading_closed{"session.enter_reading_closed", R"sql(
  select access_version = $2 and set_config('app.user_id', user_id::text, true) is not null
         and set_config('app.open', $3, true) is not null and set_config('app.rights', $4, true) is not null
         and set_config('app.closed', $5, true) is not null and set_config('app.closed_rights', $6, true) is not null
         and set_config('app.projects', $7, true) is not null and set_config('app.project_rights', $8, true) is not null
  from app.live_sessions where token_hash = $1)sql"};

const pg::Sql<bool(Hash, std::int64_t, std::string, std::string, std::string, std::string, std::string, std::string,
                   std::string, std::string, std::string)>
    enter_writing_closed{"session.enter_writing_closed", R"sql(
  select access_version = $2 and set_config('app.user_id', user_id::text, true) is not null
         and set_config('app.open', $3, true) is not null and set_config('app.rights', $4, true) is not null
         and set_config('app.closed', $5, true) is not null and set_config('app.closed_rights', $6, true) is not null
         and set_config('app.projects', $7, true) is not null and set_config('app.project_rights', $8, true) is not null
         and set_config('app.session_id', session_id::text, true) is not null
         and set_config('app.ip', $9, true) is not null and set_config('app.user_agent', $10, true) is not null
         and set_config('app.request_id', $11, true) is not null
  from app.live_sessions where token_hash = $1)sql"};

const pg::Sql<Access(Hash)> access_of_session{"session.access", R"sql(
  select user_id, access_version, coalesce(open, '') as open, coalesce(rights, '') as rights,
         coalesce(closed, '') as closed, coalesce(closed_rights, '') as closed_rights,
         coalesce(projects, '') as projects, coalesce(project_rights, '') as project_rights
  from app.session_access($1))sql"};

const pg::Sql<std::string(Uuid, std::string, std::string, std::string)> enter_as{"session.enter_as", R"sql(
  select set_config('app.user_id', $1::uuid::text, true) || set_config('app.ip', $2, true) ||
         set_config('app.user_agent', $3, true) || set_config('app.request_id', $4, true))sql"};

const pg::Sql<std::string(std::string, std::string, std::string)> enter_as_nobody{"session.enter_as_nobody", R"sql(
  select set_config('app.system', 'anonymous', true) || set_config('app.ip', $1, true) ||
         set_config('app.user_agent', $2, true) || set_config('app.request_id', $3, true))sql"};

const pg::Sql<void(Hash, Instant, std::string, std::string)> insert_session{"session.insert", R"sql(
  insert into app.sessions (token_hash, user_id, expires_at, ip_address, user_agent)
  values ($1, app.actor(), $2, nullif($3, '')::inet, nullif($4, '')))sql"};

const pg::Sql<void(std::int64_t)> end_oldest{"session.end_oldest", R"sql(
  delete from app.sessions where id in
    (select id from app.sessions where user_id = app.actor() order by created_at desc, id offset $1))sql"};

const pg::Sql<void()> end_own{"session.end_own", R"sql(
  delete from app.sessions where id = current_setting('app.session_id')::uuid)sql"};

const pg::Sql<void(std::string)> record_logout{"session.record_logout", R"sql(
  select app.record('logout', 'sessions', current_setting('app.session_id')::uuid, jsonb_build_object('reason', $1::text)))sql"};

async<api::Identity> authenticated(Cache& cache, api::Call& call, std::string_view text, bool anew) {
  const auto token = Token::parse(text);
  if (!token) throw Problem(Kind::unauthenticated, "This token is not valid, or no longer.");
  const auto access = co_await cache.check(call, *token, anew);
  api::Identity identity = identify(call, *token, *access);
  co_return identity;
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string hex(const Hash& hash) {
  std::string text(hash.size() * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), hash.data(), hash.size());
  text.pop_back();
  return text;
}

Token Token::make(const Uuid& user) {
  std::array<unsigned char, token_bytes> raw;
  std::copy(user.bytes.begin(), user.bytes.end(), raw.begin());
  randombytes_buf(raw.data() + 16, 32);
  std::array<char, token_characters + 1> encoded;
  sodium_bin2base64(encoded.data(), encoded.size(), raw.data(), raw.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  Token token;
  token.text = std::string(token_prefix) + encoded.data();
  token.user = user;
  crypto_hash_sha256(token.hash.data(), reinterpret_cast<const unsigned char*>(token.text.data()), token.text.size());
  return token;
}

std::optional<Token> Token::parse(std::string_view text) {
  if (text.size() != token_prefix.size() + token_characters || !text.starts_with(token_prefix)) return std::nullopt;
  std::array<unsigned char, token_bytes> raw;
  std::size_t length = 0;
  const auto encoded = text.substr(token_prefix.size());
  if (sodium_base642bin(raw.data(), raw.size(), encoded.data(), encoded.size(), nullptr, &length, nullptr,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      length != raw.size())
    return std::nullopt;
  Token token;
  token.text = text;
  std::copy_n(raw.begin(), 16, token.user.bytes.begin());
  crypto_hash_sha256(token.hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
  return token;
}

Token presented(const api::Call& call) {
  auto token = Token::parse(call.token);
  if (!token) throw Problem(Kind::unauthenticated);
  return std::move(*token);
}

api::Identity identify(const api::Call& call, const Token& token, const Access& access) {
  api::Identity identity;
  identity.user = token.user;
  if (!api::endpoint_reads(call.endpoint->method))
    identity.write = as_session(call, token, access);
  else if (access.open_only())
    identity.read = pg::prelude(enter_reading, token.hash, access.access_version, access.open, access.rights);
  else
    identity.read = pg::prelude(enter_reading_closed, token.hash, access.access_version, access.open, access.rights,
                                access.closed, access.closed_rights, access.projects, access.project_rights);
  identity.read.checked = true;
  return identity;
}

pg::Prelude as_session(const api::Call& call, const Token& token, const Access& access) {
  auto prelude = access.open_only()
                     ? pg::prelude(enter_writing, token.hash, access.access_version, access.open, access.rights,
                                   call.address, call.user_agent, call.request_id)
                     : pg::prelude(enter_writing_closed, token.hash, access.access_version, access.open, access.rights,
                                   access.closed, access.closed_rights, access.projects, access.project_rights,
                                   call.address, call.user_agent, call.request_id);
  prelude.checked = true;
  return prelude;
}

pg::Prelude as_user(const api::Call& call, const Uuid& user) {
  return pg::prelude(enter_as, user, call.address, call.user_agent, call.request_id);
}

api::Identity nobody(const api::Call& call) {
  api::Identity identity;
  identity.write = pg::prelude(enter_as_nobody, call.address, call.user_agent, call.request_id);
  return identity;
}

async<> begin(pg::Tx& tx, const api::Call& call, const Token& token, Instant expires) {
  co_await tx.run(insert_session, token.hash, expires, call.address, call.user_agent);
  co_await tx.run(end_oldest, std::int64_t{call.core.shared.config.session.max_per_user});
}

async<> remember(api::Call& call, const Token& token) {
  const auto redis_key = redis::keys::user_session(token.user);
  const auto field = hex(token.hash);
  // The value is the second it was last seen; the key lives as long as a session can.
  const auto now = unix_now();
  co_await call.core.redis.command("HSET", redis_key, field, now);
  co_await call.core.redis.command("EXPIRE", redis_key, redis::ttl::session);
}

async<> forget(api::Call& call, const Token& token) {
  const auto redis_key = redis::keys::user_session(token.user);
  const auto field = hex(token.hash);
  co_await call.core.redis.command("HDEL", redis_key, field);
}

async<> end(pg::Tx& tx, std::string reason) {
  co_await tx.run(end_own);
  co_await tx.run(record_logout, reason);
  co_await tx.commit();
}

async<std::shared_ptr<const Access>> Cache::check(api::Call& call, const Token& token, bool anew) {
  const auto now = std::chrono::steady_clock::now();
  const auto found = entries_.find(token.hash);
  if (found != entries_.end() && !anew && now - found->second.seen < touch_interval) co_return found->second.access;

  // A token that is made up must leave no trace, so PostgreSQL is asked before Redis hears of it.
  pg::ReadTx tx = call.core.database.read(pg::Prelude{}, call.deadline);
  auto learnt = co_await tx.maybe(access_of_session, token.hash);
  if (!learnt) {
    entries_.erase(token.hash);
    throw Problem(Kind::unauthenticated, "This token is not valid, or no longer.");
  }
  auto access = std::make_shared<const Access>(std::move(*learnt));
  if (!anew) {
    const auto redis_key = redis::keys::user_session(token.user);
    const auto field = hex(token.hash);
    const auto reply = co_await call.core.redis.command("HGET", redis_key, field);
    // Redis away or emptied ends nobody's session.
    if (reply && reply->type == redis::Reply::Type::string) {
      const std::chrono::seconds idle(unix_now() - std::strtoll(reply->text.c_str(), nullptr, 10));
      if (idle > call.core.shared.config.session.idle_minutes) {
        pg::Tx ending = call.core.database.write(as_session(call, token, *access), call.deadline);
        co_await end(ending, "idle");
        co_await session::forget(call, token);
        throw Problem(Kind::unauthenticated, "session_expired", "This session was idle for too long; log in again.");
      }
    }
    co_await remember(call, token);
  }
  if (entries_.size() >= capacity) entries_.clear();
  auto& entry = entries_[token.hash];
  if (!anew) entry.seen = now;
  entry.access = access;
  co_return access;
}

void mount(api::Api& api, unsigned cores) {
  auto caches = std::make_shared<std::vector<Cache>>(cores);
  auto authenticate = [caches](api::Call& call, std::string_view text, bool anew) -> async<api::Identity> {
    return authenticated((*caches)[call.core.number], call, text, anew);
  };
  api.authenticate_with(std::move(authenticate), [](api::Call& call) { return nobody(call); });
}

}  // namespace cairn::session
