#include "session/session.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>

#include "api/credentials.hpp"
#include "pg/error.hpp"
#include "redis/keys.hpp"
#include "session/api_token.hpp"

namespace cairn::session {
namespace {

constexpr std::chrono::seconds touch_interval{60};

const pg::Constraint no_new_token{"refresh_tokens_user_id_active", Kind::unauthenticated, "invalid_refresh_token", "",
                                  "This refresh token is not valid, or no longer; log in again."};

// The preludes: nothing is set unless the session lives and what we remember of the person is still so. Read-only
// requests need to know who asks and what that person may do; a write also tells the record from where and for which
// request.
const pg::Sql<bool(Hash, std::int64_t, std::string, std::string)> enter_reading{"session.enter_reading", R"sql(
  select access_version = $2 and set_config('app.user_id', user_id::text, true) is not null
         and set_config('app.open', $3, true) is not null and set_config('app.rights', $4, true) is not null
  from app.live_sessions where token_hash = $1)sql"};

// For changes, which may share a transaction with others': whoever is not who they were, or no longer, becomes nobody
// instead of going on as whoever was before them.
const pg::Sql<bool(Hash, std::int64_t, std::string, std::string, std::string, std::string, std::string)> enter_writing{
    "session.enter_writing", R"sql(
  select set_config('app.user_id', coalesce(user_id::text, ''), true) is not null
         and set_config('app.open', case when user_id is null then '' else $3 end, true) is not null
         and set_config('app.rights', case when user_id is null then '' else $4 end, true) is not null
         and set_config('app.session_id', coalesce(session_id::text, ''), true) is not null
         and set_config('app.ip', $5, true) is not null and set_config('app.user_agent', $6, true) is not null
         and set_config('app.request_id', $7, true) is not null and user_id is not null
  from (select) as asked left join app.live_sessions on token_hash = $1 and access_version = $2)sql"};

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
  select set_config('app.user_id', coalesce(user_id::text, ''), true) is not null
         and set_config('app.open', case when user_id is null then '' else $3 end, true) is not null
         and set_config('app.rights', case when user_id is null then '' else $4 end, true) is not null
         and set_config('app.closed', case when user_id is null then '' else $5 end, true) is not null
         and set_config('app.closed_rights', case when user_id is null then '' else $6 end, true) is not null
         and set_config('app.projects', case when user_id is null then '' else $7 end, true) is not null
         and set_config('app.project_rights', case when user_id is null then '' else $8 end, true) is not null
         and set_config('app.session_id', coalesce(session_id::text, ''), true) is not null
         and set_config('app.ip', $9, true) is not null and set_config('app.user_agent', $10, true) is not null
         and set_config('app.request_id', $11, true) is not null and user_id is not null
  from (select) as asked left join app.live_sessions on token_hash = $1 and access_version = $2)sql"};

const pg::Sql<SessionAccess(Hash)> access_of_session{"session.access", R"sql(
  select user_id, session_id, created_at, server_rank, access_version,
         coalesce(open, '') as open, coalesce(rights, '') as rights, coalesce(closed, '') as closed, coalesce(closed_rights, '') as closed_rights,
         coalesce(projects, '') as projects, coalesce(project_rights, '') as project_rights
  from app.session_access($1))sql"};

const pg::Sql<std::string(Uuid, std::string, std::string, std::string)> enter_as{"session.enter_as", R"sql(
  select set_config('app.user_id', $1::uuid::text, true) || set_config('app.ip', $2, true) ||
         set_config('app.user_agent', $3, true) || set_config('app.request_id', $4, true))sql"};

const pg::Sql<std::string(std::string, std::string, std::string)> enter_as_nobody{"session.enter_as_nobody", R"sql(
  select set_config('app.system', 'anonymous', true) || set_config('app.ip', $1, true) ||
         set_config('app.user_agent', $2, true) || set_config('app.request_id', $3, true))sql"};

// The beginning of a device, and what follows with each refresh. The token of before lives on for as long as a refresh
// may be repeated, for requests that are under way.
const pg::Sql<void(Uuid, Instant, std::string, std::string)> insert_device{"session.insert_device", R"sql(
  insert into app.devices (id, user_id, expires_at, ip_address, user_agent)
  values ($1, app.actor(), $2, nullif($3, '')::inet, nullif($4, '')))sql"};

const pg::Sql<void(Instant, std::string, std::string)> insert_device_again{"session.insert_device_again", R"sql(
  insert into app.devices (id, user_id, expires_at, ip_address, user_agent)
  values (current_setting('app.session_id')::uuid, app.actor(), $1, nullif($2, '')::inet, nullif($3, '')))sql"};

const pg::Sql<void(Hash, Instant)> insert_session_again{"session.insert_again", R"sql(
  insert into app.sessions (token_hash, user_id, device_id, expires_at)
  values ($1, app.actor(), current_setting('app.session_id')::uuid, $2))sql"};

const pg::Sql<Instant(Hash, Uuid, Instant)> insert_session{"session.insert", R"sql(
  with past as (
    update app.sessions set expires_at = least(expires_at, now() + interval '10 seconds')
    where device_id = $2 and expires_at > now()),
  gone as (delete from app.sessions where device_id = $2 and expires_at <= now())
  insert into app.sessions (token_hash, user_id, device_id, expires_at) values ($1, app.actor(), $2, $3)
  returning expires_at)sql"};

const pg::Sql<void(Uuid, std::optional<Uuid>, std::string)> add_refresh_token{"session.add_refresh_token", R"sql(
  select app.add_refresh_token($1, $2, $3))sql"};

struct Used {
  Used() = default;
  Uuid user_id, device_id, token_id;
  Hash salt{};
  Instant expires_at;
  bool rotated = false, reused = false;
};
BOOST_DESCRIBE_STRUCT(Used, (), (user_id, device_id, token_id, salt, expires_at, rotated, reused))

const pg::Sql<Used(std::string)> use_refresh_token{"session.use_refresh_token", R"sql(
  select user_id, device_id, token_id, salt, expires_at, rotated, reused
  from app.use_refresh_token($1, interval '10 seconds'))sql"};

const pg::Sql<Instant(Hash)> session_expiry{"session.expiry", R"sql(
  select expires_at from app.live_sessions where token_hash = $1)sql"};

const pg::Sql<Uuid(std::int64_t)> end_oldest{"session.end_oldest", R"sql(
  delete from app.devices where user_id = app.actor() and (expires_at <= now() or id in
    (select id from app.devices where user_id = app.actor() order by created_at desc, id offset $1))
  returning id)sql"};

// The ends that people and the server make, each on the record in the statement that makes it.
const pg::Sql<Uuid()> end_own{"session.end_own", R"sql(
  with ended as (delete from app.devices where id = current_setting('app.session_id')::uuid returning id)
  select e.id from ended e cross join lateral app.record('logout', 'sessions', e.id, '{"reason": "logout"}') r)sql"};

const pg::Sql<Uuid(SessionId)> end_one{"session.end_one", R"sql(
  with ended as (delete from app.devices where id = $1 returning id)
  select e.id from ended e cross join lateral app.record('logout', 'sessions', e.id, '{"reason": "revoked"}') r)sql"};

const pg::Sql<Uuid()> end_others{"session.end_others", R"sql(
  with ended as (delete from app.devices
                 where user_id = app.actor() and id <> current_setting('app.session_id')::uuid returning id)
  select e.id from ended e cross join lateral app.record('logout', 'sessions', e.id, '{"reason": "revoked"}') r)sql"};

// The device may go on with its refresh token.
const pg::Sql<void()> end_idle{"session.end_idle", R"sql(
  with ended as (delete from app.sessions where device_id = current_setting('app.session_id')::uuid returning device_id)
  select from (select distinct device_id as id from ended) e
  cross join lateral app.record('logout', 'sessions', e.id, '{"reason": "idle"}') r)sql"};

const pg::Sql<Session(Hash)> own_sessions{"session.own", R"sql(
  select d.id, coalesce(d.id = (select session_id from app.live_sessions where token_hash = $1), false) as current,
         d.created_at, d.expires_at, null::timestamptz as last_seen, host(d.ip_address) as ip_address, d.user_agent
  from app.devices d where d.user_id = app.actor() and d.expires_at > now() order by d.created_at desc, d.id)sql"};

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Instant after(std::chrono::microseconds time) {
  auto instant = Instant::now();
  instant.micros += time.count();
  return instant;
}

// In one step, or a server that dies in between leaves a key that lives for ever.
const redis::Script keep_seen{R"lua(
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  return 1)lua"};

// The value is the second it was last seen; the key lives as long as a session can.
async<> remember(api::Call& call, const Uuid& user, const Uuid& device) {
  const auto redis_key = redis::keys::user_session(user);
  const auto field = device.text();
  const auto now = std::to_string(unix_now()), seconds = std::to_string(redis::ttl::session.count());
  const std::array<std::string_view, 1> keys = {redis_key};
  const std::array<std::string_view, 3> args = {field, now, seconds};
  co_await call.core.redis.script(keep_seen, keys, args);
}

async<> forget(api::Call& call, const Uuid& user, const std::vector<Uuid>& devices) {
  if (devices.empty()) co_return;
  std::vector<std::string> words{"HDEL", redis::keys::user_session(user)};
  for (const auto& device : devices) words.push_back(device.text());
  const std::vector<std::string_view> parts(words.begin(), words.end());
  co_await call.core.redis.command(parts);
}

void set_cookies(api::Call& call, const Token& session, const Token& refresh, Instant until) {
  const std::chrono::microseconds left(until.micros - Instant::now().micros);
  api::set_session_cookie(call, session.text);
  api::set_refresh_cookie(call, refresh.text, std::chrono::duration_cast<std::chrono::seconds>(left));
}

[[noreturn]] void refuse_token() { throw Problem(Kind::unauthenticated, "This token is not valid, or no longer."); }

// -- endpoints

async<> logout(api::Call& call, pg::Tx& tx) {
  const auto ended = co_await tx.all(end_own);
  co_await tx.commit();
  co_await forget(call, *call.identity.user, ended);
  if (call.by_cookie) api::clear_cookies(call);
}

async<api::Page<Session>> list(api::Call& call, pg::ReadTx& tx) {
  const auto token = Token::parse(call.token);
  api::Page<Session> page;
  page.data = co_await tx.all(own_sessions, token->hash);
  const auto redis_key = redis::keys::user_session(*call.identity.user);
  const auto seen = co_await call.core.redis.command("HGETALL", redis_key);
  if (!seen) co_return page;
  for (std::size_t i = 0; i + 1 < seen->elements.size(); i += 2) {
    for (auto& session : page.data) {
      if (session.id.text() != seen->elements[i].text) continue;
      const auto second = std::strtoll(seen->elements[i + 1].text.c_str(), nullptr, 10);
      session.last_seen = Instant{second * 1'000'000};
    }
  }
  co_return page;
}

async<> remove(api::Call& call, pg::Tx& tx, SessionId id) {
  const auto ended = co_await tx.all(end_one, id);
  if (ended.empty()) throw Problem(Kind::not_found);
  co_await tx.commit();
  co_await forget(call, *call.identity.user, ended);
}

async<> remove_others(api::Call& call, pg::Tx& tx) {
  const auto ended = co_await tx.all(end_others);
  co_await tx.commit();
  co_await forget(call, *call.identity.user, ended);
}

// The successors follow from the token that is presented, so whoever repeats the request gets the same, and nothing
// that could be stolen is kept for them. A cookie outlives a refusal: another tab may have been faster, and logged in.
async<Tokens> refresh(api::Call& call, pg::Tx& tx, Refresh given) {
  const auto shown = api::refresh_credentials(call.request);
  const bool in_cookie = !given.refresh_token;
  if (in_cookie) api::expect_same_origin(call);
  if (in_cookie && shown.ambiguous)
    throw Problem(Kind::malformed, "duplicate_cookie", "The refresh token's cookie is there twice.");
  const auto token = Token::parse(in_cookie ? shown.token : std::string_view(given.refresh_token->reveal()));
  std::optional<Used> used;
  if (token && token->use == Use::refresh) used = co_await tx.maybe(use_refresh_token, hex(token->hash));
  if (!used)
    throw Problem(Kind::unauthenticated, "invalid_refresh_token",
                  "This refresh token is not valid, or no longer; log in again.");
  call.identity.user = used->user_id;
  if (used->reused) {
    co_await tx.commit();
    const std::vector<Uuid> ended(1, used->device_id);
    co_await forget(call, used->user_id, ended);
    throw Problem(Kind::unauthenticated, "refresh_token_reused",
                  "This refresh token was used before, so one of the two users is a thief: log in again.");
  }

  const auto session = Token::derive(Use::session, *token, used->salt);
  const auto successor = Token::derive(Use::refresh, *token, used->salt);
  Tokens tokens;
  if (!in_cookie) {
    tokens.token = session.text;
    tokens.refresh_token = successor.text;
  }
  tokens.refresh_expires_at = used->expires_at;
  if (used->rotated) {
    const auto expires = std::min(after(call.core.shared.config.session.absolute_hours), used->expires_at);
    tokens.expires_at = co_await tx.one(insert_session, session.hash, used->device_id, expires);
    co_await tx.run(add_refresh_token, used->device_id, used->token_id, hex(successor.hash));
  } else {
    const auto expires = co_await tx.maybe(session_expiry, session.hash);
    if (!expires) refuse_token();
    tokens.expires_at = *expires;
  }
  co_await tx.commit();
  // Before the reply, so that nobody takes the new session for an idle one.
  co_await remember(call, used->user_id, used->device_id);
  if (in_cookie) set_cookies(call, session, successor, used->expires_at);
  co_return tokens;
}

// PostgreSQL decides whether it is worth an entry, for all cores; what it was asked about of late it is not asked
// again.
constexpr std::chrono::seconds denial_interval{60};
constexpr std::size_t most_denials = 10'000;

const pg::Sql<void(Hash, std::string, std::string)> record_denial{"session.record_denial", R"sql(
  select app.record_denial($1, $2, $3))sql"};

struct Caches {
  KnownTokens tokens;
  Cache sessions;
  ApiTokens api_tokens;
  std::map<std::pair<Uuid, const api::Endpoint*>, std::chrono::steady_clock::time_point> denials;
};

async<> refused(Caches& caches, api::Call& call, const Problem& problem) {
  const auto token = Token::parse(call.token);
  const auto now = std::chrono::steady_clock::now();
  if (caches.denials.size() >= most_denials) caches.denials.clear();
  auto& last = caches.denials[std::pair(*call.identity.user, call.endpoint)];
  if (!token || now - last < denial_interval) co_return;
  last = now;
  try {
    pg::Tx tx = call.core.database.write(nobody(call).write, call.deadline);
    co_await tx.finish(record_denial, token->hash, std::string(call.endpoint->spec.id), problem.code);
  } catch (const Problem& failure) {
    log::warn("a refusal is not on the record", {{"request_id", call.request_id}, {"cause", failure.cause}});
  }
}

async<api::Identity> authenticated(Caches& caches, api::Call& call, std::string_view text, bool anew) {
  auto token = caches.tokens.find(text);
  const bool known = token != nullptr;
  if (!known) {
    auto parsed = Token::parse(text);
    if (!parsed || parsed->use == Use::refresh) refuse_token();
    token = std::make_shared<const Token>(std::move(*parsed));
  }
  api::Identity identity;
  if (token->use == Use::api) {
    identity = co_await caches.api_tokens.authenticate(call, *token, anew);
  } else {
    auto access = anew ? nullptr : caches.sessions.fresh(*token);
    if (!access) access = co_await caches.sessions.check(call, *token, anew);
    call.identity.user = token->user;
    // A demotion shows in the statement that does the work, a promotion does not: before a refusal PostgreSQL is asked.
    const auto needed = api::server_rank(call.endpoint->spec.allow);
    if (access->server_rank < needed && !anew) access = co_await caches.sessions.check(call, *token, true);
    if (access->server_rank < needed)
      throw Problem(Kind::forbidden, needed == 2 ? "This is for administrators of the server."
                                                 : "This is for administrators and managers of the server.");
    identity = identify(call, *token, *access);
  }
  if (!known) caches.tokens.add(std::move(token));
  co_return identity;
}

}  // namespace

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

