// What was is read as it was.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <random>

#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace support;

// A row without the time that the record does not have.
bj::value bare(bj::value row) {
  row.as_object().erase("updated_at");
  return row;
}
std::vector<bj::value> bare(std::vector<bj::value> rows) {
  for (auto& row : rows) row = bare(std::move(row));
  return rows;
}

class ThePast : public testing::Test {
 protected:
  const Stack stack;
  Database database = stack.database();
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme");
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
  std::string root = "/organizations/" + organization;
  std::string project = make_project(*ada, organization);
};

TEST_F(ThePast, OfAListIsWhatTheListWasAfterAnyChanges) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto any = [&](const std::string& table) {
    return database.value("select coalesce((select id from " + table +
                          " order by random() limit 1), gen_random_uuid())");
  };
  struct Shot {
    std::string path, token;
    std::vector<bj::value> rows;
  };
  std::vector<Shot> shots;
  const std::vector<std::string> queries{"?limit=3", "?limit=2&sort=-created_at", "?limit=50&status=todo,done",
                                         "?limit=3&unassigned=true&sort=created_at", "?tags_any=red"};
  for (unsigned step = 0; step < 60; ++step) {
    for (auto n = random() % 4; n-- > 0;) {
      switch (random() % 8) {
        case 0: ada->del("/tasks/" + any("tasks")); break;
        case 1:
          ada->patch("/tasks/" + any("tasks"), fmt::format(R"({{"status":"done","tags":["red"],"assigned_to":{}}})",
                                                           random() % 2 ? "null" : '"' + me(*bob) + '"'));
          break;
        case 2: ada->patch("/projects/" + any("projects"), R"({"name":"Tower","budget":"1.25"})"); break;
        case 3: make_project(*ada, organization, "organization", fmt::format("P{}", step)); break;
        case 4:
          if (random() % 4 == 0) ada->del("/projects/" + any("projects"));
          break;
        case 5: ada->patch("/tasks/" + any("tasks"), R"({"due_date":"2030-01-01T00:00:00Z"})"); break;
        default: ada->post("/projects/" + any("projects") + "/tasks", fmt::format(R"({{"title":"T{}"}})", step));
      }
    }
    Shot shot;
    const auto some = any("projects");
    shot.path = random() % 3 == 0                      ? root + "/projects?limit=2"
                : random() % 2 == 0 && some != project ? "/projects/" + some + "/tasks" + queries[random() % 5]
                                                       : root + "/tasks" + queries[random() % 5];
    if (ada->get(shot.path).status != 200) continue;
    shot.rows = bare(ada->all(shot.path));
    shot.token =
        ada->get(shot.path + (shot.path.find('?') == std::string::npos ? "?" : "&") + "as_of=now").header("as-of");
    ASSERT_TRUE(shot.token.starts_with("snapshot-")) << shot.token;
    shots.push_back(std::move(shot));
  }
  EXPECT_GT(shots.size(), 30u);
  for (const auto& shot : shots) {
    const auto path = shot.path + (shot.path.find('?') == std::string::npos ? "?" : "&") + "as_of=" + shot.token;
    EXPECT_EQ(bare(ada->all(path)), shot.rows) << path;
    for (const auto& row : shot.rows) {
      const auto kind = row.as_object().contains("title") ? "/tasks/" : "/projects/";
      EXPECT_EQ(bare(ada->get(kind + text_of(row, "id") + "?as_of=" + shot.token).json()), row);
    }
  }
}

