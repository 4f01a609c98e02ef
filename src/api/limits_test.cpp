#include "api/limits.hpp"

#include <gtest/gtest.h>

#include "api/endpoint.hpp"

namespace cairn::api {
namespace {

using limits::Buckets;
using limits::Clock;
using limits::Counters;
using limits::Key;
using namespace std::chrono_literals;

const auto start = Clock::time_point{} + 1h;

TEST(Counting, GrantsNeverMoreThanTheLimitInAWindow) {
  Counters counters;
  const Key key{1, 2};
  EXPECT_EQ(counters.reserve(key, 10, 4, start).granted, 4u);
  const auto second = counters.reserve(key, 10, 4, start + 20s);
  EXPECT_EQ(second.granted, 4u);
  EXPECT_EQ(second.rest, 2u);
  EXPECT_EQ(second.left, 40s);
  EXPECT_EQ(counters.reserve(key, 10, 4, start + 59s).granted, 2u);
  EXPECT_EQ(counters.reserve(key, 10, 4, start + 59s).granted, 0u);
  EXPECT_EQ(counters.reserve(key, 10, 4, start + 60s).granted, 4u);
}

TEST(Counting, KeepsKeysApart) {
  Counters counters;
  EXPECT_EQ(counters.reserve(Key{1, 2}, 1, 1, start).granted, 1u);
  EXPECT_EQ(counters.reserve(Key{1, 3}, 1, 1, start).granted, 1u);
  EXPECT_EQ(counters.reserve(Key{1 + Buckets::sets, 2}, 1, 1, start).granted, 1u);
  EXPECT_EQ(counters.reserve(Key{1, 2}, 1, 1, start).granted, 0u);
}

TEST(Counting, SurvivesALimitThatShrinks) {
  Counters counters;
  counters.reserve(Key{1, 2}, 10, 8, start);
  const auto grant = counters.reserve(Key{1, 2}, 5, 1, start);
  EXPECT_EQ(grant.granted, 0u);
  EXPECT_EQ(grant.rest, 0u);
}

TEST(TheTable, MakesRoomForANewKeyByWhatEndsFirst) {
  Buckets buckets;
  for (std::uint64_t i = 0; i < Buckets::ways; ++i) buckets.at(Key{7, i}).ends = i == 2 ? start + 1s : start + 9s;
  buckets.at(Key{7, 99}).ends = start + 60s;
  for (const std::uint64_t i : {0U, 1U, 3U}) EXPECT_EQ(buckets.at(Key{7, i}).ends, start + 9s);
  EXPECT_EQ(buckets.at(Key{7, 99}).ends, start + 60s);
  EXPECT_EQ(buckets.at(Key{7, 2}).ends, Clock::time_point{});
}

TEST(Policies, AreChosenByMethodUnlessTheOperationSays) {
  const Policies policies{Config::Limits{}};
  Endpoint endpoint;
  EXPECT_EQ(policies.of(nullptr).name, "read");
  EXPECT_EQ(policies.of(&endpoint).name, "read");
  endpoint.method = http::Method::del;
  EXPECT_EQ(policies.of(&endpoint).name, "write");
  endpoint.spec.rate = Rate::registration;
  EXPECT_EQ(policies.of(&endpoint).name, "register");
}

TEST(Policies, ReserveATwentiethButNeverManyAndSmallLimitsOneByOne) {
  EXPECT_EQ(Policy("login", 20).block, 1u);
  EXPECT_EQ(Policy("login", 5).block, 1u);
  EXPECT_EQ(Policy("write", 1200).block, 60u);
  EXPECT_EQ(Policy("read", 1'000'000).block, 100u);
  EXPECT_EQ(Policy("read", 3000).header, R"("read";q=3000;w=60)");
}

}  // namespace
}  // namespace cairn::api
