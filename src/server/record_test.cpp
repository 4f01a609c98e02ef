// Every committed change is on the record exactly once, and no secret is anywhere beside it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <chrono>
#include <map>

#include "session/session.hpp"
#include "support/record.hpp"
#include "support/redis.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using support::Stack;
using support::text_of;
using support::World;

// Every endpoint succeeded once, and then some.
class AfterAMixedWorkload : public testing::Test {
 protected:
  AfterAMixedWorkload() {
    support::redis({"FLUSHALL"});
    World world(stack, "a");
    tokens.push_back(world.as(api::Access::owner).token);
    for (const auto& endpoint : stack.server().api().endpoints()) {
      const auto reply = world.call(*endpoint, world.as(endpoint->spec.allow));
      EXPECT_LT(reply.status, 300u) << endpoint->spec.id << reply.body;
      const bool json = reply.header("content-type") == "application/json" && reply.body.starts_with('{');
      const auto body = json ? reply.json() : bj::value(bj::object());
      for (const auto* member : {"token", "refresh_token"})
        if (const auto* token = body.as_object().if_contains(member); token && token->is_string())
          tokens.push_back(text_of(body, member));
      // Refused, and repeated without an effect: neither is a change.
      world.call(*endpoint, world.as(api::Access::member));
      world.call(*endpoint, world.as(endpoint->spec.allow));
      world.renew();
      tokens.push_back(world.as(api::Access::owner).token);
    }
    stack.client().post("/sessions", R"({"email":"a.owner@example.org","password":"my secret typed wrongly"})");
    const auto in_browser = stack.client().send(
        "POST", "/sessions",
        fmt::format(R"({{"email":"a.owner@example.org","password":"{}","cookie":true}})", Stack::password),
        {"Origin: http://localhost"});
    const auto cookie = in_browser.header("set-cookie");
    tokens.push_back(cookie.substr(cookie.find('=') + 1, tokens.front().size()));
    stack.client().post("/sessions", R"({"email":"my-secret-as-an-address@example.org","password":"x"})");
  }

  const std::vector<std::string> tables{"users",    "user_profiles",   "organizations", "user_organizations",
                                        "projects", "project_members", "tasks",         "invitations"};
  Stack stack;
  std::vector<std::string> tokens;
  support::Database database = stack.database();
};

TEST_F(AfterAMixedWorkload, EveryVersionOfEveryRowHasOneEntryWithAnActor) {
  for (const auto& table : tables) EXPECT_NE(database.value("select count(*) from " + table), "0") << table;
  EXPECT_EQ(support::record_problems(database), std::vector<std::string>{});
  EXPECT_NE(database.value("select count(*) from audit_logs where action = 'delete'"), "0");
  EXPECT_EQ(database.value("select count(*) from audit_logs where user_id is null and metadata->>'actor' is null"),
            "0");
  EXPECT_EQ(database.value("select count(*) from audit_logs where metadata->>'request_id' is null"), "0");
  EXPECT_EQ(database.value("select count(*) from audit_logs where ip_address is null"), "0");
}

TEST_F(AfterAMixedWorkload, TheRecordReplayedIsWhatIsThere) {
  for (const auto& table : tables) {
    std::map<std::string, bj::object> replayed, there;
    for (const auto& row :
         database.rows(fmt::format("select entity_id, action, new_values from audit_logs where entity_type = '{}' and "
                                   "coalesce(new_values, old_values) is not null order by seq",
                                   table))) {
      if (row[1] == "delete") {
        EXPECT_EQ(replayed.erase(row[0]), 1u) << row[0];
        continue;
      }
      auto& object = replayed[row[0]];
      EXPECT_EQ(row[1] == "create", object.empty()) << row[1];
      const auto changes = bj::parse(row[2]);
      for (const auto& member : changes.as_object()) object[member.key()] = member.value();
    }
    for (const auto& row : database.rows(fmt::format("select id, to_jsonb(t) - 'password_hash' from {} t", table)))
      there[row[0]] = bj::parse(row[1]).as_object();
    for (auto* side : {&replayed, &there})
      for (auto& [id, object] : *side) {
        object.erase("updated_at");
        object.erase("password_hash");  // the record only has that it changed
      }
    EXPECT_EQ(replayed, there) << table;
    EXPECT_FALSE(there.empty()) << table;
  }
}

TEST_F(AfterAMixedWorkload, TheRecordHoldsNoSecret) {
  std::string record;
  for (const auto& row : database.rows("select a::text from audit_logs a")) record += row[0] + "\n";
  std::vector<std::string> secrets{
      "argon2",  std::string(Stack::password), "typed wrongly", "my-secret-as-an-address", "cairn_s_", "cairn_r_",
      "cairn_t_"};
  for (const auto& token : tokens) {
    const auto parsed = session::Token::parse(token);
    ASSERT_TRUE(parsed);
    secrets.push_back(token.substr(8));
    secrets.push_back(hex(parsed->hash));
    secrets.push_back(database.value("select encode('\\x" + hex(parsed->hash) + "', 'base64')"));
  }
  for (const auto& hash : database.rows("select password_hash from users")) secrets.push_back(hash[0]);
  EXPECT_GT(secrets.size(), 20u);
  for (const auto& secret : secrets) EXPECT_EQ(record.find(secret), std::string::npos) << secret;
}

TEST_F(AfterAMixedWorkload, RedisHoldsOnlyTheSpecifiedKeysForAsLongAsSpecified) {
  const auto keys = support::redis({"KEYS", "*"});
  EXPECT_FALSE(keys.empty());
  EXPECT_EQ(support::redis_key_problems(), std::vector<std::string>{});
  for (const auto& key : keys)
    for (const auto& token : tokens) EXPECT_EQ(key.find(token), std::string::npos);
}

}  // namespace
}  // namespace cairn
