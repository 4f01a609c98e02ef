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

// Read-only requests need to know who asks and nothing else.
const pg::Sql<Caller(Hash)> enter_reading{"session.enter_reading", R"sql(
  select user_id, session_id, set_config('app.user_id', user_id::text, true) as context
  from app.live_sessions where token_hash = $1)sql"};

// A write also tells the record from where and for which request.
const pg::Sql<Caller(Hash, std::string, std::string, std::string)> enter_writing{"session.enter_writing", R"sql(
  select user_id, session_id,
         set_config('app.user_id', user_id::text, true) || set_config('app.session_id', session_id::text, true) ||
         set_config('app.ip', $2, true) || set_config('app.user_agent', $3, true) ||
         set_config('app.request_id', $4, true) as context
  from app.live_sessions where token_hash = $1)sql"};

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

async<api::Identity> authenticated(Cache& cache, api::Call& call, std::string_view text) {
  const auto token = Token::parse(text);
  if (!token) throw Problem(Kind::unauthenticated, "This token is not valid, or no longer.");
  co_await cache.check(call, *token);
  api::Identity identity = identify(call, *token);
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
  auto token = Token::parse(api::bearer(call.request));
  if (!token) throw Problem(Kind::unauthenticated);
  return std::move(*token);
}

api::Identity identify(const api::Call& call, const Token& token) {
  api::Identity identity;
  identity.user = token.user;
  if (api::endpoint_reads(call.endpoint->method))
    identity.read = pg::prelude(enter_reading, token.hash);
  else
    identity.write = pg::prelude(enter_writing, token.hash, call.address, call.user_agent, call.request_id);
  return identity;
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

async<> Cache::check(api::Call& call, const Token& token) {
  const auto now = std::chrono::steady_clock::now();
  const auto found = seen_.find(key(token.hash));
  if (found != seen_.end() && now - found->second < touch_interval) co_return;

  const auto redis_key = redis::keys::user_session(token.user);
  const auto field = hex(token.hash);
  const auto reply = co_await call.core.redis.command("HGET", redis_key, field);
  if (reply && reply->type == redis::Reply::Type::string) {
    const std::chrono::seconds idle(unix_now() - std::strtoll(reply->text.c_str(), nullptr, 10));
    if (idle > call.core.shared.config.session.idle_minutes) {
      pg::Tx tx = call.core.database.write(
          pg::prelude(enter_writing, token.hash, call.address, call.user_agent, call.request_id), call.deadline);
      co_await end(tx, "idle");
      co_await session::forget(call, token);
      throw Problem(Kind::unauthenticated, "session_expired", "This session was idle for too long; log in again.");
    }
  } else {
    // Redis is away or was emptied, which ends nobody's session; or the token is made up, which must leave no trace
    // there.
    pg::ReadTx tx = call.core.database.read(pg::Prelude{}, call.deadline);
    const auto caller = co_await tx.maybe(enter_reading, token.hash);
    if (!caller) throw Problem(Kind::unauthenticated, "This token is not valid, or no longer.");
  }
  co_await remember(call, token);
  if (seen_.size() >= capacity) seen_.clear();
  seen_.insert_or_assign(key(token.hash), now);
}

void mount(api::Api& api, unsigned cores) {
  auto caches = std::make_shared<std::vector<Cache>>(cores);
  auto authenticate = [caches](api::Call& call, std::string_view text) -> async<api::Identity> {
    return authenticated((*caches)[call.core.number], call, text);
  };
  api.authenticate_with(std::move(authenticate), [](api::Call& call) { return nobody(call); });
}

}  // namespace cairn::session