async<Tokens> begin(pg::Tx& tx, api::Call& call, Uuid user, Keep keep) {
  const auto& limits = call.core.shared.config.session;
  const auto device = Uuid::make();
  const auto session = Token::make(user), refresh = Token::make(user, Use::refresh);
  const std::int64_t most = limits.max_per_user;
  Tokens tokens;
  tokens.expires_at = after(limits.absolute_hours);
  if (keep != Keep::cookie) {
    tokens.refresh_expires_at = after(limits.refresh_hours);
    tokens.expires_at = std::min(tokens.expires_at, *tokens.refresh_expires_at);
  }
  if (keep == Keep::itself) {
    tokens.token = session.text;
    tokens.refresh_token = refresh.text;
  }

  const auto last = tokens.refresh_expires_at.value_or(tokens.expires_at);
  co_await tx.run(insert_device, device, last, call.address, call.user_agent);
  co_await tx.one(insert_session, session.hash, device, tokens.expires_at);
  if (keep != Keep::cookie) co_await tx.run(add_refresh_token, device, std::nullopt, hex(refresh.hash));
  const auto ended = co_await tx.all(end_oldest, most);
  co_await tx.commit();
  co_await forget(call, user, ended);
  co_await remember(call, user, device);
  call.identity.user = user;
  if (keep == Keep::cookie) api::set_session_cookie(call, session.text);
  if (keep == Keep::cookies) set_cookies(call, session, refresh, last);
  co_return tokens;
}

