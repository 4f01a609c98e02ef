// Sessions, refresh tokens and API tokens over real HTTP, on two servers that share PostgreSQL and Redis.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <latch>
#include <map>
#include <set>
#include <thread>

#include "session/api_token.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using support::Client;
using support::Reply;
using support::Stack;
using support::text_of;
using support::World;

std::string code(const Reply& reply) { return text_of(reply, "code"); }
std::string me(Client& client) { return text_of(client.get("/me"), "id"); }

class TwoServers : public testing::Test {
 protected:
  TwoServers() { support::redis({"FLUSHALL"}); }

  // One more device of somebody's.
  std::unique_ptr<Client> log_in(std::string_view name) const {
    return stack.with_token(text_of(login(name), "token"));
  }
  Reply login(std::string_view name) const {
    auto client = stack.client();
    return client.post("/sessions",
                       fmt::format(R"({{"email":"{}","password":"{}"}})", Stack::email(name), Stack::password));
  }
  Reply refresh(const std::string& token, const Stack& at) const {
    return at.client().post("/sessions/refresh", fmt::format(R"({{"refresh_token":"{}"}})", token));
  }
  Reply refresh(const std::string& token) const { return refresh(token, stack); }
  // Whether a token is taken, which both servers must agree on.
  bool valid(const std::string& token) const {
    const auto here = stack.with_token(token)->get("/organizations").status;
    EXPECT_EQ(other->with_token(token)->get("/organizations").status, here);
    EXPECT_TRUE(here == 200 || here == 401) << here;
    return here == 200;
  }
  std::string ends(std::string_view reason) {
    return database.value(
        fmt::format("select count(*) from audit_logs where action = 'logout' and metadata->>'reason' = '{}'", reason));
  }
  std::string live_heads() {
    return database.value("select count(*) from refresh_tokens where not revoked and expires_at > now()");
  }
  // The ten seconds in which a refresh may be repeated are over.
  void later() {
    database.run("update app.refresh_token_lineage set used_at = used_at - interval '11 seconds'");
    database.run("update app.sessions set expires_at = now() where expires_at <= now() + interval '11 seconds'");
  }

  Stack stack;
  std::unique_ptr<Stack> other = stack.beside();
  support::Database database = stack.database();
};

using SessionsOnTwoServers = TwoServers;
using RefreshTokens = TwoServers;

// -- sessions

TEST_F(SessionsOnTwoServers, AreListedByDevice) {
  const auto ada = stack.person("ada");
  const auto bob = stack.person("bob");
  const auto phone = log_in("ada");
  database.run(
      "update app.devices set created_at = created_at - interval '1 minute', user_agent = 'Browser' where id = "
      "(select session_id from app.live_sessions order by expires_at limit 1)");
  const auto seen = phone->all("/me/sessions");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(text_of(seen[0], "current"), "true");
  EXPECT_EQ(text_of(seen[1], "current"), "false");
  EXPECT_EQ(text_of(seen[0], "ip_address"), "127.0.0.1");
  EXPECT_EQ(text_of(seen[1], "user_agent"), "Browser");
  for (const auto& session : seen) EXPECT_NE(text_of(session, "last_seen"), "null");
  support::redis({"FLUSHALL"});
  for (const auto& session : ada->all("/me/sessions")) {
    if (text_of(session, "current") == "false") { EXPECT_EQ(text_of(session, "last_seen"), "null"); }
  }
  EXPECT_EQ(bob->all("/me/sessions").size(), 1u);
}

