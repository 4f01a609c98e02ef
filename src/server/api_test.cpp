// Stories over real HTTP against a real server, PostgreSQL and Redis.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <latch>
#include <set>
#include <thread>

#include "support/stack.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using support::Client;
using support::Reply;
using support::Stack;
using support::text_of;

std::string credentials(std::string_view name, std::string_view password = Stack::password) {
  return fmt::format(R"({{"email":"{}","password":"{}"}})", Stack::email(name), password);
}

std::string make_organization(Client& owner, std::string_view slug) {
  const auto made = owner.post("/organizations", fmt::format(R"({{"name":"{0}","slug":"{0}"}})", slug));
  EXPECT_EQ(made.status, 201u) << made.body;
  return text_of(made, "id");
}

std::string make_project(Client& client, const std::string& organization, std::string_view name = "Bridge") {
  const auto made =
      client.post("/organizations/" + organization + "/projects", fmt::format(R"({{"name":"{}"}})", name));
  EXPECT_EQ(made.status, 201u) << made.body;
  return text_of(made, "id");
}

std::string make_task(Client& client, const std::string& project, std::string_view body = R"({"title":"Dig"})") {
  const auto made = client.post("/projects/" + project + "/tasks", body);
  EXPECT_EQ(made.status, 201u) << made.body;
  return text_of(made, "id");
}

// The id of a client's account.
std::string me(Client& client) { return text_of(client.get("/me"), "id"); }

Reply add_member(Client& by, const std::string& organization, std::string_view name, std::string_view role) {
  return by.post("/organizations/" + organization + "/members",
                 fmt::format(R"({{"email":"{}","role":"{}"}})", Stack::email(name), role));
}

// A new person in an organization.
std::unique_ptr<Client> colleague(const Stack& stack, Client& owner, const std::string& organization,
                                  std::string_view name, std::string_view role) {
  auto made = stack.person(name);
  EXPECT_EQ(add_member(owner, organization, name, role).status, 201u);
  return made;
}

std::string code(const Reply& reply) { return text_of(reply, "code"); }

// -- accounts and sessions

TEST(Accounts, ThatAreRegisteredCanLogInAndSeeThemselves) {
  const Stack stack;
  auto client = stack.client();
  const auto account = client.post(
      "/accounts",
      R"({"email":"Ada@Example.org","password":"correct horse battery staple","first_name":"Ada","last_name":"Łovelace"})");
  ASSERT_EQ(account.status, 201u) << account.body;
  EXPECT_EQ(account.header("location"), "/api/v1/me");
  EXPECT_EQ(text_of(account, "email"), "ada@example.org");
  EXPECT_EQ(account.body.find("password"), std::string::npos);

  const auto login = client.post("/sessions", credentials("ADA"));
  ASSERT_EQ(login.status, 201u) << login.body;
  client.token = text_of(login, "token");
  EXPECT_TRUE(client.token.starts_with("cairn_s_"));
  const auto own = client.get("/me");
  EXPECT_EQ(own.status, 200u);
  EXPECT_EQ(text_of(own, "last_name"), "Łovelace");
  EXPECT_NE(text_of(own, "last_login_at"), "null");
}

TEST(Accounts, DoNotShareAnAddressWhateverItsCase) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto again = ada->post(
      "/accounts",
      R"({"email":"ADA@example.org","password":"correct horse battery staple","first_name":"A","last_name":"B"})");
  EXPECT_EQ(again.status, 409u);
  EXPECT_EQ(code(again), "email_taken");
  EXPECT_EQ(text_of(again.json().at("errors").at(0), "pointer"), "/email");
}

TEST(Accounts, WithoutALongPasswordAreRefused) {
  const Stack stack;
  auto client = stack.client();
  const auto refused = client.post(
      "/accounts", R"({"email":"a@example.org","password":"fourteen chars","first_name":"A","last_name":"B"})");
  EXPECT_EQ(refused.status, 422u);
  EXPECT_EQ(text_of(refused.json().at("errors").at(0), "pointer"), "/password");
  EXPECT_EQ(refused.body.find("fourteen"), std::string::npos);
}

TEST(Accounts, ChangeTheirNameOneMemberAtATime) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto changed = ada->patch("/me", R"({"first_name":"Augusta"})");
  EXPECT_EQ(changed.status, 200u);
  EXPECT_EQ(text_of(changed, "first_name"), "Augusta");
  EXPECT_EQ(text_of(changed, "last_name"), "Example");
  EXPECT_EQ(ada->patch("/me", R"({"first_name":null})").status, 422u);
  EXPECT_EQ(ada->patch("/me", R"({"first_name":"X"})", {"If-Match: \"1\""}).status, 412u);
  EXPECT_EQ(ada->patch("/me", "{}").body, ada->get("/me").body);
}

TEST(Sessions, AreRefusedTheSameWayForAWrongPasswordAndAnUnknownAddress) {
  const Stack stack;
  const auto ada = stack.person("ada");
  auto client = stack.client();
  const auto wrong = client.post("/sessions", credentials("ada", "incorrect horse battery staple"));
  const auto unknown = client.post("/sessions", credentials("bob"));
  EXPECT_EQ(wrong.status, 401u);
  EXPECT_EQ(code(wrong), "invalid_credentials");
  const auto without_id = [](const Reply& reply) {
    auto body = reply.json();
    body.as_object().erase("request_id");
    return bj::serialize(body);
  };
  EXPECT_EQ(without_id(wrong), without_id(unknown));
  EXPECT_EQ(stack.database().value("select count(*) from audit_logs where metadata->>'outcome' = 'failure'"), "2");
}

