#include "api/limits.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>

#include "api/endpoint.hpp"
#include "base/hash.hpp"
#include "redis/keys.hpp"

namespace cairn::api {
namespace {

using limits::Bucket;
using limits::Clock;
using limits::Grant;
using limits::Key;

constexpr std::string_view failures_name = "authentication", nothing_name = "none";
constexpr std::uint32_t largest_block = 100;

// KEYS[1], and the limit, what is wanted and the window in ms: what is granted, what is left then, and for how long.
// A key that lost its end gets one.
const redis::Script reserve_script{R"lua(
local limit, wanted, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used = tonumber(redis.call('GET', KEYS[1]) or 0)
local granted = math.max(0, math.min(wanted, limit - used))
if granted > 0 then used = redis.call('INCRBY', KEYS[1], granted) end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > window then
  redis.call('PEXPIRE', KEYS[1], window)
  left = window
end
return {granted, math.max(0, limit - used), left}
)lua"};

Key hashed(std::string_view whom, std::string_view what) {
  static const auto secret = [] {
    std::array<unsigned char, crypto_shorthash_siphashx24_KEYBYTES> bytes;
    randombytes_buf(bytes.data(), bytes.size());
    return bytes;
  }();
  std::array<std::uint64_t, 2> halves;
  static_assert(sizeof halves == crypto_shorthash_siphashx24_BYTES);
  crypto_shorthash_siphashx24(reinterpret_cast<unsigned char*>(halves.data()),
                              reinterpret_cast<const unsigned char*>(whom.data()), whom.size(), secret.data());
  // Operation ids are literals: where one stands is as good as what it says.
  return {halves[0], halves[1] ^ reinterpret_cast<std::uintptr_t>(what.data())};
}

// Another one than what PostgreSQL knows a token by.
std::string digest(std::string_view text) {
  std::array<unsigned char, 16> bytes;
  constexpr std::string_view purpose = "cairn.rate_limit";
  crypto_generichash(bytes.data(), bytes.size(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                     reinterpret_cast<const unsigned char*>(purpose.data()), purpose.size());
  return hex(bytes);
}

bool by_token(const Call& call) {
  return call.endpoint && call.endpoint->spec.allow != Access::anonymous && !call.token.empty();
}
std::string_view id_of(const Endpoint* endpoint) { return endpoint ? endpoint->spec.id : nothing_name; }

// A client on a unix socket is this machine.
std::string address_name(const Call& call, std::string_view what) {
  return redis::keys::rate_limit(call.address.empty() ? std::string_view("::1") : call.address, what);
}

std::uint32_t seconds_between(Clock::time_point now, Clock::time_point then) {
  const auto left = std::chrono::ceil<std::chrono::seconds>(then - now).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, limits::window.count()));
}

// Takes the units out, if there are enough.
Limiter::Outcome take_out(Bucket& bucket, const Policy& policy, std::uint32_t units, Clock::time_point now,
                          Allowance& allowance) {
  const bool enough = bucket.reserved >= units;
  if (enough) bucket.reserved -= units;
  allowance.policy = &policy;
  allowance.left = enough ? bucket.reserved + bucket.rest : 0;
  allowance.seconds = seconds_between(now, bucket.ends);
  return enough ? Limiter::Outcome::granted : Limiter::Outcome::refused;
}

// From what this core has; `ask` when it may have more.
Limiter::Outcome spend_from(Bucket& bucket, const Policy& policy, std::uint32_t units, Clock::time_point now,
                            Allowance& allowance) {
  if (now >= bucket.ends || (bucket.reserved < units && bucket.rest > 0)) return Limiter::Outcome::ask;
  return take_out(bucket, policy, units, now, allowance);
}

}  // namespace

Policy::Policy(std::string_view what, unsigned limit)
    : name(what),
      quota(limit),
      block(std::clamp<std::uint32_t>(limit / 20, 1, largest_block)),
      header(fmt::format("\"{}\";q={};w={}", what, limit, limits::window.count())) {}