TEST_F(SessionsOnTwoServers, EndOneByOneOnEveryServerAtOnce) {
  const auto ada = stack.person("ada");
  const auto phone = log_in("ada"), tablet = log_in("ada");
  const auto bob = stack.person("bob");
  for (auto* client : {ada.get(), phone.get(), tablet.get()}) EXPECT_TRUE(valid(client->token));
  std::string id;
  for (const auto& session : phone->all("/me/sessions"))
    if (text_of(session, "current") == "true") id = text_of(session, "id");
  EXPECT_EQ(bob->del("/me/sessions/" + id).status, 404u);
  EXPECT_TRUE(valid(phone->token));
  EXPECT_EQ(ada->del("/me/sessions/" + id).status, 204u);
  EXPECT_FALSE(valid(phone->token));
  EXPECT_EQ(ada->del("/me/sessions/" + id).status, 404u);
  EXPECT_TRUE(valid(tablet->token));
  EXPECT_EQ(ends("revoked"), "1");
  EXPECT_EQ(database.value("select user_id = (select id from users where email = 'ada@example.org') from audit_logs "
                           "where entity_type = 'sessions' and entity_id = '" +
                           id + "'"),
            "t");
}

TEST_F(SessionsOnTwoServers, EndEverywhereElse) {
  const auto ada = stack.person("ada");
  const auto phone = log_in("ada"), tablet = log_in("ada");
  const auto bob = stack.person("bob");
  EXPECT_EQ(other->with_token(phone->token)->del("/me/sessions").status, 204u);
  EXPECT_TRUE(valid(phone->token));
  EXPECT_TRUE(valid(bob->token));
  EXPECT_FALSE(valid(ada->token));
  EXPECT_FALSE(valid(tablet->token));
  EXPECT_EQ(ends("revoked"), "2");
  EXPECT_EQ(phone->del("/me/sessions").status, 204u);
  EXPECT_EQ(ends("revoked"), "2");
  EXPECT_EQ(live_heads(), "2");
}

TEST_F(SessionsOnTwoServers, ThatEndedAreNotRevivedByRedisWhateverHappensToIt) {
  const auto ada = stack.person("ada");
  const auto id = me(*ada);
  const auto key = "session:user:" + id;
  const auto end = [&](Client& client) { EXPECT_EQ(client.del("/session").status, 204u); };

  auto device = log_in("ada");
  EXPECT_TRUE(valid(device->token));
  const auto snapshot = support::redis({"DUMP", key}).at(0);
  end(*device);
  support::redis({"RESTORE", key, "86400000", snapshot, "REPLACE"});
  EXPECT_FALSE(valid(device->token)) << "after an older snapshot was restored";

  device = log_in("ada");
  EXPECT_TRUE(valid(device->token));
  end(*device);
  support::redis({"FLUSHALL"});
  EXPECT_FALSE(valid(device->token)) << "after Redis was emptied";

  device = log_in("ada");
  EXPECT_TRUE(valid(device->token));
  {
    const support::FrozenRedis frozen;
    end(*device);
    EXPECT_FALSE(valid(device->token)) << "while Redis is silent";
    EXPECT_TRUE(valid(ada->token)) << "while Redis is silent";
  }
  EXPECT_FALSE(valid(device->token)) << "when Redis is back";
  EXPECT_TRUE(valid(ada->token));
}

TEST_F(SessionsOnTwoServers, AreNotIdleBecauseRedisIsBehindTheTimes) {
  const auto ada = stack.person("ada");
  const auto key = "session:user:" + me(*ada);
  for (const auto& field : support::redis({"HKEYS", key})) support::redis({"HSET", key, field, "1000000000"});
  EXPECT_TRUE(valid(ada->token));
}

TEST_F(SessionsOnTwoServers, EndWithTheStatusAndThePasswordOnEveryServer) {
  for (const auto* change : {"status = 'inactive'", "status = 'suspended'", "password_hash = 'x'"}) {
    SCOPED_TRACE(change);
    const auto name = fmt::format("p{}", std::hash<std::string_view>{}(change));
    const auto person = stack.person(name);
    const auto reply = login(name);
    const auto token = text_of(person->post("/me/tokens", R"({"name":"x","scopes":["read"]})"), "token");
    for (const auto& one : {person->token, text_of(reply, "token"), token}) EXPECT_TRUE(valid(one));
    database.run(fmt::format("update users set {} where email = '{}'", change, Stack::email(name)));
    for (const auto& one : {person->token, text_of(reply, "token"), token}) EXPECT_FALSE(valid(one));
    EXPECT_EQ(code(refresh(text_of(reply, "refresh_token"))), "invalid_refresh_token");
    database.run(fmt::format("update users set status = 'active' where email = '{}'", Stack::email(name)));
    for (const auto& one : {person->token, text_of(reply, "token"), token}) EXPECT_FALSE(valid(one));
    EXPECT_EQ(code(refresh(text_of(reply, "refresh_token"))), "invalid_refresh_token");
    EXPECT_EQ(live_heads(), "0");
  }
}

