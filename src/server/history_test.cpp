// The record as people and programs read it: by whom, what, in which order.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <atomic>
#include <random>
#include <thread>

#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace support;

std::vector<std::string> column(const std::vector<bj::value>& rows, std::string_view member) {
  std::vector<std::string> values;
  for (const auto& row : rows) values.push_back(text_of(row, member));
  return values;
}

class History : public testing::Test {
 protected:
  const Stack stack;
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme");
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
  std::string project = make_project(*ada, organization);
  std::string task = make_task(*ada, project);
  std::string audit = "/organizations/" + organization + "/audit";
};

TEST_F(History, SaysWhichFieldsChangedAndByWhom) {
  bob->patch("/tasks/" + task, R"({"title":"Fill","tags":["sand"]})", {"User-Agent: spade/1"});
  bob->del("/organizations/" + organization + "/members/" + me(*bob));
  const auto entries = ada->all("/tasks/" + task + "/history");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].at("changes"), bj::parse(R"([{"field":"tags","old":[],"new":["sand"]},
                                                    {"field":"title","old":"Dig","new":"Fill"}])"));
  EXPECT_NE(text_of(entries[0], "user_name"), "null") << "also of who has left";
  EXPECT_EQ(text_of(entries[0], "user_agent"), "spade/1");
  const auto created = text_of(entries[1], "changes");
  EXPECT_NE(created.find(R"({"new":"Dig","old":null,"field":"title"})"), std::string::npos) << created;
  EXPECT_EQ(created.find("version"), std::string::npos);
}

TEST_F(History, TellsWhereFromToWhoMayReadTheWholeRecord) {
  ada->patch("/tasks/" + task, R"({"title":"Fill"})");
  bob->patch("/tasks/" + task, R"({"title":"Heap"})");
  const auto path = "/tasks/" + task + "/history";
  EXPECT_EQ(column(ada->all(path), "ip_address"), std::vector<std::string>(3, "127.0.0.1"));
  EXPECT_EQ(column(bob->all(path), "ip_address"), (std::vector<std::string>{"127.0.0.1", "null", "null"}));
}

TEST_F(History, IsFilteredByActionFieldAddressTextAndToken) {
  ada->patch("/tasks/" + task, R"({"title":"Fill the Hole","status":"done"})");
  const auto token = text_of(ada->post("/me/tokens", R"({"name":"robot","scopes":["read","write_tasks"]})"), "token");
  stack.with_token(token)->patch("/tasks/" + task, R"({"status":"todo"})");
  ada->del("/tasks/" + task);
  const auto count = [&](const std::string& query) { return ada->all(audit + "?entity_type=tasks&" + query).size(); };
  EXPECT_EQ(count("action=update"), 2u);
  EXPECT_EQ(count("action=create,delete"), 2u);
  EXPECT_EQ(count("field=title&action=update"), 1u);
  EXPECT_EQ(count("field=status&action=update"), 2u);
  EXPECT_EQ(count("address=127.0.0.0/8"), 4u);
  EXPECT_EQ(count("address=127.0.0.1"), 4u);
  EXPECT_EQ(count("address=::1"), 0u);
  EXPECT_EQ(ada->get(audit + "?address=127.0.0").status, 422u);
  EXPECT_EQ(ada->get(audit + "?address=fe80::1%25eth0").status, 422u);
  EXPECT_EQ(count("q=the%20hole"), 2u) << "changed to it, and deleted with it";
  EXPECT_EQ(count("q=%25"), 0u);
  const auto by_token = ada->all(audit + "?action=update&user_id=" + me(*ada));
  EXPECT_EQ(count("token_id=" + text_of(by_token[0], "token_id")), 1u);
  EXPECT_EQ(ada->all("/tasks/" + task + "/history?field=status&limit=1").size(), 4u);
}