Policies::Policies(const Config::Limits& limits)
    : account("account", limits.account),
      failures(failures_name, limits.failures),
      by_rate_{Policy(),
               Policy("read", limits.read),
               Policy("write", limits.write),
               Policy("login", limits.login),
               Policy("mail", limits.mail),
               Policy("register", limits.registration),
               Policy("token", limits.token)} {}

const Policy& Policies::of(const Endpoint* endpoint) const {
  if (endpoint && endpoint->spec.rate != Rate::automatic) return of(endpoint->spec.rate);
  return of(!endpoint || endpoint_reads(endpoint->method) ? Rate::read : Rate::write);
}

namespace limits {

Bucket& Buckets::at(const Key& key) {
  if (all_.empty()) all_.resize(ways * sets);
  auto* const set = &all_[key.a % sets * ways];
  auto* oldest = set;
  for (auto* bucket = set; bucket != set + ways; ++bucket) {
    if (bucket->key == key) return *bucket;
    if (bucket->ends < oldest->ends) oldest = bucket;
  }
  *oldest = Bucket{};
  oldest->key = key;
  return *oldest;
}

Grant Counters::reserve(const Key& key, std::uint32_t limit, std::uint32_t wanted, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  auto& bucket = buckets_.at(key);
  if (now >= bucket.ends) {
    bucket.reserved = 0;
    bucket.ends = now + window;
  }
  Grant grant;
  grant.granted = std::min(wanted, limit - std::min(limit, bucket.reserved));
  bucket.reserved += grant.granted;
  grant.rest = limit - std::min(limit, bucket.reserved);
  grant.left = std::chrono::ceil<std::chrono::milliseconds>(bucket.ends - now);
  return grant;
}

}  // namespace limits

Limiter::Outcome Limiter::spend(Call& call) {
  const auto& policy = policies_.of(call.endpoint);
  if (by_token(call)) {
    auto& bucket = buckets_.at(hashed(call.token, id_of(call.endpoint)));
    if (!bucket.proven) return Outcome::ask;
    return policy.quota == 0 ? Outcome::granted : spend_from(bucket, policy, 1, call.begun, call.allowance);
  }
  if (policy.quota == 0) return Outcome::granted;
  const auto name = address_name(call, id_of(call.endpoint));
  return spend_from(buckets_.at(hashed(name, {})), policy, 1, call.begun, call.allowance);
}

async<Limiter::Outcome> Limiter::ask(Call& call) {
  const auto& policy = policies_.of(call.endpoint);
  const auto id = id_of(call.endpoint);
  if (!by_token(call)) {
    auto name = address_name(call, id);
    const auto key = hashed(name, {});
    co_return co_await take(policy, key, std::move(name), 1, call.allowance);
  }

  const auto key = hashed(call.token, id);
  if (buckets_.at(hashed(call.token, failures_name)).proven) {
    buckets_.at(key).proven = true;
  } else if (policies_.failures.quota > 0) {
    auto name = address_name(call, failures_name);
    const auto address = hashed(name, {});
    Allowance allowance;
    const auto outcome = co_await take(policies_.failures, address, std::move(name), 1, allowance);
    if (outcome == Outcome::refused) {
      call.allowance = allowance;
      co_return outcome;
    }
    call.on_trial = buckets_.at(address).ends;
  } else {
    call.on_trial = Clock::time_point{};
  }
  if (policy.quota == 0) co_return Outcome::granted;
  auto name = redis::keys::rate_limit_token(digest(call.token), id);
  co_return co_await take(policy, key, std::move(name), 1, call.allowance);
}