// -- refresh tokens

TEST_F(RefreshTokens, GiveTheNextPair) {
  stack.person("ada");
  const auto first = login("ada");
  const auto second = refresh(text_of(first, "refresh_token"), *other);
  ASSERT_EQ(second.status, 200u) << second.body;
  EXPECT_TRUE(text_of(second, "refresh_token").starts_with("cairn_r_"));
  EXPECT_NE(text_of(second, "refresh_token"), text_of(first, "refresh_token"));
  EXPECT_NE(text_of(second, "token"), text_of(first, "token"));
  EXPECT_EQ(text_of(second, "refresh_expires_at"), text_of(first, "refresh_expires_at"));
  // Requests that are under way may end; then only the new token counts.
  EXPECT_TRUE(valid(text_of(first, "token")));
  EXPECT_TRUE(valid(text_of(second, "token")));
  later();
  EXPECT_FALSE(valid(text_of(first, "token")));
  const auto device = stack.with_token(text_of(second, "token"));
  EXPECT_EQ(device->all("/me/sessions").size(), 2u) << "the device is still one";
  EXPECT_EQ(refresh(text_of(second, "refresh_token")).status, 200u);
}

TEST_F(RefreshTokens, GiveTheSamePairToWhoeverRepeatsTheRequest) {
  stack.person("ada");
  const auto first = text_of(login("ada"), "refresh_token");
  const auto second = refresh(first);
  EXPECT_EQ(refresh(first).body, second.body);
  EXPECT_EQ(refresh(first, *other).body, second.body);
  EXPECT_TRUE(valid(text_of(second, "token")));
  EXPECT_EQ(ends("refresh_token_reused"), "0");
}

TEST_F(RefreshTokens, ThatComeBackLaterLogTheDeviceOut) {
  const auto ada = stack.person("ada");
  const auto first = text_of(login("ada"), "refresh_token");
  const auto second = refresh(first);
  later();
  const auto reused = refresh(first);
  EXPECT_EQ(reused.status, 401u);
  EXPECT_EQ(code(reused), "refresh_token_reused");
  EXPECT_FALSE(valid(text_of(second, "token")));
  EXPECT_EQ(code(refresh(text_of(second, "refresh_token"))), "invalid_refresh_token");
  EXPECT_EQ(code(refresh(first)), "invalid_refresh_token");
  EXPECT_EQ(ends("refresh_token_reused"), "1");
  EXPECT_EQ(database.value("select count(*) from app.refresh_token_lineage where reason = 'reused'"), "1");
  EXPECT_TRUE(valid(ada->token)) << "another device has nothing to do with it";
}

TEST_F(RefreshTokens, WhoseSuccessorWasUsedLogTheDeviceOutAtOnce) {
  stack.person("ada");
  const auto first = text_of(login("ada"), "refresh_token");
  const auto second = text_of(refresh(first), "refresh_token");
  const auto third = refresh(second);
  EXPECT_EQ(refresh(second).body, third.body);
  EXPECT_EQ(code(refresh(first)), "refresh_token_reused");
  EXPECT_FALSE(valid(text_of(third, "token")));
}