TEST(Sessions, EndWithALogoutAndOnlyThatOne) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto second = stack.with_token(text_of(ada->post("/sessions", credentials("ada")), "token"));
  EXPECT_EQ(second->get("/me").status, 200u);
  EXPECT_EQ(ada->del("/session").status, 204u);
  EXPECT_EQ(ada->get("/me").status, 401u);
  EXPECT_EQ(second->get("/me").status, 200u);
}

TEST(Sessions, EndTheMomentAnAccountIsSuspended) {
  const Stack stack;
  const auto ada = stack.person("ada");
  EXPECT_EQ(ada->get("/me").status, 200u);
  stack.database().run("update users set status = 'suspended'");
  EXPECT_EQ(ada->get("/me").status, 401u);
  EXPECT_EQ(ada->post("/organizations", R"({"name":"A","slug":"aa"})").status, 401u);
  EXPECT_EQ(ada->post("/sessions", credentials("ada")).status, 401u);
  stack.database().run("update users set status = 'active'");
  EXPECT_EQ(ada->get("/me").status, 401u) << "an ended session came back";
  EXPECT_EQ(ada->post("/sessions", credentials("ada")).status, 201u);
}

TEST(Sessions, EndWhenTheirTimeIsUp) {
  const Stack stack;
  const auto ada = stack.person("ada");
  stack.database().run("update app.sessions set expires_at = now()");
  EXPECT_EQ(ada->get("/me").status, 401u);
}

TEST(Sessions, SurviveTheLossOfEverythingInRedis) {
  const Stack stack;
  const auto ada = stack.person("ada");
  EXPECT_EQ(ada->get("/me").status, 200u);
  support::redis({"FLUSHALL"});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(stack.with_token(ada->token)->get("/me").status, 200u);
}

TEST(Sessions, KeptInRedisDoNotReviveOneThatPostgresEnded) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto key = "session:user:" + me(*ada);
  const auto kept = support::redis({"HGETALL", key});
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(ada->del("/session").status, 204u);
  EXPECT_TRUE(support::redis({"HGETALL", key}).empty());
  support::redis({"HSET", key, kept[0], kept[1]});
  support::redis({"EXPIRE", key, "86400"});
  EXPECT_EQ(ada->get("/me").status, 401u);
}

TEST(Sessions, EndOnTheRecordWhenIdleForTooLong) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = me(*ada);
  const auto login = ada->post("/sessions", credentials("ada"));
  const auto idle = stack.with_token(text_of(login, "token"));
  const auto fields = support::redis({"HKEYS", "session:user:" + id});
  for (const auto& field : fields) support::redis({"HSET", "session:user:" + id, field, "1000000000"});
  stack.database().run("update app.sessions set created_at = created_at - interval '2 hours'");
  // Not asked for before, so no core remembers having seen it.
  EXPECT_EQ(idle->get("/me").status, 401u);
  EXPECT_EQ(stack.database().value(
                "select count(*) from audit_logs where action = 'logout' and metadata->>'reason' = 'idle'"),
            "1");
}

TEST(Sessions, BeyondTheTenthEndTheOldest) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto first = ada->token;
  std::string last;
  for (int i = 0; i < 10; ++i) last = text_of(ada->post("/sessions", credentials("ada")), "token");
  EXPECT_EQ(stack.database().value("select count(*) from app.sessions"), "10");
  EXPECT_EQ(stack.with_token(first)->get("/me").status, 401u);
  EXPECT_EQ(stack.with_token(last)->get("/me").status, 200u);
}

TEST(Sessions, NeedATokenOfTheRightForm) {
  const Stack stack;
  const auto ada = stack.person("ada");
  auto client = stack.client();
  for (std::string header : {"Authorization: Bearer x", "Authorization: Basic YTpi", "Authorization: Bearer",
                             "Authorization: Bearer cairn_s_", "Authorization: "}) {
    EXPECT_EQ(client.get("/me", {header}).status, 401u) << header;
  }
  auto changed = ada->token;
  changed.back() = changed.back() == 'A' ? 'B' : 'A';
  EXPECT_EQ(client.get("/me", {"Authorization: Bearer " + changed}).status, 401u);
  EXPECT_EQ(client.get("/me", {"authorization: bearer " + ada->token}).status, 200u);
  EXPECT_EQ(client.get("/me").header("www-authenticate"), "Bearer");
}

// -- organizations and members

TEST(Organizations, AreCreatedListedChangedAndDeleted) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto made = ada->post("/organizations", R"({"name":"Acme","slug":"acme","website_url":"https://acme.example",
      "size":"small","settings":{"week":{"starts":"monday"}}})");
  ASSERT_EQ(made.status, 201u) << made.body;
  const auto id = text_of(made, "id");
  EXPECT_EQ(made.header("location"), "/api/v1/organizations/" + id);
  EXPECT_EQ(text_of(made, "role"), "owner");
  EXPECT_EQ(text_of(made, "settings"), R"({"week":{"starts":"monday"}})");
  EXPECT_EQ(ada->get("/organizations/" + id).body, made.body);
  make_organization(*ada, "zeta");
  make_organization(*ada, "beta");
  std::vector<std::string> names;
  for (const auto& row : ada->all("/organizations?limit=2&sort=-name")) names.push_back(text_of(row, "name"));
  EXPECT_EQ(names, (std::vector<std::string>{"zeta", "beta", "Acme"}));

  const auto changed = ada->patch("/organizations/" + id, R"({"description":"Makes everything","size":null})");
  ASSERT_EQ(changed.status, 200u) << changed.body;
  EXPECT_EQ(text_of(changed, "description"), "Makes everything");
  EXPECT_EQ(text_of(changed, "size"), "null");
  EXPECT_EQ(text_of(changed, "name"), "Acme");
  EXPECT_EQ(ada->del("/organizations/" + id).status, 204u);
  EXPECT_EQ(ada->get("/organizations/" + id).status, 404u);
  EXPECT_EQ(ada->all("/organizations").size(), 2u);
}

