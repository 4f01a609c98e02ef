// What was done is undone by changes that go the other way, and what was deleted comes back as it was.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <random>

#include "support/record.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace support;

class Undoing : public testing::Test {
 protected:
  // All rows of the organization; `exactly` with versions and times, and whether nothing was ever private.
  std::vector<std::vector<std::string>> tables(bool exactly = false) {
    std::string all;
    for (const auto* table : {"tasks", "projects", "project_members", "user_organizations"})
      all += fmt::format("{}select '{}', to_jsonb(t) - '{}'::text[] as row from {} t", all.empty() ? "" : " union all ",
                         table, exactly ? "{}" : "{version,updated_at,open}", table);
    return database.rows("select * from (" + all + ") x order by 1, 2");
  }
  Reply undo(Client& who, const std::string& what, const std::string& request = "the-undo-request") {
    return who.send("POST", "/organizations/" + organization + "/undo", "{" + what + "}", {"X-Request-Id: " + request});
  }
  static std::string counts(const Reply& reply) {
    if (reply.status != 200) return reply.body;
    return fmt::format("{} created, {} changed, {} deleted, {} conflicts", text_of(reply, "created"),
                       text_of(reply, "changed"), text_of(reply, "deleted"), text_of(reply, "conflict_count"));
  }
  static std::vector<std::string> reasons(const Reply& reply) {
    std::vector<std::string> found;
    const auto body = reply.json();
    for (const auto& conflict : body.at("conflicts").as_array())
      found.push_back(text_of(conflict, "reason") + " " + text_of(conflict, "field"));
    return found;
  }
  std::string last_change(const std::string& path) { return text_of(ada->all(path + "/history").front(), "id"); }

  const Stack stack;
  Database database = stack.database();
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme");
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
  std::string members = "/organizations/" + organization + "/members/",
              trash = "/organizations/" + organization + "/trash";
  std::string project = make_project(*ada, organization);
  std::string task = make_task(*ada, project, fmt::format(R"({{"title":"Dig","assigned_to":"{}"}})", me(*bob)));
};

TEST_F(Undoing, SetsBackTheFieldsOfOneChangeUnlessTheyChangedSince) {
  ada->patch("/tasks/" + task, R"({"title":"Fill","status":"done"})");
  const auto change = last_change("/tasks/" + task);
  bob->patch("/tasks/" + task, R"({"title":"Heap"})");
  const auto before = tables(true);
  const auto rehearsal = undo(*ada, fmt::format(R"("change":"{}","dry_run":true)", change));
  EXPECT_EQ(counts(rehearsal), "0 created, 1 changed, 0 deleted, 1 conflicts");
  EXPECT_EQ(tables(true), before);
  EXPECT_EQ(
      text_of(rehearsal, "changes"),
      fmt::format(R"([{{"name":"Heap","action":"update","changes":[{{"new":"todo","old":"done","field":"status"}}],)"
                  R"("entity_id":"{}","entity_type":"tasks"}}])",
                  task));
  const auto undone = undo(*ada, fmt::format(R"("change":"{}")", change));
  EXPECT_EQ(text_of(undone, "changes"), text_of(rehearsal, "changes"));
  EXPECT_EQ(reasons(undone), (std::vector<std::string>{"changed title"}));
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "title"), "Heap");
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "status"), "todo");
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "version"), "4");
  const auto forced = undo(*ada, fmt::format(R"("change":"{}","force":true)", change));
  EXPECT_EQ(counts(forced), "0 created, 1 changed, 0 deleted, 1 conflicts");
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "title"), "Dig");
  for (const auto* force : {"false", "true"})
    EXPECT_EQ(counts(undo(*ada, fmt::format(R"("change":"{}","force":{})", change, force))),
              "0 created, 0 changed, 0 deleted, 0 conflicts");
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(Undoing, OfWhatSomebodyDidSinceAnInstantTakesNobodyElses) {
  const auto since = text_of(ada->all("/tasks/" + task + "/history").front(), "created_at");
  bob->patch("/tasks/" + task, R"({"priority":"urgent"})");
  const auto of_bob = make_task(*bob, project), of_ada = make_task(*ada, project);
  bob->patch("/tasks/" + of_ada, R"({"title":"Bob was here"})");
  const auto selection = fmt::format(R"("actor":"{}","since":"{}")", me(*bob), since);
  EXPECT_EQ(counts(undo(*ada, selection)), "0 created, 2 changed, 1 deleted, 0 conflicts");
  EXPECT_EQ(ada->get("/tasks/" + of_bob).status, 404u);
  EXPECT_EQ(text_of(ada->get("/tasks/" + of_ada), "title"), "Dig");
  EXPECT_EQ(counts(undo(*ada, R"("request":"the-undo-request")", "undo-of-the-undo")),
            "1 created, 2 changed, 0 deleted, 0 conflicts");
  EXPECT_EQ(text_of(ada->get("/tasks/" + of_ada), "title"), "Bob was here");
}