TEST_F(RefreshTokens, EndWithTheLogoutAndWithTheirTime) {
  stack.person("ada");
  const auto first = login("ada"), second = login("ada"), third = login("ada");
  EXPECT_EQ(stack.with_token(text_of(first, "token"))->del("/session").status, 204u);
  EXPECT_EQ(code(refresh(text_of(first, "refresh_token"))), "invalid_refresh_token");
  EXPECT_EQ(stack.with_token(text_of(third, "token"))->del("/me/sessions").status, 204u);
  EXPECT_EQ(code(refresh(text_of(second, "refresh_token"))), "invalid_refresh_token");
  database.run("update app.devices set expires_at = now()");
  EXPECT_EQ(code(refresh(text_of(third, "refresh_token"))), "invalid_refresh_token");
  EXPECT_EQ(ends("refresh_token_reused"), "0");
}

TEST_F(RefreshTokens, OutliveTheSessionThatWasIdleOrIsOver) {
  const auto ada = stack.person("ada");
  const auto key = "session:user:" + me(*ada);
  for (const auto* change : {"created_at = created_at - interval '2 hours'", "expires_at = now()"}) {
    SCOPED_TRACE(change);
    const auto first = login("ada");
    for (const auto& field : support::redis({"HKEYS", key})) support::redis({"HSET", key, field, "1000000000"});
    database.run(fmt::format("update app.sessions set {}", change));
    EXPECT_FALSE(valid(text_of(first, "token")));
    const auto second = refresh(text_of(first, "refresh_token"));
    EXPECT_EQ(second.status, 200u) << second.body;
    EXPECT_TRUE(valid(text_of(second, "token")));
  }
}

TEST_F(RefreshTokens, OpenNothingElseAndNothingElseRefreshes) {
  stack.person("ada");
  const auto login = this->login("ada");
  EXPECT_FALSE(valid(text_of(login, "refresh_token")));
  for (const auto& token : {text_of(login, "token"), std::string("x"), "cairn_r_" + std::string(64, 'A')}) {
    const auto refused = refresh(token);
    EXPECT_EQ(refused.status, 401u);
    EXPECT_EQ(code(refused), "invalid_refresh_token");
  }
}

TEST_F(RefreshTokens, RacedByManyClientsHaveOneSuccessor) {
  constexpr int families = 200, clients = 8;
  std::vector<std::string> tokens;
  for (int i = 0; i < families; ++i) {
    const auto name = fmt::format("p{}", i / 10);
    if (i % 10 == 0) stack.person(name)->del("/session");
    tokens.push_back(text_of(login(name), "refresh_token"));
  }
  ASSERT_EQ(live_heads(), "200");
  std::vector<std::vector<std::string>> replies(clients);
  std::vector<std::thread> threads;
  std::latch ready(clients);
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      auto client = (i % 2 ? *other : stack).client();
      ready.arrive_and_wait();
      for (const auto& token : tokens)
        replies[i].push_back(client.post("/sessions/refresh", fmt::format(R"({{"refresh_token":"{}"}})", token)).body);
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::string> pairs;
  for (int family = 0; family < families; ++family) {
    for (const auto& one : replies) EXPECT_EQ(one[family], replies[0][family]);
    pairs.insert(text_of(bj::parse(replies[0][family]), "refresh_token"));
  }
  EXPECT_EQ(pairs.size(), 200u);
  const auto heads = [&] {
    return database.value(
        "select count(*) || ' ' || count(distinct family_id) from refresh_tokens t join app.refresh_token_lineage l on "
        "l.token_id = t.id where not revoked");
  };
  EXPECT_EQ(heads(), "200 200");
  EXPECT_EQ(database.value("select count(*) from app.refresh_token_lineage where parent_id is not null"), "200");
  later();
  for (const auto& token : tokens) EXPECT_EQ(code(refresh(token)), "refresh_token_reused");
  EXPECT_EQ(heads(), "0 0");
  EXPECT_EQ(ends("refresh_token_reused"), "200");
}

// -- API tokens