TEST(Organizations, HaveASlugOfTheirOwnThatIsNotReserved) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto bob = stack.person("bob");
  make_organization(*ada, "acme");
  const auto taken = bob->post("/organizations", R"({"name":"Another","slug":"acme"})");
  EXPECT_EQ(taken.status, 409u);
  EXPECT_EQ(code(taken), "slug_taken");
  const auto other = make_organization(*bob, "other");
  EXPECT_EQ(code(bob->patch("/organizations/" + other, R"({"slug":"acme"})")), "slug_taken");
  for (const auto* slug : {"api", "admin", "Acme", "a", "-a", "a--b", "ä"})
    EXPECT_EQ(bob->post("/organizations", fmt::format(R"({{"name":"A","slug":"{}"}})", slug)).status, 422u) << slug;
}

TEST(Organizations, ThatAreDeletedAreGoneForEverybodyWithAllTheyHold) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto bob = colleague(stack, *ada, id, "bob", "admin");
  const auto project = make_project(*ada, id);
  const auto task = make_task(*ada, project);
  EXPECT_EQ(bob->del("/organizations/" + id).status, 403u);
  EXPECT_EQ(ada->del("/organizations/" + id).status, 204u);
  for (auto* who : {ada.get(), bob.get()}) {
    for (const auto& path : {"/organizations/" + id, "/organizations/" + id + "/members", "/projects/" + project,
                             "/tasks/" + task, "/organizations/" + id + "/tasks", "/organizations/" + id + "/audit"})
      EXPECT_EQ(who->get(path).status, 404u) << path;
    EXPECT_EQ(who->post("/projects/" + project + "/tasks", R"({"title":"x"})").status, 404u);
    EXPECT_EQ(who->patch("/tasks/" + task, R"({"title":"x"})").status, 404u);
  }
}

TEST(Members, AreAddedPromotedAndRemoved) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto members = "/organizations/" + id + "/members";
  const auto bob = stack.person("bob");
  EXPECT_EQ(bob->get(members).status, 404u);
  const auto added = ada->post(members, R"({"email":"BOB@example.org"})");
  ASSERT_EQ(added.status, 201u) << added.body;
  EXPECT_EQ(text_of(added, "role"), "member");
  const auto one = members + "/" + me(*bob);
  EXPECT_EQ(bob->get(one).body, added.body);
  EXPECT_EQ(code(add_member(*ada, id, "bob", "member")), "member_already");
  const auto nobody = add_member(*ada, id, "nobody", "member");
  EXPECT_EQ(nobody.status, 422u);
  EXPECT_EQ(text_of(nobody.json().at("errors").at(0), "code"), "no_such_account");

  EXPECT_EQ(text_of(ada->patch(one, R"({"role":"admin"})"), "role"), "admin");
  EXPECT_EQ(ada->all(members + "?sort=-email").size(), 2u);
  EXPECT_EQ(ada->all(members + "?role=admin").size(), 1u);
  EXPECT_EQ(ada->all(members + "?email=bob@example.org").size(), 1u);
  EXPECT_EQ(ada->del(one).status, 204u);
  EXPECT_EQ(ada->del(one).status, 404u);
  EXPECT_EQ(bob->get(members).status, 404u);
}

TEST(Members, MayLeaveAndTheirTasksBecomeUnassigned) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto bob = colleague(stack, *ada, id, "bob", "member");
  const auto task =
      make_task(*ada, make_project(*ada, id), fmt::format(R"({{"title":"Dig","assigned_to":"{}"}})", me(*bob)));
  EXPECT_EQ(bob->del("/organizations/" + id + "/members/" + me(*bob)).status, 204u);
  EXPECT_EQ(bob->get("/tasks/" + task).status, 404u);
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "assigned_to"), "null");
}

TEST(Members, NeverGrantChangeOrRemoveAboveTheirOwnRole) {
  const Stack stack;
  const auto owner = stack.person("owner");
  const auto id = make_organization(*owner, "acme");
  const std::vector<std::string> roles{"member", "manager", "admin", "owner"};
  std::vector<std::unique_ptr<Client>> actors;
  for (const auto& role : roles) actors.push_back(colleague(stack, *owner, id, role + ".actor", role));
  auto database = stack.database();
  const auto target = stack.person("target");
  const auto user = me(*target);
  const auto members = "/organizations/" + id + "/members", one = members + "/" + user;

  for (std::size_t actor = 0; actor < roles.size(); ++actor) {
    for (std::size_t wanted = 0; wanted < roles.size(); ++wanted) {
      SCOPED_TRACE(roles[actor] + " -> " + roles[wanted]);
      const bool may_grant = actor >= 2 && wanted <= actor;
      const auto added = add_member(*actors[actor], id, "target", roles[wanted]);
      EXPECT_EQ(added.status, may_grant ? 201u : 403u);
      if (!may_grant) { EXPECT_EQ(add_member(*owner, id, "target", "member").status, 201u); }
      for (std::size_t had = 0; had < roles.size(); ++had) {
        SCOPED_TRACE("from " + roles[had]);
        database.run(fmt::format("update user_organizations set role = '{}' where user_id = '{}'", roles[had], user));
        const auto before = database.digest();
        const bool may = may_grant && had <= actor;
        EXPECT_EQ(actors[actor]->patch(one, fmt::format(R"({{"role":"{}"}})", roles[wanted])).status,
                  may ? 200u : 403u);
        if (!may) { EXPECT_EQ(database.digest(), before); }
      }
      // Whom the loop left as an owner, only an owner removes.
      database.run(fmt::format("update user_organizations set role = '{}' where user_id = '{}'", roles[wanted], user));
      EXPECT_EQ(actors[actor]->del(one).status, may_grant ? 204u : 403u);
      if (!may_grant) { EXPECT_EQ(owner->del(one).status, 204u); }
    }
  }
}