TEST_F(History, IsExportedWhole) {
  bob->patch("/tasks/" + task, R"({"title":"=1+1, \"two\""})");
  for (unsigned i = 0; i < 205; ++i) ada->patch("/tasks/" + task, fmt::format(R"({{"actual_hours":{}}})", i));
  auto whole = ada->all(audit + "?sort=position");
  const auto lines = ada->get(audit + "/export").body;
  std::string expected;
  for (const auto& row : whole) expected += text_of(row, "id") + "\n";
  std::string found;
  for (std::size_t at = 0; at < lines.size();) {
    const auto end = lines.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    found += text_of(bj::parse(lines.substr(at, end - at)), "id") + "\n";
    at = end + 1;
  }
  EXPECT_EQ(found, expected);
  const auto csv = ada->get(audit + "/export?format=csv&entity_type=tasks&field=title&action=update");
  EXPECT_TRUE(csv.header("content-type").starts_with("text/csv"));
  EXPECT_EQ(std::count(csv.body.begin(), csv.body.end(), '\n'), 2);
  EXPECT_NE(csv.body.find(R"("[{""new"": ""=1+1, \""two\"""", ""old"": ""Dig"", ""field"": ""title""}]")"),
            std::string::npos)
      << csv.body;
  EXPECT_NE(csv.body.find(",changes,organization_id,outcome,operation,reason\r\n"), std::string::npos) << csv.body;
  EXPECT_EQ(bob->get(audit + "/export").status, 403u);
}

TEST_F(History, OfAMemberSpansTheirMemberships) {
  const auto member = "/organizations/" + organization + "/members/" + me(*bob);
  ada->patch(member, R"({"role":"manager"})");
  ada->del(member);
  EXPECT_EQ(ada->all(member + "/history?limit=1").size(), 3u);
  made(
      ada->post("/organizations/" + organization + "/members", fmt::format(R"({{"email":"{}"}})", Stack::email("bob"))),
      "user_id");
  EXPECT_EQ(column(ada->all(member + "/history"), "action"),
            (std::vector<std::string>{"create", "delete", "update", "create"}));
  EXPECT_EQ(ada->get("/organizations/" + organization + "/members/" + Uuid::make().text() + "/history").status, 404u);
  const auto own = ada->all("/organizations/" + organization + "/history");
  EXPECT_EQ(column(own, "entity_type"), (std::vector<std::string>{"organizations"}));
}

// Transactions that overlap, wait, abort and get their xid long before they write.
TEST(APosition, LetsAReaderGoForwardWithoutMissingOrRepeating) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto organization = make_organization(*ada, "acme");
  const auto project = make_project(*ada, organization);
  for (unsigned i = 0; i < 4; ++i) make_task(*ada, project);
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::atomic<unsigned> writing{4};
  std::vector<std::thread> writers;
  for (unsigned w = 0; w < 4; ++w)
    writers.emplace_back([&stack, &writing, w, seed] {
      auto database = stack.database();
      std::mt19937 random(seed + w);
      for (unsigned i = 0; i < 60; ++i) {
        database.run("begin");
        if (random() % 2 == 0) database.run("select pg_current_xact_id()");
        if (random() % 2 == 0) database.run("select pg_sleep(0.001 * random())");
        for (auto n = random() % 3; n-- > 0;)
          database.run(
              "update tasks set actual_hours = coalesce(actual_hours, 0) + 1 where id = (select id from tasks "
              "order by id limit 1)");
        database.run(random() % 5 == 0 ? "rollback" : "commit");
      }
      --writing;
    });

  auto reader = stack.database();
  std::vector<std::vector<std::string>> read;
  std::string after = "('0', 0)";
  for (bool more = true; more;) {
    const bool written = writing == 0;
    const auto rows = reader.rows(fmt::format(
        "select xid, seq, entity_id, old_values->>'actual_hours', new_values->>'actual_hours' from audit_logs where "
        "organization_id = '{}' and xid < pg_snapshot_xmin(pg_current_snapshot()) and (xid, seq) > {} "
        "order by xid, seq limit 7",
        organization, after));
    read.insert(read.end(), rows.begin(), rows.end());
    if (!rows.empty()) after = fmt::format("('{}', {})", rows.back()[0], rows.back()[1]);
    // Somebody else's transaction may still keep the last ones from being read.
    if (rows.empty() && written)
      more =
          reader.value(fmt::format("select count(*) from audit_logs where organization_id = '{}' and (xid, seq) > {}",
                                   organization, after)) != "0";
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(read, reader.rows(fmt::format("select xid, seq, entity_id, old_values->>'actual_hours', "
                                          "new_values->>'actual_hours' from audit_logs where organization_id = '{}' "
                                          "order by xid, seq",
                                          organization)));
  // Of one row, each change by seq begins where the one before ended.
  std::map<long, std::pair<std::string, std::string>> hours;
  for (const auto& row : read)
    if (row[4] != "NULL") hours[std::stol(row[1])] = {row[3], row[4]};
  std::string now = "NULL";
  for (const auto& [seq, change] : hours) {
    EXPECT_EQ(change.first, now) << seq;
    now = change.second;
  }
  EXPECT_GT(hours.size(), 50u);
}

}  // namespace
}  // namespace cairn
