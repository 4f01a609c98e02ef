#include "session/api_token.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pg/error.hpp"

namespace cairn::session {
namespace {

constexpr std::chrono::seconds note_interval{60};
constexpr std::int64_t most_tokens = 100;
constexpr std::chrono::hours usual_life{30 * 24};

const pg::Constraint not_active{"api_tokens_user_id_active", Kind::unauthenticated, "unauthenticated", "",
                                "This token is not valid, or no longer."};

// As for sessions; besides, the token's own limits, for statements that read memberships, and its id, for the record.
const pg::Sql<bool(Hash, std::int64_t, std::string, std::string, std::string, std::string, std::string, std::string,
                   std::string, std::string, std::string, std::string)>
    enter{"api_token.enter", R"sql(
  select set_config('app.user_id', coalesce(user_id::text, ''), true) is not null
         and set_config('app.open', case when user_id is null then '' else $3 end, true) is not null
         and set_config('app.rights', case when user_id is null then '' else $4 end, true) is not null
         and set_config('app.closed', case when user_id is null then '' else $5 end, true) is not null
         and set_config('app.closed_rights', case when user_id is null then '' else $6 end, true) is not null
         and set_config('app.projects', case when user_id is null then '' else $7 end, true) is not null
         and set_config('app.project_rights', case when user_id is null then '' else $8 end, true) is not null
         and set_config('app.token_id', coalesce(token_id::text, ''), true) is not null
         and set_config('app.token_organization', coalesce(organization_id::text, ''), true) is not null
         and set_config('app.token_rights', $9, true) is not null
         and set_config('app.ip', $10, true) is not null and set_config('app.user_agent', $11, true) is not null
         and set_config('app.request_id', $12, true) is not null and user_id is not null
  from (select) as asked left join app.live_api_tokens on token_hash = $1 and access_version = $2)sql"};

const pg::Sql<ApiTokenAccess(Hash)> access_of_token{"api_token.access", R"sql(
  select user_id, access_version, coalesce(open, '') as open, coalesce(rights, '') as rights,
         coalesce(closed, '') as closed, coalesce(closed_rights, '') as closed_rights,
         coalesce(projects, '') as projects, coalesce(project_rights, '') as project_rights,
         organization_id, token_rights, scopes
  from app.api_token_access($1))sql"};

const pg::Sql<void()> note_use{"api_token.note_use", "select app.note_use()"};

const pg::Sql<ApiToken()> own_tokens{"api_token.own", R"sql(
  select t.id, t.name, t.scopes, t.organization_id, t.created_at, t.expires_at, u.last_used_at,
         nullif(u.address, '') as last_used_ip
  from app.api_tokens t
  left join lateral (select last_used_at, address from app.api_token_uses where token_id = t.id
                     order by last_used_at desc limit 1) u on true
  where t.user_id = app.actor() order by t.created_at desc, t.id)sql"};

const pg::Sql<NewApiToken(Text<1, 100>, std::vector<Scope>, std::optional<Uuid>, Hash, Instant, std::int64_t)>
    insert_token{"api_token.insert", R"sql(
  insert into app.api_tokens (user_id, organization_id, name, scopes, token_hash, expires_at)
  select app.actor(), $3::uuid, $1::varchar, $2::app.api_scope[], $4::bytea, $5::timestamptz
  where (select count(*) from app.api_tokens where user_id = app.actor()) < $6
    and ($3::uuid is null or exists (select from app.memberships where organization_id = $3))
  returning id, name, scopes, organization_id, created_at, expires_at, null::timestamptz as last_used_at,
            null::text as last_used_ip, ''::text as token)sql"};

const pg::Sql<std::int64_t()> count_tokens{"api_token.count", R"sql(
  select count(*) from app.api_tokens where user_id = app.actor())sql"};

const pg::Sql<void(ApiTokenId)> delete_token{"api_token.delete", R"sql(
  delete from app.api_tokens where id = $1 and user_id = app.actor())sql"};

pg::Prelude as_token(const api::Call& call, const Token& token, const ApiTokenAccess& access) {
  auto prelude = pg::prelude(enter, token.hash, access.access_version, access.open, access.rights, access.closed,
                             access.closed_rights, access.projects, access.project_rights,
                             std::to_string(access.token_rights), call.address, call.user_agent, call.request_id);
  prelude.checked = true;
  return prelude;
}

// Not what the rights of 0012 already say: which endpoints are open at all.
std::optional<Problem> beyond_scope(const api::Call& call, const ApiTokenAccess& access) {
  const auto needed = scope_of(*call.endpoint);
  if (!needed) return Problem(Kind::forbidden, "insufficient_scope", "This is not open to API tokens; log in.");
  if (std::ranges::find(access.scopes, *needed) == access.scopes.end())
    return Problem(Kind::forbidden, "insufficient_scope",
                   fmt::format("This needs a token with the scope {}.", json::Codec<Scope>::name(*needed)));
  if (!access.organization_id) return std::nullopt;
  const auto& names = call.endpoint->path_names;
  if (names.empty() && !api::endpoint_reads(call.endpoint->method))
    return Problem(Kind::forbidden, "insufficient_scope", "This token reaches one organization only.");
  if (!names.empty() && names.front() == "organization" && Uuid::parse(call.path_values[0]) != access.organization_id)
    return Problem(Kind::not_found);
  return std::nullopt;
}

async<api::Page<ApiToken>> list(pg::ReadTx& tx) {
  api::Page<ApiToken> page;
  page.data = co_await tx.all(own_tokens);
  co_return page;
}

async<api::Created<NewApiToken>> create(api::Call& call, pg::Tx& tx, ApiTokenDraft draft) {
  const auto most_days = call.core.shared.config.api_token.max_days;
  const std::chrono::microseconds longest = std::chrono::hours(24) * most_days;
  const auto now = Instant::now();
  auto expires = now;
  expires.micros += std::min<std::chrono::microseconds>(usual_life, longest).count();
  if (draft.expires_at) expires = *draft.expires_at;
  std::vector<FieldError> errors;
  if (draft.scopes.empty()) errors.emplace_back("/scopes", "required", "must name at least one scope");
  if (expires <= now || expires.micros > now.micros + longest.count())
    errors.emplace_back("/expires_at", "out_of_range", fmt::format("must be within the next {} days", most_days));
  if (!errors.empty())
    throw Problem(Kind::invalid, "Something about the token is not acceptable.").with(std::move(errors));
  std::ranges::sort(draft.scopes);
  draft.scopes.erase(std::ranges::unique(draft.scopes).begin(), draft.scopes.end());

  const auto token = Token::make(*call.identity.user, Use::api);
  auto made = co_await tx.maybe(insert_token, draft.name, draft.scopes, draft.organization_id, token.hash, expires,
                                most_tokens);
  if (!made) {
    const auto count = co_await tx.one(count_tokens);
    if (count >= most_tokens)
      throw Problem(Kind::conflict, "too_many_tokens", fmt::format("Nobody has more than {} tokens.", most_tokens));
    errors.emplace_back("/organization_id", "not_found", "is no organization of yours");
    throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
  }
  made->token = token.text;
  co_return std::move(*made);
}

async<> remove(pg::Tx& tx, ApiTokenId id) {
  const auto removed = co_await tx.run(delete_token, id);
  if (removed == 0) throw Problem(Kind::not_found);
}

}  // namespace

std::optional<Scope> scope_of(const api::Endpoint& endpoint) {
  const auto slice = endpoint.spec.id.substr(0, endpoint.spec.id.find('.'));
  const auto under = [&](std::string_view root) { return endpoint.path.starts_with(root); };
  if (!under("/organizations") && !under("/projects") && !under("/tasks")) return std::nullopt;
  if (api::endpoint_reads(endpoint.method)) return Scope::read;
  if (endpoint.spec.id == "organization.transfer") return std::nullopt;
  if (slice == "task") return Scope::write_tasks;
  if (slice == "project" || slice == "project_member") return Scope::write_projects;
  if (slice == "member" || slice == "invitation") return Scope::write_members;
  if (slice == "organization") return Scope::write_organizations;
  return std::nullopt;
}

async<api::Identity> ApiTokens::authenticate(api::Call& call, const Token& token, bool anew) {
  auto access = co_await check(call, token, anew);
  call.identity.user = access->user_id;
  auto beyond = beyond_scope(call, *access);
  if (beyond) {
    // A token that has ended since it was remembered is not told what it may not do.
    if (!anew) access = co_await check(call, token, true);
    throw std::move(*beyond);
  }
  api::Identity identity;
  identity.user = access->user_id;
  identity.read = identity.write = as_token(call, token, *access);
  co_return identity;
}

async<std::shared_ptr<const ApiTokenAccess>> ApiTokens::check(api::Call& call, const Token& token, bool anew) {
  const auto now = std::chrono::steady_clock::now();
  const auto found = entries_.find(token.hash);
  bool noted = false;
  if (found != entries_.end() && now - found->second.seen < note_interval)
    noted = std::ranges::find(found->second.addresses, call.address) != found->second.addresses.end();
  if (noted && !anew) co_return found->second.access;

  pg::ReadTx tx = call.core.database.read(pg::Prelude{}, call.deadline);
  auto learnt = co_await tx.maybe(access_of_token, token.hash);
  if (!learnt) {
    entries_.erase(token.hash);
    throw Problem(Kind::unauthenticated, "This token is not valid, or no longer.");
  }
  auto access = std::make_shared<const ApiTokenAccess>(std::move(*learnt));
  if (!noted) {
    pg::Tx noting = call.core.database.write(as_token(call, token, *access), call.deadline);
    co_await noting.finish(note_use);
  }
  if (entries_.size() >= capacity) entries_.clear();
  auto& entry = entries_[token.hash];
  entry.access = access;
  if (noted) co_return access;
  if (now - entry.seen >= note_interval || entry.addresses.size() >= most_addresses) {
    entry.seen = now;
    entry.addresses.clear();
  }
  entry.addresses.push_back(call.address);
  co_return access;
}

void mount_api_tokens(api::Api& api) {
  api.get("/me/tokens", list,
          {.id = "token.list",
           .summary = "My API tokens",
           .description = "Those that have expired too.",
           .allow = api::Access::user});
  api.post(
      "/me/tokens", create,
      {.id = "token.create",
       .summary = "Make an API token",
       .description = "It does what its scopes say and never more than its owner may; accounts, sessions and tokens "
                      "are closed to it.",
       .allow = api::Access::user,
       .location = "/me/tokens",
       .problems = "too_many_tokens"});
  api.del("/me/tokens/{token}", remove,
          {.id = "token.remove", .summary = "Revoke an API token", .allow = api::Access::user});
}

}  // namespace cairn::session