TEST(Members, IncludeAnOwnerAlways) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto own = "/organizations/" + id + "/members/" + me(*ada);
  EXPECT_EQ(code(ada->patch(own, R"({"role":"admin"})")), "last_owner");
  EXPECT_EQ(code(ada->del(own)), "last_owner");
  const auto bob = colleague(stack, *ada, id, "bob", "owner");
  EXPECT_EQ(ada->patch(own, R"({"role":"member"})").status, 200u);
  EXPECT_EQ(code(bob->patch("/organizations/" + id + "/members/" + me(*bob), R"({"role":"member"})")), "last_owner");
}

TEST(Members, IncludeAnOwnerAlsoWhenTwoOwnersDemoteEachOtherAtOnce) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto bob = stack.person("bob");
  for (int round = 0; round < 3; ++round) {
    const auto id = make_organization(*ada, fmt::format("acme-{}", round));
    ASSERT_EQ(add_member(*ada, id, "bob", "owner").status, 201u);
    const auto members = "/organizations/" + id + "/members/";
    const auto of_ada = members + me(*ada), of_bob = members + me(*bob);
    std::latch start(2);
    unsigned first = 0, second = 0;
    std::thread other([&] {
      start.arrive_and_wait();
      first = ada->patch(of_bob, R"({"role":"member"})").status;
    });
    start.arrive_and_wait();
    second = bob->patch(of_ada, R"({"role":"member"})").status;
    other.join();
    EXPECT_TRUE((first == 200) != (second == 200)) << first << " and " << second;
    EXPECT_EQ(stack.database().value(
                  "select count(*) from user_organizations where role = 'owner' and organization_id = '" + id + "'"),
              "1");
  }
}

// -- projects and tasks

TEST(Projects, AreCreatedListedChangedAndDeleted) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto made = ada->post("/organizations/" + id + "/projects", R"({"name":"Bridge","budget":"1200.5",
      "start_date":"2026-01-01","end_date":"2026-12-31","status":"on_hold","priority":"critical","external_id":"B-1"})");
  ASSERT_EQ(made.status, 201u) << made.body;
  EXPECT_EQ(text_of(made, "budget"), "1200.50");
  EXPECT_EQ(text_of(made, "metadata"), "{}");
  EXPECT_EQ(text_of(made, "created_by"), me(*ada));
  const auto path = "/projects/" + text_of(made, "id");
  EXPECT_EQ(ada->get(path).body, made.body);
  make_project(*ada, id, "Abbey");
  EXPECT_EQ(text_of(ada->all("/organizations/" + id + "/projects").front(), "name"), "Abbey");
  EXPECT_EQ(ada->all("/organizations/" + id + "/projects?status=on_hold,draft&priority=critical").size(), 1u);
  EXPECT_EQ(ada->all("/organizations/" + id + "/projects?external_id=B-1").size(), 1u);
  EXPECT_EQ(ada->all("/organizations/" + id + "/projects?status=draft").size(), 0u);
  EXPECT_EQ(code(ada->post("/organizations/" + id + "/projects", R"({"name":"X","external_id":"B-1"})")),
            "external_id_taken");

  const auto changed = ada->patch(path, R"({"budget":7,"end_date":null,"metadata":{"a":1}})");
  ASSERT_EQ(changed.status, 200u) << changed.body;
  EXPECT_EQ(text_of(changed, "budget"), "7.00");
  EXPECT_EQ(text_of(changed, "end_date"), "null");
  EXPECT_EQ(text_of(changed, "start_date"), "2026-01-01");
  const auto order = ada->patch(path, R"({"end_date":"2025-12-31"})");
  EXPECT_EQ(order.status, 422u);
  EXPECT_EQ(text_of(order.json().at("errors").at(0), "pointer"), "/end_date");
  EXPECT_EQ(ada->del(path).status, 204u);
  EXPECT_EQ(ada->get(path).status, 404u);
}

TEST(Projects, AreDeletedWithTheirTasks) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto project = make_project(*ada, id);
  const auto task = make_task(*ada, project);
  EXPECT_EQ(ada->del("/projects/" + project).status, 204u);
  EXPECT_EQ(ada->get("/tasks/" + task).status, 404u);
  EXPECT_EQ(text_of(ada->all("/tasks/" + task + "/audit").front(), "action"), "delete");
}

TEST(Projects, CountTheirTasksByStatus) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto project = make_project(*ada, make_organization(*ada, "acme"));
  const auto counts = "/projects/" + project + "/counts";
  EXPECT_EQ(text_of(ada->get(counts), "total"), "0");
  for (const auto* status : {"todo", "todo", "done", "cancelled", "review"})
    make_task(*ada, project, fmt::format(R"({{"title":"x","status":"{}"}})", status));
  const auto counted = ada->get(counts);
  EXPECT_EQ(text_of(counted, "todo"), "2");
  EXPECT_EQ(text_of(counted, "in_progress"), "0");
  EXPECT_EQ(text_of(counted, "done"), "1");
  EXPECT_EQ(text_of(counted, "total"), "5");
}