TEST_F(Undoing, DeletesNothingThatOthersHaveChangedOrFilled) {
  const std::vector<std::string> request{"X-Request-Id: many-things"};
  const auto made_project =
      text_of(ada->send("POST", "/organizations/" + organization + "/projects", R"({"name":"Tower"})", request), "id");
  const auto made_task =
      text_of(ada->send("POST", "/projects/" + project + "/tasks", R"({"title":"Lift"})", request), "id");
  bob->patch("/tasks/" + made_task, R"({"title":"Bob's"})");
  make_task(*bob, made_project);
  const auto undone = undo(*ada, R"("request":"many-things")");
  EXPECT_EQ(counts(undone), "0 created, 0 changed, 0 deleted, 2 conflicts");
  EXPECT_EQ(reasons(undone), (std::vector<std::string>{"in_use null", "changed null"}));
  EXPECT_EQ(counts(undo(*ada, R"("request":"many-things","force":true)")),
            "0 created, 0 changed, 2 deleted, 2 conflicts");
}

TEST_F(Undoing, NeedsThePermissionsThatTheChangesNeed) {
  ada->patch("/tasks/" + task, R"({"title":"Fill"})");
  const auto change = fmt::format(R"("change":"{}")", last_change("/tasks/" + task));
  EXPECT_EQ(undo(*bob, change).status, 404u) << "who may not read the whole record undoes what is their own";
  const auto own = make_task(*bob, project);
  const auto make = fmt::format(R"("change":"{}")", last_change("/tasks/" + own));
  ada->patch(members + me(*bob), R"({"permissions":["-task.edit"]})");
  const auto before = tables(true);
  EXPECT_EQ(undo(*bob, make).status, 403u);
  EXPECT_EQ(tables(true), before);
  ada->patch(members + me(*bob), R"({"permissions":[]})");
  EXPECT_EQ(counts(undo(*bob, make)), "0 created, 0 changed, 1 deleted, 0 conflicts");
  // A manager who may read the record, and may not add members.
  ada->del(members + me(*bob));
  const auto leaving = fmt::format(R"("change":"{}")", last_change(members + me(*bob)));
  const auto eve = colleague(stack, *ada, organization, "eve", "manager");
  ada->patch(members + me(*eve), R"({"permissions":["audit.view"]})");
  EXPECT_EQ(undo(*eve, leaving).status, 403u);
  EXPECT_EQ(counts(undo(*ada, leaving)), "1 created, 0 changed, 0 deleted, 0 conflicts");
  const auto stranger = stack.person("stranger");
  EXPECT_EQ(undo(*stranger, change).status, 404u);
}

TEST_F(Undoing, TakesExactlyOneSelection) {
  for (const auto* body : {"", R"("request":"x","actor":"00000000-0000-4000-8000-000000000001")",
                           R"("actor":"00000000-0000-4000-8000-000000000001")",
                           R"("request":"x","since":"2026-01-01T00:00:00Z")", R"("since":"2026-01-01T00:00:00Z")"})
    EXPECT_EQ(undo(*ada, body).status, 422u) << body;
  EXPECT_EQ(undo(*ada, R"("request":"nobody-ever-made")").status, 404u);
}

TEST_F(Undoing, OfAMembersRemovalBringsBackTheirProjectsAndTasks) {
  const auto secret = make_project(*ada, organization, "private");
  add_to_project(*ada, secret, me(*bob), "contributor");
  const auto before = tables();
  ada->send("DELETE", members + me(*bob), {}, {"X-Request-Id: bob-goes"});
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "assigned_to"), "null");
  EXPECT_EQ(bob->get("/projects/" + secret).status, 404u);
  EXPECT_EQ(counts(undo(*ada, R"("request":"bob-goes")")), "2 created, 1 changed, 0 deleted, 0 conflicts");
  EXPECT_EQ(tables(), before);
  EXPECT_EQ(bob->get("/projects/" + secret).status, 200u);
}