async<> resume(pg::Tx& tx, const api::Call& call, Instant expires) {
  const auto token = Token::parse(call.token);
  co_await tx.run(insert_device_again, expires, call.address, call.user_agent);
  co_await tx.run(insert_session_again, token->hash, expires);
}

std::shared_ptr<const SessionAccess> Cache::fresh(const Token& token) const {
  const auto found = entries_.find(token.hash);
  if (found == entries_.end() || std::chrono::steady_clock::now() - found->second.seen >= touch_interval)
    return nullptr;
  return found->second.access;
}

async<std::shared_ptr<const SessionAccess>> Cache::check(api::Call& call, const Token& token, bool anew) {
  const auto now = std::chrono::steady_clock::now();
  // A token that is made up must leave no trace, so PostgreSQL is asked before Redis hears of it.
  pg::ReadTx tx = call.core.database.read(pg::Prelude{}, call.deadline);
  auto learnt = co_await tx.maybe(access_of_session, token.hash);
  if (!learnt) {
    entries_.erase(token.hash);
    refuse_token();
  }
  auto access = std::make_shared<const SessionAccess>(std::move(*learnt));
  if (!anew) {
    const auto redis_key = redis::keys::user_session(token.user);
    const auto field = access->session_id.text();
    const auto reply = co_await call.core.redis.command("HGET", redis_key, field);
    // Redis away, emptied or behind the times ends nobody's session before its time.
    if (reply && reply->type == redis::Reply::Type::string) {
      const std::int64_t seen = std::strtoll(reply->text.c_str(), nullptr, 10);
      const std::chrono::seconds idle(unix_now() - std::max(seen, access->created_at.micros / 1'000'000));
      if (idle > call.core.shared.config.session.idle_minutes) {
        pg::Tx ending = call.core.database.write(as_session(call, token, *access), call.deadline);
        co_await ending.finish(end_idle);
        throw Problem(Kind::unauthenticated, "session_expired", "This session was idle for too long; log in again.");
      }
    }
    co_await remember(call, token.user, access->session_id);
  }
  if (entries_.size() >= capacity) entries_.clear();
  auto& entry = entries_[token.hash];
  if (!anew) entry.seen = now;
  entry.access = access;
  co_return access;
}