TEST(Tasks, AreCreatedChangedAndDeleted) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto organization = make_organization(*ada, "acme");
  const auto bob = colleague(stack, *ada, organization, "bob", "member");
  const auto project = make_project(*ada, organization);
  const auto made =
      bob->post("/projects/" + project + "/tasks", fmt::format(R"({{"title":"Dig 🕳","description":"Deep\nand wide",
      "priority":"urgent","assigned_to":"{}","due_date":"2026-03-01T12:00:00+02:00","estimated_hours":8,"tags":["ground","wörk"],
      "metadata":{{"n":1.5,"list":[1,null]}},"external_id":"T-1"}})",
                                                               me(*bob)));
  ASSERT_EQ(made.status, 201u) << made.body;
  EXPECT_EQ(text_of(made, "title"), "Dig 🕳");
  EXPECT_EQ(text_of(made, "due_date"), "2026-03-01T10:00:00Z");
  EXPECT_EQ(text_of(made, "organization_id"), organization);
  EXPECT_EQ(text_of(made, "status"), "todo");
  EXPECT_EQ(text_of(made, "tags"), R"(["ground","wörk"])");
  EXPECT_EQ(made.json().at("metadata"), bj::parse(R"({"n":1.5,"list":[1,null]})"));
  const auto path = "/tasks/" + text_of(made, "id");
  EXPECT_EQ(made.header("location"), "/api/v1" + path);
  EXPECT_EQ(ada->get(path).body, made.body);
  EXPECT_EQ(code(ada->post("/projects/" + project + "/tasks", R"({"title":"x","external_id":"T-1"})")),
            "external_id_taken");

  const auto changed = ada->patch(path, R"({"status":"done","actual_hours":9,"tags":[]})");
  ASSERT_EQ(changed.status, 200u) << changed.body;
  EXPECT_EQ(text_of(changed, "status"), "done");
  EXPECT_EQ(text_of(changed, "tags"), "[]");
  EXPECT_EQ(text_of(changed, "estimated_hours"), "8");
  EXPECT_EQ(bob->del(path).status, 204u);
  EXPECT_EQ(bob->get(path).status, 404u);
}

TEST(Tasks, TellAbsentFromNullInAMergePatch) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto project = make_project(*ada, make_organization(*ada, "acme"));
  const auto path =
      "/tasks/" + make_task(*ada, project, R"({"title":"Dig","description":"x","due_date":"2026-03-01T12:00:00Z",
      "estimated_hours":1,"actual_hours":2,"external_id":"T-1"})");
  const auto before = ada->get(path).json();
  const auto untouched = ada->patch(path, "{}");
  EXPECT_EQ(untouched.json(), before) << "an empty patch changes nothing, not even the version";
  EXPECT_EQ(ada->patch(path, R"({"title":"Dig"})").json(), before) << "nor does one that says what is there";
  for (const auto* member : {"description", "due_date", "estimated_hours", "actual_hours", "external_id"}) {
    const auto cleared =
        ada->patch(path, fmt::format(R"({{"{}":null}})", member), {"Content-Type: application/merge-patch+json"});
    EXPECT_EQ(cleared.status, 200u) << cleared.body;
    EXPECT_EQ(text_of(cleared, member), "null");
  }
  EXPECT_EQ(text_of(ada->get(path), "title"), "Dig");
  for (const auto* member : {"title", "status", "priority", "tags", "metadata"}) {
    const auto refused = ada->patch(path, fmt::format(R"({{"{}":null}})", member));
    EXPECT_EQ(refused.status, 422u) << member;
    EXPECT_EQ(text_of(refused.json().at("errors").at(0), "pointer"), fmt::format("/{}", member));
  }
}

TEST(Tasks, AreAssignedToMembersOnly) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto stranger = stack.person("stranger");
  const auto project = make_project(*ada, make_organization(*ada, "acme"));
  for (const auto& user : {me(*stranger), std::string("0195d6f0-0000-7000-8000-000000000000")}) {
    const auto refused =
        ada->post("/projects/" + project + "/tasks", fmt::format(R"({{"title":"x","assigned_to":"{}"}})", user));
    EXPECT_EQ(refused.status, 422u);
    EXPECT_EQ(code(refused), "not_a_member");
  }
}

TEST(Tasks, OfOthersAreDeletedByManagersOnly) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto member = colleague(stack, *ada, id, "member", "member");
  const auto manager = colleague(stack, *ada, id, "manager", "manager");
  const auto task = make_task(*ada, make_project(*ada, id));
  EXPECT_EQ(member->del("/tasks/" + task).status, 403u);
  EXPECT_EQ(manager->del("/tasks/" + task).status, 204u);
}

TEST(Versions, GuardChangesAndSpareUnchangedBodies) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto task = "/tasks/" + make_task(*ada, make_project(*ada, make_organization(*ada, "acme")));
  const auto shown = ada->get(task);
  EXPECT_EQ(shown.header("etag"), "\"1\"");
  for (const auto* tag : {"\"1\"", "W/\"1\"", "*"}) {
    const auto known = ada->get(task, {fmt::format("If-None-Match: {}", tag)});
    EXPECT_EQ(known.status, 304u) << tag;
    EXPECT_EQ(known.header("etag"), "\"1\"");
  }
  EXPECT_EQ(ada->get(task, {"If-None-Match: \"2\""}).status, 200u);

  const auto changed = ada->patch(task, R"({"title":"Fill"})", {"If-Match: \"1\""});
  EXPECT_EQ(changed.status, 200u);
  EXPECT_EQ(changed.header("etag"), "\"2\"");
  for (const auto* tag : {"\"1\"", "\"3\"", "W/\"2\"", "2", "\"x\""}) {
    const std::vector<std::string> header{fmt::format("If-Match: {}", tag)};
    EXPECT_EQ(ada->patch(task, R"({"title":"Lost"})", header).status, 412u) << tag;
    EXPECT_EQ(ada->del(task, header).status, 412u) << tag;
  }
  EXPECT_EQ(text_of(ada->get(task), "title"), "Fill");
  EXPECT_EQ(ada->patch(task, R"({"title":"Star"})", {"If-Match: *"}).status, 200u);
  EXPECT_EQ(ada->del(task, {"If-Match: \"3\""}).status, 204u);
}

// -- lists