class ApiTokens : public TwoServers {
 protected:
  Reply make(Client& by, std::string_view scopes, std::string_view more = "") const {
    return by.post("/me/tokens", fmt::format(R"({{"name":"robot","scopes":[{}]{}}})", scopes, more));
  }
  std::unique_ptr<Client> robot(Client& by, std::string_view scopes, std::string_view more = "") const {
    const auto made = make(by, scopes, more);
    EXPECT_EQ(made.status, 201u) << made.body;
    return stack.with_token(text_of(made, "token"));
  }
  static constexpr std::string_view all =
      R"("read","write_tasks","write_projects","write_members","write_organizations")";
};

TEST_F(ApiTokens, AreShownOnceListedAndRevoked) {
  const auto ada = stack.person("ada"), bob = stack.person("bob");
  const auto made = make(*ada, R"("write_tasks","read","read")");
  ASSERT_EQ(made.status, 201u) << made.body;
  const auto token = text_of(made, "token");
  EXPECT_TRUE(token.starts_with("cairn_t_"));
  EXPECT_EQ(text_of(made, "scopes"), R"(["read","write_tasks"])");
  EXPECT_EQ(text_of(ada->all("/me/tokens").at(0), "last_used_at"), "null");
  EXPECT_TRUE(valid(token));
  const auto listed = ada->all("/me/tokens");
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_FALSE(listed[0].as_object().contains("token"));
  EXPECT_NE(text_of(listed[0], "last_used_at"), "null");
  EXPECT_EQ(text_of(listed[0], "last_used_ip"), "127.0.0.1");
  EXPECT_TRUE(bob->all("/me/tokens").empty());
  const auto path = "/me/tokens/" + text_of(made, "id");
  EXPECT_EQ(bob->del(path).status, 404u);
  EXPECT_EQ(other->with_token(ada->token)->del(path).status, 204u);
  EXPECT_EQ(ada->del(path).status, 404u);
  EXPECT_FALSE(valid(token));
  for (int connection = 0; connection < 4; ++connection)
    EXPECT_EQ(stack.with_token(token)->get("/me").status, 401u) << "which was not open to it before";
}

TEST_F(ApiTokens, EndWithTheirTime) {
  const auto ada = stack.person("ada");
  const auto token = text_of(make(*ada, all), "token");
  EXPECT_TRUE(valid(token));
  database.run("update app.api_tokens set expires_at = now()");
  EXPECT_FALSE(valid(token));
  EXPECT_EQ(ada->all("/me/tokens").size(), 1u);
}

TEST_F(ApiTokens, AreRefusedWithoutScopesALifeOrAnOrganizationOfOnesOwn) {
  const auto ada = stack.person("ada"), bob = stack.person("bob");
  const auto foreign = text_of(bob->post("/organizations", R"({"name":"B","slug":"bees"})"), "id");
  const auto pointer = [](const Reply& reply) {
    EXPECT_EQ(reply.status, 422u) << reply.body;
    return text_of(reply.json().at("errors").at(0), "pointer");
  };
  EXPECT_EQ(pointer(make(*ada, "")), "/scopes");
  EXPECT_EQ(pointer(make(*ada, R"("everything")")), "/scopes/0");
  for (const auto* expires : {"2020-01-01T00:00:00Z", "9999-12-31T00:00:00Z"})
    EXPECT_EQ(pointer(make(*ada, all, fmt::format(R"(,"expires_at":"{}")", expires))), "/expires_at");
  for (const auto& id : {foreign, Uuid::make().text()})
    EXPECT_EQ(pointer(make(*ada, all, fmt::format(R"(,"organization_id":"{}")", id))), "/organization_id");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(make(*ada, all).status, 201u);
  EXPECT_EQ(code(make(*ada, all)), "too_many_tokens");
}