TEST_F(ThePast, IsGivenByAnInstantToo) {
  const auto task = make_task(*ada, project);
  const auto made_at = text_of(ada->all("/tasks/" + task + "/history").front(), "created_at");
  ada->patch("/tasks/" + task, R"({"title":"Fill"})");
  ada->del("/tasks/" + task);
  const auto then = ada->get("/tasks/" + task + "?as_of=" + made_at);
  EXPECT_EQ(text_of(then, "title"), "Dig");
  EXPECT_EQ(then.header("as-of"), made_at);
  EXPECT_EQ(then.header("etag"), "\"1\"");
  EXPECT_EQ(ada->get("/tasks/" + task + "?as_of=2026-01-01T00:00:00Z").status, 404u) << "not there yet";
  EXPECT_EQ(ada->get("/tasks/" + task + "?as_of=now").status, 404u) << "not there any more";
  EXPECT_EQ(ada->all("/projects/" + project + "/tasks?as_of=" + made_at).size(), 1u);
  EXPECT_EQ(ada->get("/projects/" + project + "/tasks?as_of=2026-01-01T00:00:00Z").status, 404u);
  const auto stranger = stack.person("stranger");
  EXPECT_EQ(stranger->get("/tasks/" + task + "?as_of=" + made_at).status, 404u);
  EXPECT_EQ(stranger->get(root + "/tasks?as_of=" + made_at).status, 404u);
  for (const auto* wrong : {"yesterday", "snapshot-", "snapshot-1:2", "snapshot-5:4:", "snapshot-1:9:3,2",
                            "snapshot-1:3:3", "snapshot-01:3:", "snapshot-99999999999999999999:1:", "infinity", ""})
    EXPECT_EQ(ada->get("/tasks/" + task + "?as_of=" + wrong).status, 422u) << wrong;
  EXPECT_EQ(ada->get(root + "/tasks?as_of=snapshot-9000000000000000000:9000000000000000000:").status, 200u);
}

TEST_F(ThePast, HasMembersAndOrganizationsAsTheyWere) {
  const auto token = ada->get(root + "?as_of=now").header("as-of");
  ada->patch(root, R"({"description":"changed"})");
  ada->patch(root + "/members/" + me(*bob), R"({"role":"manager","permissions":["-task.create"]})");
  ada->del(root + "/members/" + me(*bob));
  EXPECT_EQ(ada->all(root + "/members").size(), 1u);
  const auto members = ada->all(root + "/members?as_of=" + token);
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(text_of(members[1], "email"), Stack::email("bob"));
  EXPECT_EQ(text_of(members[1], "role"), "member");
  EXPECT_EQ(text_of(ada->get(root + "/members/" + me(*bob) + "?as_of=" + token), "permissions"), "[]");
  EXPECT_EQ(text_of(ada->get(root + "?as_of=" + token), "description"), "null");
  EXPECT_EQ(text_of(ada->all("/organizations?as_of=" + token).front(), "description"), "null");
  EXPECT_EQ(bob->get(root + "?as_of=" + token).status, 404u) << "who may see it is who may now";
}

TEST_F(ThePast, OfAProjectIsComparedWithWhatItBecame) {
  const auto kept = make_task(*ada, project), gone = make_task(*ada, project);
  const auto from = ada->get(root + "?as_of=now").header("as-of");
  ada->patch("/tasks/" + kept, R"({"title":"Fill"})");
  ada->patch("/tasks/" + kept, R"({"title":"Heap","status":"done"})");
  ada->patch("/projects/" + project, R"({"name":"Tower"})");
  ada->patch("/projects/" + project, R"({"name":"Bridge"})");
  ada->del("/tasks/" + gone);
  const auto fresh = make_task(*ada, project), short_lived = make_task(*ada, project);
  ada->del("/tasks/" + short_lived);
  make_task(*ada, make_project(*ada, organization, "organization", "Other"));
  const auto to = ada->get(root + "?as_of=now").header("as-of");
  ada->patch("/tasks/" + fresh, R"({"title":"Later"})");
  const auto path = "/projects/" + project + "/diff?limit=1&from=" + from + "&to=" + to;
  const auto rows = ada->all(path);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(text_of(rows[0], "id"), kept);
  EXPECT_EQ(rows[0].at("changes"), bj::parse(R"([{"field":"status","old":"todo","new":"done"},
                                                 {"field":"title","old":"Dig","new":"Heap"}])"));
  EXPECT_EQ(text_of(rows[1], "action") + text_of(rows[1], "name"), "deleteDig");
  EXPECT_EQ(text_of(rows[2], "action") + text_of(rows[2], "id"), "create" + fresh);
  EXPECT_EQ(bob->all(path + "&action=delete").size(), 1u);
  EXPECT_EQ(ada->all("/projects/" + project + "/diff?from=" + to).size(), 1u);
  EXPECT_EQ(ada->get("/projects/" + project + "/diff").status, 422u);
  const auto stranger = stack.person("stranger");
  EXPECT_EQ(stranger->get(path).status, 404u);
}