// 250 tasks, many of which share a due date or have none, in two projects of one organization.
class ManyTasks : public testing::Test {
 protected:
  ManyTasks() : ada(stack.person("ada")), organization(make_organization(*ada, "acme")) {
    project = make_project(*ada, organization);
    user = me(*ada);
    auto database = stack.database();
    database.run(
        fmt::format("insert into tasks (project_id, organization_id, title, status, priority, assigned_to, due_date, "
                    "tags, created_by) "
                    "select '{}', '{}', 'task ' || n, (enum_range(null::task_status))[1 + n % 5], "
                    "(enum_range(null::task_priority))[1 + n % 4], case when n % 3 = 0 then '{}'::uuid end, "
                    "case when n % 7 > 0 then '2026-01-01 00:00:00+00'::timestamptz + (n % 20) * interval '1 day' end, "
                    "case n % 4 when 0 then array['a'] when 1 then array['a', 'b'] when 2 then array['b', 'c'] else "
                    "'{{}}' end, '{}' "
                    "from generate_series(1, 250) n",
                    project, organization, user, user));
    tasks = ada->all("/projects/" + project + "/tasks?limit=200");
  }

  using Key = std::pair<std::string, std::string>;
  static Key key(const bj::value& task, const std::string& sort) {
    auto first = text_of(task, sort);
    // Sorts after every date; and all fractions have six digits or none, where none sorts first as in time.
    if (first == "null") first = "~";
    if (first.ends_with('Z')) first.pop_back();
    return {std::move(first), text_of(task, "id")};
  }
  // The ids of the tasks that `wanted` keeps, as one sorted list.
  template<class Wanted>
  std::vector<std::string> expected(const std::string& sort, bool descending, Wanted wanted) const {
    std::vector<Key> keys;
    for (const auto& task : tasks)
      if (wanted(task)) keys.push_back(key(task, sort));
    std::sort(keys.begin(), keys.end());
    if (descending) std::reverse(keys.begin(), keys.end());
    std::vector<std::string> ids;
    for (auto& [ignored, id] : keys) ids.push_back(id);
    return ids;
  }
  std::vector<std::string> ids(const std::string& list, unsigned* pages = nullptr) {
    std::vector<std::string> found;
    for (const auto& task : ada->all(list, pages)) found.push_back(text_of(task, "id"));
    return found;
  }
  std::string list(const std::string& filter = "limit=200") const {
    return "/projects/" + project + "/tasks?" + filter;
  }

  Stack stack;
  std::unique_ptr<Client> ada;
  std::string organization, project, user;
  std::vector<bj::value> tasks;
};

TEST_F(ManyTasks, AreOneSortedListWhateverThePageSizeSortAndDirection) {
  ASSERT_EQ(tasks.size(), 250u);
  for (const std::string sort : {"due_date", "created_at", "updated_at"}) {
    for (const bool descending : {false, true}) {
      SCOPED_TRACE(sort + (descending ? " down" : " up"));
      const auto whole = expected(sort, descending, [](const bj::value&) { return true; });
      const std::string order = (descending ? "&sort=-" : "&sort=") + sort;
      for (const int limit : {200, 50, 7}) {
        unsigned pages = 0;
        EXPECT_EQ(ids(list(fmt::format("limit={}", limit) + order), &pages), whole);
        EXPECT_EQ(pages, static_cast<unsigned>((250 + limit - 1) / limit));
      }
      EXPECT_EQ(ids("/organizations/" + organization + "/tasks?limit=99" + order), whole);
    }
  }
}

TEST_F(ManyTasks, AreFilteredByEachParameterAndByAllTogether) {
  const auto is = [](const char* member, std::set<std::string> values) {
    return [=](const bj::value& task) { return values.contains(text_of(task, member)); };
  };
  const auto tagged = [](std::set<std::string> wanted, bool all) {
    return [=](const bj::value& task) {
      std::size_t found = 0;
      for (const auto& tag : task.at("tags").as_array()) found += wanted.count(std::string(tag.as_string()));
      return all ? found == wanted.size() : found > 0;
    };
  };
  const auto due = [](const std::string& from, const std::string& before) {
    return [=](const bj::value& task) {
      const auto at = text_of(task, "due_date");
      return at != "null" && (from.empty() || at >= from) && (before.empty() || at < before);
    };
  };
  const std::string jan5 = "2026-01-05T00:00:00Z", jan9 = "2026-01-09T00:00:00Z";
  using Wanted = std::function<bool(const bj::value&)>;
  const auto both = [](Wanted a, Wanted b) { return [=](const bj::value& task) { return a(task) && b(task); }; };
  const std::vector<std::pair<std::string, Wanted>> cases{
      {"status=done", is("status", {"done"})},
      {"status=done,review", is("status", {"done", "review"})},
      {"priority=low,urgent", is("priority", {"low", "urgent"})},
      {"assigned_to=" + user, is("assigned_to", {user})},
      {"unassigned=true", is("assigned_to", {"null"})},
      {"unassigned=false", is("assigned_to", {user})},
      {"tags_any=a,c", tagged({"a", "c"}, false)},
      {"tags_all=a,b", tagged({"a", "b"}, true)},
      {"due_from=" + jan5, due(jan5, "")},
      {"due_before=" + jan9, due("", jan9)},
      {"due_from=" + jan5 + "&due_before=" + jan9, due(jan5, jan9)},
      {"status=todo,done&tags_any=b&due_before=" + jan9,
       both(is("status", {"todo", "done"}), both(tagged({"b"}, false), due("", jan9)))},
      {"external_id=nothing", [](const bj::value&) { return false; }},
  };
  for (const auto& [filter, wanted] : cases) {
    SCOPED_TRACE(filter);
    const auto found = expected("due_date", false, wanted);
    EXPECT_EQ(ids(list("limit=13&" + filter)), found);
    EXPECT_EQ(ids("/organizations/" + organization + "/tasks?limit=13&sort=-created_at&" + filter),
              expected("created_at", true, wanted));
    if (filter.find("external_id") == std::string::npos) {
      EXPECT_FALSE(found.empty());
      EXPECT_LT(found.size(), 250u);
    }
  }
}