TEST_F(ApiTokens, DoWhatTheirScopesSayAndNothingAboutAccounts) {
  World world(stack, "a");
  auto& owner = world.as(api::Access::owner);
  // With all scopes but the one.
  std::map<session::Scope, std::unique_ptr<Client>> without;
  for (const auto scope : {session::Scope::read, session::Scope::write_tasks, session::Scope::write_projects,
                           session::Scope::write_members, session::Scope::write_organizations}) {
    auto scopes = std::string(all);
    const auto name = fmt::format(R"("{}")", json::Codec<session::Scope>::name(scope));
    scopes.erase(scopes.find(name), name.size() + (scopes.ends_with(name) ? 0 : 1));
    if (scopes.ends_with(',')) scopes.pop_back();
    without[scope] = robot(owner, scopes);
  }
  const auto everything = robot(owner, all);
  unsigned open = 0;
  for (const auto& endpoint : stack.server().api().endpoints()) {
    if (endpoint->spec.allow == api::Access::anonymous) continue;
    SCOPED_TRACE(endpoint->spec.id);
    const auto needed = session::scope_of(*endpoint);
    const auto refused = world.call(*endpoint, needed ? *without[*needed] : *everything);
    EXPECT_EQ(refused.status, 403u) << refused.body;
    EXPECT_EQ(code(refused), "insufficient_scope");
    if (!needed) continue;
    ++open;
    const auto reply = world.call(*endpoint, *everything);
    EXPECT_LT(reply.status, 300u) << reply.body;
    world.renew();
  }
  EXPECT_GT(open, 20u);
  for (const auto* path : {"/me", "/me/sessions", "/me/tokens", "/me/audit"})
    EXPECT_EQ(everything->get(path).status, 403u) << path;
}

TEST_F(ApiTokens, GiveNobodyMoreThanTheyMayDoThemselves) {
  const World world(stack, "a");
  auto& owner = world.as(api::Access::owner);
  const auto members = "/organizations/" + world.organization + "/members";
  const auto body = fmt::format(R"({{"email":"{}"}})", Stack::email("a.newcomer"));
  EXPECT_EQ(code(robot(owner, R"("write_members")")->post(members, body)), "forbidden");
  EXPECT_EQ(robot(owner, R"("write_members","write_tasks")")->post(members, body).status, 201u);
}

TEST_F(ApiTokens, AreToldWhatIsLeftOfTheRightsOfTheirOwner) {
  const World world(stack, "a");
  auto& owner = world.as(api::Access::owner);
  const auto path = "/organizations/" + world.organization + "/permissions";
  const auto whole = owner.get(path).json();
  const auto reader = robot(owner, R"("read")"), writer = robot(owner, R"("read","write_tasks")");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(text_of(reader->get(path), "permissions"), R"(["project.view_private","audit.view"])");
    EXPECT_EQ(text_of(writer->get(path), "permissions"),
              R"(["task.create","task.edit","task.delete","project.view_private","audit.view"])");
    EXPECT_EQ(owner.get(path).json(), whole);
  }
}

TEST_F(ApiTokens, BoundToAnOrganizationReachNoOther) {
  const auto ada = stack.person("ada");
  std::vector<std::string> organizations, projects;
  for (const auto* slug : {"one", "two"}) {
    organizations.push_back(
        text_of(ada->post("/organizations", fmt::format(R"({{"name":"X","slug":"{}"}})", slug)), "id"));
    projects.push_back(
        text_of(ada->post("/organizations/" + organizations.back() + "/projects", R"({"name":"P"})"), "id"));
  }
  const auto bound = robot(*ada, all, fmt::format(R"(,"organization_id":"{}")", organizations[0]));
  ASSERT_EQ(bound->all("/organizations").size(), 1u);
  EXPECT_EQ(text_of(bound->all("/organizations")[0], "id"), organizations[0]);
  EXPECT_EQ(code(bound->post("/organizations", R"({"name":"X","slug":"three"})")), "insufficient_scope");
  EXPECT_EQ(bound->post("/projects/" + projects[0] + "/tasks", R"({"title":"t"})").status, 201u);
  for (const auto& path : {"/organizations/" + organizations[1], "/projects/" + projects[1],
                           "/organizations/" + organizations[1] + "/members"}) {
    EXPECT_EQ(bound->get(path).status, 404u) << path;
    EXPECT_EQ(ada->get(path).status, 200u) << path;
  }
  EXPECT_EQ(bound->post("/projects/" + projects[1] + "/tasks", R"({"title":"t"})").status, 404u);
  EXPECT_EQ(bound->patch("/organizations/" + organizations[1], R"({"name":"Y"})").status, 404u);
  EXPECT_EQ(bound->del("/organizations/" + organizations[1] + "/members/" + me(*ada)).status, 404u);
  EXPECT_EQ(ada->del("/organizations/" + organizations[1]).status, 204u);
  EXPECT_EQ(ada->all("/organizations?deleted=true").size(), 1u);
  EXPECT_TRUE(bound->all("/organizations?deleted=true").empty());
  EXPECT_EQ(bound->post("/organizations/" + organizations[1] + "/restoration", {}).status, 404u);
}