void Limiter::settle(const Call& call) {
  if (!by_token(call)) return;
  const bool refused = call.response.status == 401;
  if (!call.on_trial && !refused) return;
  const bool proven = call.on_trial && call.response.status < 400;
  if (!proven && !refused) return;
  auto& token = buckets_.at(hashed(call.token, failures_name));
  token.proven = proven;
  if (proven) token.ends = std::max(token.ends, call.begun + limits::window);
  buckets_.at(hashed(call.token, id_of(call.endpoint))).proven = proven;
  if (!proven) return;
  auto& failures = buckets_.at(hashed(address_name(call, failures_name), {}));
  if (call.begun < failures.ends && failures.ends == call.on_trial) ++failures.reserved;
}

async<> Limiter::account(Call& call, std::string_view email) {
  const auto& policy = policies_.of(call.endpoint);
  const auto id = id_of(call.endpoint);
  if (policies_.account.quota == 0 || policy.quota < 4) co_return;
  std::string account(email);
  std::ranges::transform(account, account.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  auto name = redis::keys::rate_limit_account(digest(account), id);
  const auto key = hashed(name, {});
  Allowance allowance;
  auto outcome = co_await take(policies_.account, key, std::move(name), 1, allowance);
  if (outcome == Outcome::granted) co_return;

  auto address = address_name(call, id);
  const auto address_key = hashed(address, {});
  outcome = co_await take(policy, address_key, std::move(address), policy.quota / 2 - 1, call.allowance);
  if (outcome == Outcome::granted) co_return;
  Problem problem(Kind::rate_limited, "Too many attempts for this account; try again later.");
  problem.retry_after = static_cast<int>(call.allowance.seconds);
  throw std::move(problem);
}

async<Limiter::Outcome> Limiter::take(const Policy& policy, Key key, std::string name, std::uint32_t units,
                                      Allowance& allowance) {
  const auto now = Clock::now();
  auto* bucket = &buckets_.at(key);
  const auto outcome = spend_from(*bucket, policy, units, now, allowance);
  if (outcome != Outcome::ask) co_return outcome;

  // Who asks while another does takes what it needs and no block. Blocks begin small and double, so that a server that
  // is stopped again and again does not waste more than it uses.
  const bool alone = !std::exchange(bucket->asking, true);
  if (alone) bucket->block = std::clamp(2 * bucket->block, std::min(units, policy.block), policy.block);
  const auto wanted = alone ? std::max(bucket->block, units) : units;
  const Grant grant = co_await reserve(policy, key, name, wanted, now);
  bucket = &buckets_.at(key);
  if (alone) bucket->asking = false;
  // From before the question, so that nothing is spent after the window has ended in Redis.
  const auto ends = now + grant.left;
  if (now >= bucket->ends) {
    bucket->ends = ends;
    bucket->reserved = grant.granted;
    bucket->rest = grant.rest;
  } else {
    bucket->ends = std::min(bucket->ends, ends);
    bucket->reserved += grant.granted;
    bucket->rest = std::min(bucket->rest, grant.rest);
  }
  co_return take_out(*bucket, policy, units, now, allowance);
}

async<Grant> Limiter::reserve(const Policy& policy, const Key& key, std::string_view name, std::uint32_t wanted,
                              Clock::time_point now) {
  const auto limit = std::to_string(policy.quota), much = std::to_string(wanted);
  const auto window = std::to_string(std::chrono::milliseconds(redis::ttl::rate_limit).count());
  const std::array<std::string_view, 1> keys{name};
  const std::array<std::string_view, 3> arguments{limit, much, window};
  const auto reply = co_await redis_.script(reserve_script, keys, arguments);
  if (!reply || reply->elements.size() != 3) co_return counters_.reserve(key, policy.quota, wanted, now);
  Grant grant;
  grant.granted = static_cast<std::uint32_t>(reply->elements[0].integer);
  grant.rest = static_cast<std::uint32_t>(reply->elements[1].integer);
  grant.left = std::chrono::milliseconds(reply->elements[2].integer);
  co_return grant;
}

}  // namespace cairn::api
