#include "redis/keys.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace cairn::redis {
namespace {

const Uuid user = *Uuid::parse("0190a7d2-5b6c-7def-8123-456789abcdef");
const Uuid other = *Uuid::parse("0190a7d2-0000-7000-8000-000000000001");
const std::string digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

TEST(Keys, AreSpelledAsSpecified) {
  EXPECT_EQ(keys::user_session(user), "session:user:0190a7d2-5b6c-7def-8123-456789abcdef");
  EXPECT_EQ(keys::rate_limit("203.0.113.7", "POST.session.create"), "rate_limit:203.0.113.7:POST.session.create");
  EXPECT_EQ(keys::api_cache("GET.project.list", digest), "api_cache:GET.project.list:" + digest);
  EXPECT_EQ(keys::user_permissions(user, other),
            "permissions:user:0190a7d2-5b6c-7def-8123-456789abcdef:org:0190a7d2-0000-7000-8000-000000000001");
  EXPECT_EQ(keys::project_stats(other), "stats:project:0190a7d2-0000-7000-8000-000000000001");
  EXPECT_EQ(keys::org_member_count(other), "count:org:0190a7d2-0000-7000-8000-000000000001:members");
  EXPECT_EQ(keys::task_counts(other), "counts:project:0190a7d2-0000-7000-8000-000000000001:tasks");
  EXPECT_EQ(keys::email_verification(digest), "verify:email:" + digest);
  EXPECT_EQ(keys::password_reset(digest), "reset:password:" + digest);
}

TEST(Keys, LiveAsLongAsSpecified) {
  EXPECT_EQ(ttl::session.count(), 86400);
  EXPECT_EQ(ttl::api_cache.count(), 300);
  EXPECT_EQ(ttl::permissions.count(), 1800);
  EXPECT_EQ(ttl::stats.count(), 600);
  EXPECT_EQ(ttl::counts.count(), 300);
  EXPECT_EQ(ttl::email_verification.count(), 3600);
  EXPECT_EQ(ttl::password_reset.count(), 1800);
  EXPECT_EQ(ttl::rate_limit.count(), 60);
}

TEST(RateLimitKey, CountsIpv6ByItsSubscriber) {
  EXPECT_EQ(keys::rate_limit("2001:db8:0:17::1", "e"), "rate_limit:2001-db8-0-17:e");
  EXPECT_EQ(keys::rate_limit("2001:db8:0:17:ffff:ffff:ffff:ffff", "e"), keys::rate_limit("2001:db8:0:17::1", "e"));
  EXPECT_NE(keys::rate_limit("2001:db8:0:18::1", "e"), keys::rate_limit("2001:db8:0:17::1", "e"));
  EXPECT_EQ(keys::rate_limit("::1", "e"), "rate_limit:0-0-0-0:e");
}

TEST(RateLimitKey, CountsIpv4ByItsAddressHoweverItIsWritten) {
  EXPECT_EQ(keys::rate_limit("::ffff:203.0.113.7", "e"), keys::rate_limit("203.0.113.7", "e"));
  EXPECT_NE(keys::rate_limit("203.0.113.8", "e"), keys::rate_limit("203.0.113.7", "e"));
}

TEST(RateLimitKey, OfAnAccountOrATokenCannotBeAnAddress) {
  EXPECT_EQ(keys::rate_limit_account("9f86d081", "e"), "rate_limit:acct-9f86d081:e");
  EXPECT_EQ(keys::rate_limit_token("9f86d081", "e"), "rate_limit:tok-9f86d081:e");
}

TEST(Keys, RefusePartsThatReachIntoOtherKeys) {
  for (const char* part : {"", "a:b", "a*", "a?", "[a]", "a\r\nb", "a b", "a/b", "\xc3\xa4"}) {
    EXPECT_THROW(keys::rate_limit("203.0.113.7", part), std::invalid_argument) << part;
    EXPECT_THROW(keys::rate_limit_account(part, "e"), std::invalid_argument) << part;
    EXPECT_THROW(keys::api_cache(part, digest), std::invalid_argument) << part;
  }
  for (const char* ip : {"", "localhost", "203.0.113.7:80", "203.0.113", "*"}) {
    EXPECT_THROW(keys::rate_limit(ip, "e"), std::invalid_argument) << ip;
  }
}

TEST(Keys, TakeNoTokenInPlaceOfItsDigest) {
  auto upper = digest;
  upper[1] = 'F';
  for (const auto& text : {std::string("token"), upper, digest.substr(1), digest + "0"}) {
    EXPECT_THROW(keys::email_verification(text), std::invalid_argument) << text;
    EXPECT_THROW(keys::password_reset(text), std::invalid_argument) << text;
    EXPECT_THROW(keys::api_cache("e", text), std::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace cairn::redis