TEST_F(ApiTokens, NeverDoMoreThanTheirOwnerMay) {
  World world(stack, "a");
  auto& member = world.as(api::Access::manager);
  const auto robot = this->robot(member, all);
  const auto there = other->with_token(robot->token);
  const auto projects = "/organizations/" + world.organization + "/projects";
  EXPECT_EQ(robot->patch("/organizations/" + world.organization, R"({"name":"Y"})").status, 403u);
  EXPECT_EQ(there->post(projects, R"({"name":"P"})").status, 201u);
  const auto membership = "/organizations/" + world.organization + "/members/" + me(member);
  EXPECT_EQ(world.as(api::Access::owner).patch(membership, R"({"role":"member"})").status, 200u);
  EXPECT_EQ(there->post(projects, R"({"name":"P"})").status, 403u);
  EXPECT_EQ(robot->post(projects, R"({"name":"P"})").status, 403u);
  EXPECT_EQ(world.as(api::Access::owner).del(membership).status, 204u);
  EXPECT_EQ(there->get(projects).status, 404u);
  EXPECT_EQ(robot->get("/tasks/" + world.task).status, 404u);
}

TEST_F(ApiTokens, AreNamedOnTheRecordAndSoAreTheirNewAddresses) {
  World world(stack, "a");
  auto& owner = world.as(api::Access::owner);
  const auto proxied = stack.beside([](Config& config) { config.server.trusted_proxies = {"127.0.0.1"}; });
  const auto made = make(owner, all);
  const auto id = text_of(made, "id");
  const auto robot = proxied->with_token(text_of(made, "token"));
  for (const auto* address : {"192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2", "2001:db8::1"})
    EXPECT_EQ(robot->get("/organizations", {fmt::format("X-Forwarded-For: {}", address)}).status, 200u);
  EXPECT_EQ(database.value("select string_agg(host(ip_address), ' ' order by created_at) from audit_logs where "
                           "entity_type = 'api_tokens' and action = 'login' and entity_id = '" +
                           id + "'"),
            "192.0.2.1 192.0.2.2 2001:db8::1");
  EXPECT_EQ(text_of(owner.all("/me/tokens")[0], "last_used_ip"), "2001:db8::1");

  EXPECT_EQ(robot->patch("/tasks/" + world.task, R"({"title":"By a robot"})").status, 200u);
  const auto entries = owner.all("/tasks/" + world.task + "/audit");
  EXPECT_EQ(text_of(entries.front(), "token_id"), id);
  EXPECT_EQ(text_of(entries.back(), "token_id"), "null");
  EXPECT_EQ(owner.patch("/tasks/" + world.task, R"({"title":"By a person"})").status, 200u);
  EXPECT_EQ(text_of(owner.all("/tasks/" + world.task + "/audit").front(), "token_id"), "null");

  EXPECT_EQ(owner.del("/me/tokens/" + id).status, 204u);
  std::vector<std::string> actions;
  for (const auto& entry : owner.all("/me/audit?entity_type=api_tokens&entity_id=" + id))
    actions.push_back(text_of(entry, "action"));
  EXPECT_EQ(actions, (std::vector<std::string>{"delete", "login", "login", "login", "login", "create"}));
}

}  // namespace
}  // namespace cairn