TEST_F(Undoing, UndoneIsNoChangeAtAll) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto any = [&](const std::string& query) {
    return database.value("select coalesce((" + query + " order by random() limit 1), gen_random_uuid())");
  };
  for (unsigned round = 0; round < 12; ++round) {
    const auto request = fmt::format("random-request-{}", round);
    const std::vector<std::string> header{"X-Request-Id: " + request};
    const auto before = tables();
    for (auto n = 1 + random() % 6; n-- > 0;) {
      const auto some_task = any("select id from tasks"), some_project = any("select id from projects");
      switch (random() % 8) {
        case 0:
          ada->send("POST", "/organizations/" + organization + "/projects",
                    random() % 2 ? R"({"name":"Tower"})" : R"({"name":"Vault","visibility":"private"})", header);
          break;
        case 1: ada->send("DELETE", "/projects/" + some_project, {}, header); break;
        case 2: ada->send("DELETE", "/tasks/" + some_task, {}, header); break;
        case 3:
          ada->send("PATCH", "/projects/" + some_project,
                    random() % 2 ? R"({"visibility":"private","budget":"12.50"})" : R"({"visibility":"organization"})",
                    header);
          break;
        case 4:
          ada->send("PATCH", "/tasks/" + some_task,
                    fmt::format(R"({{"estimated_hours":{},"tags":["a{}"],"assigned_to":null}})", random() % 5, n),
                    header);
          break;
        case 5:
          if (random() % 3 == 0) ada->send("DELETE", members + me(*bob), {}, header);
          break;
        default:
          ada->send("POST", "/projects/" + some_project + "/tasks",
                    fmt::format(R"({{"title":"T{}","due_date":"2030-01-01T00:00:00Z","metadata":{{"n":1.50}}}})", n),
                    header);
      }
    }
    const auto after = tables();
    const auto was = tables(true);
    const auto rehearsal = undo(*ada, fmt::format(R"("request":"{}","dry_run":true)", request));
    EXPECT_EQ(tables(true), was);
    const auto undone = undo(*ada, fmt::format(R"("request":"{}")", request), request + "-undone");
    if (undone.status == 404) continue;  // what was to be changed was not there
    EXPECT_EQ(counts(undone), counts(rehearsal));
    EXPECT_EQ(text_of(undone, "conflict_count"), "0") << undone.body;
    EXPECT_EQ(tables(), before) << request;
    const auto redone = undo(*ada, fmt::format(R"("request":"{}-undone")", request));
    if (redone.status == 200) { EXPECT_EQ(text_of(redone, "conflict_count"), "0") << redone.body; }
    EXPECT_EQ(tables(), after) << request;
    if (database.value("select count(*) from user_organizations") == "1")
      made(ada->post("/organizations/" + organization + "/members",
                     fmt::format(R"({{"email":"{}"}})", Stack::email("bob"))),
           "user_id");
    if (database.value("select count(*) from projects") == "0") make_project(*ada, organization);
  }
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(Undoing, TheTrashBringsBackAProjectWithItsTasksAsTheyWere) {
  const auto other = make_task(*ada, project);
  ada->del("/tasks/" + other);
  const auto whole = tables(true);
  ada->del("/projects/" + project);
  auto listed = bob->all(trash);
  ASSERT_EQ(listed.size(), 2u) << "not the task that went with its project";
  EXPECT_EQ(text_of(listed[0], "name"), "Bridge");
  EXPECT_EQ(text_of(listed[0], "deleted_by"), me(*ada));
  EXPECT_EQ(bob->all(trash + "?entity_type=tasks").size(), 1u);
  EXPECT_EQ(ada->all(trash + "?project_id=" + project).size(), 1u);
  EXPECT_EQ(bob->post(trash + "/" + project + "/restore", "").status, 403u) << "members do not create projects";
  const auto lost = ada->post(trash + "/" + other + "/restore", "");
  EXPECT_EQ(code(lost), "not_restorable");
  const auto restored = ada->post(trash + "/" + project + "/restore", "");
  EXPECT_EQ(counts(restored), "2 created, 0 changed, 0 deleted, 0 conflicts");
  EXPECT_EQ(tables(true), whole);
  EXPECT_EQ(bob->post(trash + "/" + other + "/restore", "").status, 200u);
  EXPECT_EQ(ada->post(trash + "/" + other + "/restore", "").status, 404u);
  EXPECT_EQ(ada->all(trash).size(), 0u);
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(Undoing, TheTrashSaysWhatCannotComeBack) {
  const auto keyed = make_task(*ada, project, R"({"title":"Key","external_id":"K-1"})");
  ada->del("/tasks/" + keyed);
  ada->del("/tasks/" + task);
  make_task(*ada, project, R"({"title":"Other","external_id":"K-1"})");
  ada->del(members + me(*bob));
  const auto first = ada->post(trash + "/" + keyed + "/restore", ""),
             second = ada->post(trash + "/" + task + "/restore", "");
  EXPECT_EQ(reasons(first), (std::vector<std::string>{"taken external_id"}));
  EXPECT_EQ(reasons(second), (std::vector<std::string>{"not_a_member assigned_to"}));
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "assigned_to"), "null");
  EXPECT_EQ(text_of(ada->get("/tasks/" + task), "version"), "2") << "it is not what version 1 was";
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(Undoing, TheTrashHidesWhatWasInPrivateProjects) {
  const auto secret = make_project(*ada, organization, "private");
  const auto hidden = make_task(*ada, secret);
  ada->del("/tasks/" + hidden);
  EXPECT_EQ(bob->all(trash).size(), 0u);
  EXPECT_EQ(bob->post(trash + "/" + hidden + "/restore", "").status, 404u);
  EXPECT_EQ(ada->post(trash + "/" + hidden + "/restore", "").status, 200u);
}

}  // namespace
}  // namespace cairn