TEST_F(ThePast, HidesWhatIsHiddenNow) {
  const auto secret = make_project(*ada, organization, "private");
  const auto task = make_task(*ada, secret);
  const auto token = ada->get(root + "?as_of=now").header("as-of");
  ada->patch("/tasks/" + task, R"({"title":"Fill"})");
  for (const auto& path : {"/tasks/" + task, "/projects/" + secret, "/projects/" + secret + "/tasks"})
    EXPECT_EQ(bob->get(path + "?as_of=" + token).status, 404u) << path;
  EXPECT_EQ(bob->all(root + "/tasks?as_of=" + token).size(), 0u);
  EXPECT_EQ(bob->all(root + "/projects?as_of=" + token).size(), 1u);
  // What is gone is for who sees all that was recorded of it.
  const auto gone = make_task(*ada, project);
  const auto then = ada->get(root + "?as_of=now").header("as-of");
  ada->patch("/tasks/" + gone, R"({"title":"Fill"})");
  ada->del("/tasks/" + gone);
  EXPECT_EQ(bob->get("/tasks/" + gone + "?as_of=" + then).status, 404u);
  EXPECT_EQ(bob->all(root + "/tasks?as_of=" + then).size(), 0u);
  EXPECT_EQ(text_of(ada->get("/tasks/" + gone + "?as_of=" + then), "title"), "Dig");
  // Who may read the record of what they do not see reads no half of it.
  ada->patch(root + "/members/" + me(*bob), R"({"permissions":["audit.view"]})");
  EXPECT_EQ(bob->get("/tasks/" + task + "?as_of=" + token).status, 404u);
  EXPECT_EQ(bob->all(root + "/tasks?as_of=" + token).size(), 0u);
}

// -- what is purged

TEST_F(ThePast, OfWhatStayedInTheTrashTooLongHasNoWords) {
  const auto task = make_task(*ada, project, R"({"title":"Hush","description":"hush hush","tags":["hush"]})");
  ada->patch("/tasks/" + task, R"({"title":"Hush more"})");
  ada->del("/tasks/" + task);
  const auto young = make_task(*ada, project, R"({"title":"Young"})");
  ada->del("/tasks/" + young);
  const auto digest = database.value(
      "select encode(sha256(convert_to(old_values::text, 'UTF8')), 'hex') from audit_logs "
      "where action = 'delete' and entity_id = '" +
      task + "'");
  database.run("update audit_logs set created_at = created_at - interval '31 days' where entity_id = '" + task + "'");
  auto app = stack.app_database();
  app.run("set app.system = 'trash'");
  EXPECT_EQ(app.value("select app.empty_trash()"), "t");
  EXPECT_EQ(app.value("select app.empty_trash()"), "f");
  EXPECT_EQ(database.value("select count(*) from audit_logs where concat(old_values, new_values) ilike '%hush%'"), "0");
  EXPECT_EQ(
      database.value("select metadata->'redacted'->>'old' from audit_logs where action = 'delete' and entity_id = '" +
                     task + "'"),
      digest);
  const auto entries = ada->all("/tasks/" + task + "/history");
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(text_of(entries[0], "event") + text_of(entries[0], "actor"), "purgedtrash");
  EXPECT_EQ(ada->post(root + "/trash/" + task + "/restore", "").status, 404u);
  EXPECT_EQ(ada->post(root + "/trash/" + young + "/restore", "").status, 200u);
}

}  // namespace
}  // namespace cairn
