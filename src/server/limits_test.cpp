// How often one may call, over real HTTP and counted in a real Redis.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "support/world.hpp"

namespace cairn {
namespace {

using support::Client;
using support::Reply;
using support::Stack;
using support::text_of;

std::string credentials(std::string_view name, std::string_view password = Stack::password) {
  return fmt::format(R"({{"email":"{}","password":"{}"}})", Stack::email(name), password);
}

struct Quota {
  std::string policy;
  unsigned left = 0, seconds = 0;
};
// What a reply says of its limit.
Quota quota(const Reply& reply) {
  const auto text = reply.header("ratelimit");
  Quota quota;
  const auto number = [&](std::string_view name) {
    unsigned value = 0;
    const auto at = text.find(name);
    EXPECT_NE(at, std::string::npos) << text;
    if (at != std::string::npos) std::from_chars(text.data() + at + name.size(), text.data() + text.size(), value);
    return value;
  };
  quota.policy = text.substr(0, text.find(';'));
  quota.left = number(";r=");
  quota.seconds = number(";t=");
  return quota;
}

std::vector<std::string> keys(const std::string& pattern) { return support::redis({"KEYS", pattern}); }
int ttl(const std::string& key) { return std::stoi(support::redis({"TTL", key}).at(0)); }

class Limits : public testing::Test {
 protected:
  Limits() { support::redis({"FLUSHALL"}); }
};

TEST_F(Limits, AreToldWithEveryReply) {
  const Stack stack([](Config& config) { config.limits.read = 50; });
  const auto ada = stack.person("ada");
  const auto first = ada->get("/me");
  EXPECT_EQ(first.header("ratelimit-policy"), R"("read";q=50;w=60)");
  EXPECT_EQ(quota(first).policy, R"("read")");
  EXPECT_EQ(quota(first).left, 49u);
  EXPECT_GE(quota(first).seconds, 1u);
  EXPECT_LE(quota(first).seconds, 60u);
  EXPECT_EQ(quota(ada->get("/me")).left, 48u);
  // Each operation has its own.
  EXPECT_EQ(quota(ada->get("/organizations")).left, 49u);
  EXPECT_EQ(quota(ada->post("/organizations", "{}")).policy, R"("write")");
  EXPECT_EQ(quota(stack.client().get("/me")).left, 49u);
  EXPECT_EQ(quota(stack.client().get("/nothing")).policy, R"("read")");
  EXPECT_EQ(quota(stack.client().post("/sessions", credentials("ada"))).policy, R"("login")");
}

TEST_F(Limits, RefuseWithAProblemThatSaysWhenToComeBack) {
  const Stack stack([](Config& config) { config.limits.write = 3; });
  const auto ada = stack.person("ada");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ada->patch("/me", "{}").status, 200u);
  const auto before = stack.database().digest();
  const auto refused = ada->patch("/me", R"({"first_name":"Eve"})");
  EXPECT_EQ(refused.status, 429u);
  EXPECT_EQ(text_of(refused, "code"), "rate_limited");
  EXPECT_EQ(refused.header("retry-after"), std::to_string(quota(refused).seconds));
  EXPECT_EQ(quota(refused).left, 0u);
  EXPECT_EQ(stack.database().digest(), before);
  EXPECT_EQ(ada->get("/me").status, 200u);
}

TEST_F(Limits, OfZeroAreNone) {
  const Stack stack([](Config& config) { config.limits.read = config.limits.login = config.limits.failures = 0; });
  const auto ada = stack.person("ada");
  const auto reply = ada->get("/me");
  EXPECT_EQ(reply.status, 200u);
  EXPECT_EQ(reply.header("ratelimit"), "");
  EXPECT_EQ(stack.client().post("/sessions", credentials("ada")).header("ratelimit-policy"), "");
}

TEST_F(Limits, CountEachSessionForItselfThoughAllComeFromOneAddress) {
  const Stack stack([](Config& config) { config.limits.read = 5; });
  const auto ada = stack.person("ada"), bob = stack.person("bob");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ada->get("/me").status, 200u);
  EXPECT_EQ(ada->get("/me").status, 429u);
  EXPECT_EQ(bob->get("/me").status, 200u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(stack.client().get("/me").status, 401u);
  EXPECT_EQ(stack.client().get("/me").status, 429u);
  EXPECT_EQ(bob->get("/me").status, 200u);
}

TEST_F(Limits, AreOnRedisWithAnEndAndWithoutASecret) {
  const Stack stack;
  const auto ada = stack.person("ada");
  ada->get("/me");
  const auto all = keys("rate_limit:*");
  EXPECT_EQ(keys("rate_limit:127.0.0.1:session.create").size(), 1u);
  EXPECT_EQ(keys("rate_limit:127.0.0.1:authentication").size(), 1u);
  EXPECT_EQ(keys("rate_limit:tok-*:account.show").size(), 1u);
  EXPECT_EQ(keys("rate_limit:acct-*:session.create").size(), 1u);
  for (const auto& key : all) {
    EXPECT_GT(ttl(key), 0) << key;
    EXPECT_LE(ttl(key), 60) << key;
    EXPECT_EQ(key.find("ada"), std::string::npos) << key;
    EXPECT_EQ(key.find(ada->token.substr(8, 16)), std::string::npos) << key;
  }
}

TEST_F(Limits, GiveAKeyThatLostItsEndANewOne) {
  const Stack stack([](Config& config) { config.limits.login = 10; });
  const std::string key = "rate_limit:127.0.0.1:session.create";
  support::redis({"SET", key, "8"});
  ASSERT_EQ(ttl(key), -1);
  auto client = stack.client();
  EXPECT_EQ(client.post("/sessions", credentials("ada")).status, 401u);
  EXPECT_GT(ttl(key), 0);
  EXPECT_EQ(client.post("/sessions", credentials("ada")).status, 401u);
  EXPECT_EQ(client.post("/sessions", credentials("ada")).status, 429u);
  // Spent and without an end: that one too.
  support::redis({"PERSIST", key});
  EXPECT_EQ(stack.beside([](Config& config) { config.limits.login = 10; })
                ->client()
                .post("/sessions", credentials("ada"))
                .status,
            429u);
  EXPECT_GT(ttl(key), 0);
}

TEST_F(Limits, AreCountedAgainWhenRedisHoldsNonsense) {
  const Stack stack([](Config& config) { config.limits.login = 2; });
  support::redis({"SET", "rate_limit:127.0.0.1:session.create", "nonsense", "EX", "60"});
  auto client = stack.client();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(client.post("/sessions", credentials("ada")).status, 401u);
  EXPECT_EQ(client.post("/sessions", credentials("ada")).status, 429u);
}

// Many clients of several servers at once; how many requests were granted.
unsigned hammer(const std::vector<const Stack*>& stacks, unsigned clients, unsigned requests,
                const std::function<Reply(Client&)>& request) {
  std::atomic<unsigned> granted{0}, others{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < clients; ++i)
    threads.emplace_back([&, i] {
      auto client = stacks[i % stacks.size()]->client();
      for (unsigned n = 0; n < requests; ++n) {
        const auto reply = request(client);
        if (reply.status == 429) continue;
        ++granted;
        if (reply.status >= 500) ++others;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(others, 0u);
  return granted;
}

TEST_F(Limits, ThatAreSmallHoldExactlyAcrossServers) {
  const auto small = [](Config& config) { config.limits.login = 25; };
  const Stack one(small);
  const auto two = one.beside(small);
  const auto wrong = [](Client& client) { return client.post("/sessions", credentials("nobody")); };
  EXPECT_EQ(hammer({&one, two.get()}, 8, 10, wrong), 25u);
}

TEST_F(Limits, ThatAreLargeAreNeverExceededAcrossServersAndWasteAtMostABlockPerCore) {
  const auto large = [](Config& config) { config.limits.read = 200; };
  const Stack one(large);
  const auto two = one.beside(large);
  const auto token = one.person("ada")->token;
  const auto read = [&](Client& client) {
    client.token = token;
    return client.get("/me");
  };
  const auto granted = hammer({&one, two.get()}, 12, 40, read);
  EXPECT_LE(granted, 200u);
  EXPECT_GE(granted, 200u - 4 * 10u);
}

TEST_F(Limits, ReserveNoMoreThanIsUsedSoThatAServerMayBeRestartedOften) {
  const Stack stack;
  const auto ada = stack.person("ada");
  for (unsigned long used = 1; used <= 300; ++used) {
    EXPECT_EQ(ada->patch("/me", "{}").status, 200u);
    const auto reserved = std::stoul(support::redis({"GET", keys("rate_limit:tok-*:account.edit").at(0)}).at(0));
    EXPECT_GE(reserved, used);
    EXPECT_LE(reserved, std::min(2 * used, used + 99));
  }
}

TEST_F(Limits, HoldOnEachNodeWhileRedisIsSilent) {
  const auto small = [](Config& config) {
    config.limits.login = 10;
    config.limits.read = 100;
  };
  const Stack one(small);
  const auto two = one.beside(small);
  const auto ada = one.person("ada");
  support::redis({"FLUSHALL"});
  const auto wrong = [](Client& client) { return client.post("/sessions", credentials("nobody")); };
  {
    const support::FrozenRedis frozen;
    // One has used up one login of its own.
    const auto here = hammer({&one}, 4, 5, wrong);
    EXPECT_LE(here, 10u);
    EXPECT_GE(here, 9u);
    EXPECT_EQ(hammer({two.get()}, 4, 5, wrong), 10u);
    EXPECT_EQ(ada->get("/me").status, 200u);
    EXPECT_LE(hammer({&one}, 2, 80,
                     [&](Client& client) {
                       client.token = ada->token;
                       return client.get("/me");
                     }),
              100u);
  }
  while (one.client().get("//readyz").body.find("degraded") != std::string::npos) std::this_thread::yield();
  EXPECT_EQ(one.client().get("/nothing").status, 404u);
}

TEST_F(Limits, CountTokensThatAreNotValidByAddress) {
  const Stack stack([](Config& config) { config.limits.failures = 10; });
  const auto ada = stack.person("ada");
  // Known on every core before the attack begins.
  for (int i = 0; i < 30; ++i) EXPECT_EQ(stack.with_token(ada->token)->get("/me").status, 200u);
  unsigned turned_away = 0;
  for (int i = 0; i < 30; ++i) {
    auto guess = fmt::format("cairn_s_{:A>64}", i);
    const auto reply = stack.with_token(guess)->get("/me");
    if (reply.status != 429) {
      EXPECT_EQ(reply.status, 401u);
      continue;
    }
    ++turned_away;
    EXPECT_EQ(quota(reply).policy, R"("authentication")");
  }
  EXPECT_EQ(turned_away, 20u);
  // Who is known goes on.
  for (int i = 0; i < 10; ++i) EXPECT_EQ(stack.with_token(ada->token)->get("/me").status, 200u);
}

TEST_F(Limits, ForgiveTokensThatTurnOutToBeValid) {
  const Stack stack([](Config& config) { config.limits.failures = 3; });
  for (const auto* name : {"ada", "bob", "cyd", "dee", "eve"}) {
    const auto person = stack.person(name);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(stack.with_token(person->token)->get("/me").status, 200u);
  }
}

TEST_F(Limits, DoNotLetATokenBuyMoreLogins) {
  const Stack stack([](Config& config) { config.limits.login = 3; });
  unsigned tried = 0;
  for (int i = 0; i < 6; ++i)
    tried +=
        stack.with_token(fmt::format("cairn_s_{:A>64}", i))->post("/sessions", credentials("nobody")).status == 401;
  EXPECT_EQ(tried, 3u);
}

// Everybody but the server believes to be a proxy.
class BehindAProxy : public Limits {
 protected:
  static Reply from(const Stack& stack, std::string_view address, std::string_view path, std::string_view body) {
    return stack.client().send("POST", path, body, {fmt::format("X-Forwarded-For: {}", address)});
  }
};

TEST_F(BehindAProxy, ClientsAreCountedByTheirOwnAddressAndIpv6BySubscriber) {
  const Stack stack([](Config& config) {
    config.server.trusted_proxies = {"127.0.0.0/8"};
    config.limits.login = 2;
  });
  const auto login = [&](std::string_view address) {
    return from(stack, address, "/sessions", credentials("nobody")).status;
  };
  EXPECT_EQ(login("203.0.113.1"), 401u);
  EXPECT_EQ(login("198.51.100.66, 203.0.113.1"), 401u);
  EXPECT_EQ(login("203.0.113.1"), 429u);
  EXPECT_EQ(login("203.0.113.2"), 401u);
  EXPECT_EQ(login("2001:db8:0:17::1"), 401u);
  EXPECT_EQ(login("2001:db8:0:17:ffff::2"), 401u);
  EXPECT_EQ(login("2001:db8:0:17::3"), 429u);
  EXPECT_EQ(login("2001:db8:0:18::1"), 401u);
  EXPECT_EQ(keys("rate_limit:2001-db8-0-17:session.create").size(), 1u);
}

TEST_F(BehindAProxy, TheRecordHasTheClientsAddress) {
  const Stack stack([](Config& config) { config.server.trusted_proxies = {"127.0.0.1"}; });
  from(stack, "203.0.113.9", "/sessions", credentials("nobody"));
  EXPECT_EQ(stack.database().value("select ip_address from audit_logs"), "203.0.113.9");
}

TEST_F(BehindAProxy, NobodyIsBelievedWithoutBeingTrusted) {
  const Stack stack([](Config& config) { config.limits.login = 2; });
  EXPECT_EQ(from(stack, "203.0.113.1", "/sessions", credentials("nobody")).status, 401u);
  EXPECT_EQ(from(stack, "203.0.113.2", "/sessions", credentials("nobody")).status, 401u);
  EXPECT_EQ(from(stack, "203.0.113.3", "/sessions", credentials("nobody")).status, 429u);
  EXPECT_EQ(stack.database().value("select string_agg(distinct host(ip_address), ' ') from audit_logs"), "127.0.0.1");
  // Nor does anybody get the numbers of this machine through a proxy that was not declared.
  EXPECT_EQ(stack.client().get("//metrics").status, 200u);
  EXPECT_EQ(stack.client().get("//metrics", {"X-Forwarded-For: 203.0.113.1"}).status, 404u);
}

TEST_F(BehindAProxy, AnAccountThatManyAttackMakesTheirAttemptsDearerButStaysOpen) {
  const Stack stack([](Config& config) {
    config.server.trusted_proxies = {"127.0.0.1"};
    config.limits.login = 8;
    config.limits.account = 20;
  });
  stack.person("ada");
  const auto attempts = [&](std::string_view address) {
    unsigned count = 0;
    for (int i = 0; i < 10; ++i)
      count += from(stack, address, "/sessions", credentials("ada", "a wrong password here")).status == 401;
    return count;
  };
  EXPECT_EQ(attempts("203.0.113.1"), 8u);
  EXPECT_EQ(attempts("203.0.113.2"), 8u);
  // The twenty are used up now, one of them by the owner above.
  EXPECT_EQ(attempts("203.0.113.3"), 3u + 1u);
  EXPECT_EQ(attempts("203.0.113.4"), 2u);
  // The owner gets in from where nobody attacks, whatever the case of the letters.
  EXPECT_EQ(from(stack, "203.0.113.5", "/sessions", credentials("ADA")).status, 201u);
  // Who is attacked has no part in it.
  EXPECT_EQ(from(stack, "203.0.113.4", "/sessions", credentials("bob")).status, 429u);
  EXPECT_EQ(from(stack, "203.0.113.6", "/sessions", credentials("bob")).status, 401u);
}

}  // namespace
}  // namespace cairn