void mount(api::Api& api, unsigned cores) {
  auto caches = std::make_shared<std::vector<Caches>>(cores);
  auto authenticate = [caches](api::Call& call, std::string_view text, bool anew) -> async<api::Identity> {
    return authenticated((*caches)[call.core.number], call, text, anew);
  };
  api.authenticate_with(std::move(authenticate), [](api::Call& call) { return nobody(call); });
  api.report_refusals_to([caches](api::Call& call, const Problem& problem) -> async<> {
    return refused((*caches)[call.core.number], call, problem);
  });
  api.scopes_from([](const api::Endpoint& endpoint) -> std::string_view {
    const auto scope = scope_of(endpoint);
    return scope ? json::Codec<Scope>::name(*scope) : std::string_view();
  });

  api.post(
      "/sessions/refresh", refresh,
      {.id = "session.refresh",
       .summary = "Stay logged in",
       .description = "A refresh token is used once: it gives a new session token and the refresh token to use next. "
                      "Whoever repeats the request within ten seconds gets the same pair. Used again later, it logs "
                      "the device out. A page in a browser sends {}: its tokens come and go in cookies.",
       .allow = api::Access::anonymous,
       .problems = "cross_origin,invalid_refresh_token,refresh_token_reused",
       .rate = api::Rate::token});
  api.del("/session", logout,
          {.id = "session.remove",
           .summary = "Log out",
           .description = "Ends this session only, and its refresh token.",
           .allow = api::Access::user});
  api.get("/me/sessions", list,
          {.id = "session.list", .summary = "The devices I am logged in on", .allow = api::Access::user});
  api.del("/me/sessions", remove_others,
          {.id = "session.remove_others",
           .summary = "Log out everywhere else",
           .description = "Ends all sessions but the one that asks. API tokens stay.",
           .allow = api::Access::user});
  api.del("/me/sessions/{session}", remove,
          {.id = "session.remove_one", .summary = "Log one device out", .allow = api::Access::user});
  mount_api_tokens(api);
}

}  // namespace cairn::session