TEST_F(ManyTasks, NeitherRepeatNorSkipWhatStaysWhileOthersComeAndGo) {
  const auto whole = expected("due_date", false, [](const bj::value&) { return true; });
  auto database = stack.database();
  std::vector<std::string> seen;
  std::string cursor;
  do {
    const auto page = ada->get(list("limit=50" + (cursor.empty() ? "" : "&cursor=" + cursor))).json();
    for (const auto& task : page.at("data").as_array()) seen.push_back(text_of(task, "id"));
    cursor = page.at("next_cursor").is_null() ? "" : text_of(page, "next_cursor");
    // Something before the cursor comes, and what the cursor stands on goes.
    make_task(*ada, project, R"({"title":"first","due_date":"2000-01-01T00:00:00Z"})");
    database.run("delete from tasks where id = '" + seen.back() + "'");
  } while (!cursor.empty());
  EXPECT_EQ(seen, whole);
}

TEST_F(ManyTasks, RefuseCursorsOfAnotherOrderAndMadeUpOnes) {
  const auto cursor = text_of(ada->get(list("limit=5&sort=created_at")), "next_cursor");
  EXPECT_EQ(ada->get(list("sort=created_at&cursor=" + cursor)).status, 200u);
  for (const auto& query : {"sort=-created_at&cursor=" + cursor, "sort=due_date&cursor=" + cursor, "cursor=" + cursor,
                            std::string("cursor="), std::string("cursor=x"), "cursor=" + cursor.substr(3),
                            std::string("cursor=Zm9vCjEyCg")}) {
    const auto refused = ada->get(list(query));
    EXPECT_EQ(refused.status, 422u) << query;
    EXPECT_EQ(text_of(refused.json().at("errors").at(0), "pointer"), "?cursor");
  }
  for (const auto* query : {"limit=0", "limit=201", "limit=x", "limit=", "sort=title", "sort=", "sort=due_date%20desc",
                            "status=nope", "status=done,nope", "assigned_to=x", "unassigned=1", "due_from=now",
                            "due_before=infinity", "color=red", "tags_any=%00", "tags_any="}) {
    const auto reply = ada->get(list(query));
    if (std::string_view(query) == "tags_any=") {
      EXPECT_EQ(reply.status, 200u) << "no tag at all is an empty choice";
    } else {
      EXPECT_TRUE(reply.status == 422 || reply.status == 400) << query << ": " << reply.status;
    }
  }
  EXPECT_EQ(ada->get(list("limit=1&limit=2")).status, 400u);
}

// -- the record

TEST(TheRecord, OfAThingStaysReadableAfterItIsDeleted) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto bob = colleague(stack, *ada, id, "bob", "member");
  const auto project = make_project(*ada, id);
  const auto task = make_task(*ada, project);
  ada->patch("/tasks/" + task, R"({"title":"Fill"})");
  ada->del("/tasks/" + task);
  for (auto* who : {ada.get(), bob.get()}) {
    const auto entries = who->all("/tasks/" + task + "/audit?limit=1");
    ASSERT_EQ(entries.size(), 3u);
    EXPECT_EQ(text_of(entries[0], "action"), "delete");
    EXPECT_EQ(text_of(entries[0].at("old_values"), "title"), "Fill");
    EXPECT_EQ(text_of(entries[1], "action"), "update");
    EXPECT_EQ(entries[1].at("old_values"), bj::parse(R"({"title":"Dig","version":1})"));
    EXPECT_EQ(entries[1].at("new_values"), bj::parse(R"({"title":"Fill","version":2})"));
    EXPECT_EQ(text_of(entries[2], "action"), "create");
    EXPECT_EQ(text_of(entries[2], "user_id"), me(*ada));
    EXPECT_EQ(text_of(entries[2], "ip_address"), who == ada.get() ? "127.0.0.1" : "null");
  }
  ada->del("/projects/" + project);
  EXPECT_EQ(bob->all("/projects/" + project + "/audit").size(), 2u);
  const auto stranger = stack.person("stranger");
  EXPECT_EQ(stranger->get("/tasks/" + task + "/audit").status, 404u);
  EXPECT_EQ(bob->get("/organizations/" + id + "/audit").status, 403u);
}

TEST(TheRecord, OfAnOrganizationIsFilteredAndPaged) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto id = make_organization(*ada, "acme");
  const auto project = make_project(*ada, id);
  const auto task = make_task(*ada, project);
  const auto changed =
      ada->patch("/tasks/" + task, R"({"title":"Fill"})", {"X-Request-Id: my-own-request-7", "User-Agent: spade/1"});
  EXPECT_EQ(changed.header("x-request-id"), "my-own-request-7");
  const auto list = "/organizations/" + id + "/audit";
  const auto whole = ada->all(list);
  EXPECT_EQ(whole.size(), 5u) << "organization, membership, project, task, change";
  EXPECT_EQ(ada->all(list + "?limit=2"), whole);
  EXPECT_EQ(ada->all(list + "?limit=2&sort=position"), std::vector(whole.rbegin(), whole.rend()));
  const auto one = ada->all(list + "?request_id=my-own-request-7");
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(text_of(one[0], "user_agent"), "spade/1");
  EXPECT_EQ(ada->all(list + "?entity_type=tasks").size(), 2u);
  EXPECT_EQ(ada->all(list + "?entity_id=" + project).size(), 1u);
  EXPECT_EQ(ada->all(list + "?user_id=" + me(*ada)).size(), 5u);
  EXPECT_EQ(ada->all(list + "?before=" + text_of(whole[0], "created_at")).size(), 4u);
  EXPECT_EQ(ada->all(list + "?from=" + text_of(whole[0], "created_at")).size(), 1u);
  EXPECT_EQ(ada->get(list + "?entity_type=passwords").status, 422u);
}

