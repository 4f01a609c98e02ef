#pragma once
// How often one may call. Redis counts for all nodes under rate_limit:{ip}:{endpoint}, in windows of a minute that
// begin with the first request. A core reserves a block of the count and spends it without asking, so a request costs
// one look into a table: never is more granted than the limit, and at most one block per core goes unused. While Redis
// is away, the cores of a node count among themselves.
#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/async.hpp"
#include "base/config.hpp"
#include "redis/connection.hpp"

namespace cairn::api {

struct Call;
struct Endpoint;

// The class of an operation, with one limit in the configuration.
enum class Rate { automatic, read, write, login, mail, registration, token };  // automatic: read for GET, else write

struct Policy {
  Policy() = default;
  Policy(std::string_view name, unsigned quota);

  std::string_view name;
  std::uint32_t quota = 0;  // a minute; 0: no limit
  std::uint32_t block = 1;  // what a core reserves at most: a twentieth, so that small limits are exact
  std::string header;       // of RateLimit-Policy
};

class Policies {
 public:
  explicit Policies(const Config::Limits& limits);

  // Requests for nothing that exists count as reads.
  const Policy& of(const Endpoint* endpoint) const;
  const Policy& of(Rate rate) const { return by_rate_[static_cast<std::size_t>(rate)]; }

  const Policy account, failures;

 private:
  std::array<Policy, 7> by_rate_;
};

// What is left after a request was counted.
struct Allowance {
  const Policy* policy = nullptr;  // none: nothing was counted
  std::uint32_t left = 0;
  std::uint32_t seconds = 0;  // until the window ends
};

namespace limits {

using Clock = std::chrono::steady_clock;
inline constexpr std::chrono::seconds window{60};

// Whom and what is counted, hashed with a secret of the process, so that nobody can aim at a place in the table.
struct Key {
  std::uint64_t a = 0, b = 0;
  bool operator==(const Key&) const = default;
};

struct Bucket {
  Key key;
  Clock::time_point ends{};    // of the window; when it is over, nothing here counts any more
  std::uint32_t reserved = 0;  // by this core, and not spent
  std::uint32_t rest = 0;      // what nobody had reserved when this core last asked
  std::uint32_t block = 0;     // what this core last asked for
  bool asking = false;
  bool proven = false;  // of a token: it was valid when last used
};

// As many buckets as there is room for: a new one takes the place of that in its set whose window ends first.
class Buckets {
 public:
  // Until the next call.
  Bucket& at(const Key& key);

  static constexpr std::size_t ways = 4, sets = 8192;

 private:
  std::vector<Bucket> all_;
};

struct Grant {
  std::uint32_t granted = 0, rest = 0;
  std::chrono::milliseconds left{};  // of the window
};

// What stands in for Redis: the same windows, for the cores of one node. Any thread.
class Counters {
 public:
  Grant reserve(const Key& key, std::uint32_t limit, std::uint32_t wanted, Clock::time_point now);

 private:
  std::mutex mutex_;
  Buckets buckets_;  // `reserved` is what was granted
};

}  // namespace limits

// One core's.
class Limiter {
 public:
  Limiter(const Policies& policies, redis::Client& redis, limits::Counters& counters)
      : policies_(policies), redis_(redis), counters_(counters) {}

  enum class Outcome { granted, refused, ask };
  // Counts a request: by its token where one is needed, else by address. `ask`: this core cannot tell yet.
  Outcome spend(Call& call);
  // As `spend`, when it could not tell. A token that this core has not seen to be valid counts as a failure of its
  // address until it is.
  async<Outcome> ask(Call& call);
  // Says how the request ended.
  void settle(const Call& call);

  // Counts a login to an account, or a mail for it, whatever address asks. Nobody is locked out: beyond the limit each
  // attempt uses up half of what its address has. Throws Problem (rate_limited) when that is spent.
  async<> account(Call& call, std::string_view email);

 private:
  // Asks as often as it must.
  async<Outcome> take(const Policy& policy, limits::Key key, std::string name, std::uint32_t units,
                      Allowance& allowance);
  async<limits::Grant> reserve(const Policy& policy, const limits::Key& key, std::string_view name,
                               std::uint32_t wanted, limits::Clock::time_point now);

  const Policies& policies_;
  redis::Client& redis_;
  limits::Counters& counters_;
  limits::Buckets buckets_;
};

}  // namespace cairn::api