TEST(TheRecord, OfOneselfHoldsLoginsAndLogouts) {
  const Stack stack;
  const auto ada = stack.person("ada");
  stack.with_token(text_of(ada->post("/sessions", credentials("ada")), "token"))->del("/session");
  std::vector<std::string> actions;
  for (const auto& entry : ada->all("/me/audit?sort=position")) actions.push_back(text_of(entry, "action"));
  EXPECT_EQ(actions, (std::vector<std::string>{"create", "create", "login", "login", "logout"}));
}

// -- the protocol

TEST(TheServer, AnswersHeadLikeGetWithoutTheBody) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto get = ada->get("/me"), head = ada->send("HEAD", "/me");
  EXPECT_EQ(head.status, 200u);
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.header("content-length"), get.header("content-length"));
  EXPECT_EQ(head.header("etag"), get.header("etag"));
  EXPECT_EQ(head.header("cache-control"), "no-store");
  EXPECT_EQ(ada->get("/me").status, 200u) << "the connection is still in step";
}

TEST(TheServer, SaysWhatIsWrongWithARequest) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto wrong_method = ada->send("PUT", "/me", "{}");
  EXPECT_EQ(wrong_method.status, 405u);
  EXPECT_EQ(wrong_method.header("allow"), "GET, HEAD, PATCH");
  EXPECT_EQ(ada->get("/nothing").status, 404u);
  EXPECT_EQ(ada->get("//nothing").status, 404u);
  EXPECT_EQ(ada->get("/organizations/not-an-id").status, 404u);
  EXPECT_EQ(ada->send("POST", "/organizations", "a=b", {"Content-Type: application/x-www-form-urlencoded"}).status,
            415u);
  EXPECT_EQ(ada->send("POST", "/organizations", "{}", {"Content-Type: application/merge-patch+json"}).status, 415u);
  EXPECT_EQ(ada->send("POST", "/organizations", R"({"name":"A","slug":"aa"})",
                      {"Content-Type: APPLICATION/json ; charset=utf-8"})
                .status,
            201u);
  EXPECT_EQ(ada->post("/organizations", "").status, 415u);
  EXPECT_EQ(ada->post("/organizations", "{").status, 400u);
  EXPECT_EQ(ada->get("/me?x=1").status, 422u);
  EXPECT_EQ(ada->send("GET", "/me", "{}").status, 400u);
}

TEST(TheServer, RefusesBodiesThatAreTooLarge) {
  const Stack stack;
  const auto ada = stack.person("ada");
  EXPECT_EQ(ada->post("/organizations", R"({"name":")" + std::string(2 << 20, 'x') + "\"}").status, 413u);
  EXPECT_EQ(ada->get("/me").status, 200u);
}

TEST(TheServer, ServesItsDescriptionItsReferenceAndItsHealth) {
  const Stack stack;
  auto client = stack.client();
  EXPECT_EQ(client.get("//healthz").body, R"({"status":"ok"})");
  EXPECT_EQ(client.get("//readyz").body, R"({"status":"ready"})");
  EXPECT_EQ(client.get("//openapi.json").json(), stack.contract().document());
  EXPECT_EQ(client.get("//").header("location"), "/api/docs");
  const auto page = client.get("//api/docs");
  EXPECT_EQ(page.status, 200u);
  EXPECT_TRUE(page.header("content-type").starts_with("text/html")) << page.header("content-type");
  EXPECT_NE(page.header("content-security-policy").find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(client.get("//api/docs", {"If-None-Match: " + page.header("etag")}).status, 304u);
  // Everything that the page names is served, and nothing of it from elsewhere.
  EXPECT_EQ(page.body.find("://"), std::string::npos);
  unsigned files = 0;
  for (const std::string_view attribute : {"src=\"", "href=\""}) {
    for (auto at = page.body.find(attribute); at != std::string::npos; at = page.body.find(attribute, at + 1)) {
      const auto begin = at + attribute.size();
      const auto file = page.body.substr(begin, page.body.find('"', begin) - begin);
      if (file.starts_with("data:") || file.starts_with("#")) continue;
      const auto path =
          file.starts_with("/") ? "/" + file : "//api/docs/" + file.substr(file.starts_with("./") ? 2 : 0);
      EXPECT_EQ(client.get(path).status, 200u) << file;
      ++files;
    }
  }
  EXPECT_GT(files, 0u);
  client.get("/me");
  const auto metrics = client.get("//metrics");
  EXPECT_EQ(metrics.status, 200u);
  EXPECT_NE(metrics.body.find("account.show"), std::string::npos) << metrics.body.substr(0, 500);
}

TEST(TheServer, FindsItsWayBackWhenItsDatabaseConnectionsBreak) {
  const Stack stack;
  const auto ada = stack.person("ada");
  auto database = stack.database();
  database.run(
      "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'cairn_app' and datname = "
      "current_database()");
  // Requests may be refused until the connections are back, but only as unavailable, and only for a moment.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  unsigned status = 0;
  while (status != 201 && std::chrono::steady_clock::now() < end) {
    status = ada->post("/organizations", R"({"name":"A","slug":"again"})").status;
    if (status != 201) { EXPECT_EQ(status, 503u); }
  }
  EXPECT_EQ(status, 201u);
  // Reads have connections of their own, which come back at their own time.
  for (status = 0; status != 200 && std::chrono::steady_clock::now() < end;) {
    status = ada->get("/me").status;
    if (status != 200) { EXPECT_EQ(status, 503u); }
  }
  EXPECT_EQ(status, 200u);
}

}  // namespace
}  // namespace cairn
