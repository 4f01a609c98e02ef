#include "importer/importer.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/id.hpp"
#include "importer/database.hpp"
#include "support/stack.hpp"

namespace cairn::importer {
namespace {

using testing::HasSubstr;

const std::string profile_text = R"([source]
name = "lab"
key = "No"
encoding = "utf-8 else windows-1252"
[columns]
title = "Summary"
status = "State"
estimated_hours = "Hours"
assigned_to = "Who"
created_by = "Raised"
created_at = "days.Begun"
[values.status]
SHUT = "done"
OPEN = "in_progress"
[projects]
column = "Area"
[joins.days]
file = "days.csv"
key = "No"
[dates]
formats = ["%d-%b-%y"]
[repeat]
into = "workers"
[repeat.columns]
id = "Worker"
)";
const std::string days = "No,Begun\n1,02-Nov-04\n2,03-Nov-04\n2,03-Nov-04\n3,\n9,05-Nov-04\n";
const std::string tasks =
    "No,Summary,State,Hours,Who,Raised,Area,Worker\r\n"
    "1,First,SHUT,1.5,58,42,North,58\r\n"
    "2,\"Caf\xE9, \"\"two\"\"\nlines\",OPEN,7,42,42,South,58\r\n"
    "2,\"Caf\xE9, \"\"two\"\"\nlines\",OPEN,7,42,42,South,7\r\n"
    "3,Third,OPEN,,,58,North,\r\n";

// One database for all; every test brings an organization of its own.
class ImportTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { sandbox.emplace(); }
  static void TearDownTestSuite() { sandbox.reset(); }

  ImportTest() {
    std::filesystem::create_directory(folder);
    write("lab.toml", profile_text);
    write("days.csv", days);
    write("tasks.csv", tasks);
    new_organization(slug);
    options.database_url = sandbox->owner_url;
    options.file = folder / "tasks.csv";
    options.organization = slug;
    options.profile = (folder / "lab.toml").string();
  }
  ~ImportTest() override { std::filesystem::remove_all(folder); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name, std::ios::binary) << text;
  }
  std::string ask(const char* sql, std::initializer_list<std::optional<std::string_view>> parameters) {
    const auto result = database.query(sql, parameters);
    return result.rows() == 0 ? "" : std::string(result.at(0, 0));
  }
  // An organization and its owner, owner@<slug>.test.
  void new_organization(const std::string& called) {
    database.query("begin");
    database.query("select set_config('app.system', 'test', true)");
    database.query("insert into organizations (name, slug) values ($1, $1)", {called});
    add_member("owner@" + called + ".test", "owner", called);
    database.query("commit");
  }
  void add_member(const std::string& address, const std::string& role, const std::string& called) {
    database.query("insert into users (email, password_hash, first_name, last_name) values ($1, 'x', 'Ada', 'L')",
                   {address});
    database.query(
        "insert into user_organizations (user_id, organization_id, role)"
        " select u.id, o.id, $3::organization_role from users u, organizations o where u.email = $1 and o.slug = $2",
        {address, called, role});
  }
  std::string count_tasks(const std::string& called) {
    return ask("select count(*) from tasks t join organizations o on o.id = t.organization_id where o.slug = $1",
               {called});
  }
  std::string count_changes(const std::string& called) {
    return ask("select count(*) from audit_logs a join organizations o on o.id = a.organization_id where o.slug = $1",
               {called});
  }
  std::string task(const char* column, const std::string& key) {
    const auto sql = fmt::format(
        "select {} from tasks t where external_id = $2"
        " and organization_id = (select id from organizations where slug = $1)",
        column);
    return ask(sql.c_str(), {slug, key});
  }
  Report import() { return run(options, silence); }
  std::string failure() {
    try {
      import();
    } catch (const std::runtime_error& error) { return error.what(); }
    return "no error";
  }
  static void expect_all_rows_accounted(const Report& report) {
    EXPECT_EQ(report.rows, report.tasks_created + report.rows_merged + report.rows_present + report.rows_bad +
                               report.rows_held_back);
  }

  static inline std::optional<support::Sandbox> sandbox;

  const std::string slug = "lab-" + Uuid::make().text();
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / slug;
  Database database{sandbox->owner_url};
  std::ostringstream silence;
  Options options;
};

TEST_F(ImportTest, BringsTasksProjectsAndPeople) {
  const auto report = import();
  EXPECT_TRUE(report.ok());
  EXPECT_TRUE(report.committed);
  EXPECT_EQ(report.rows, 4u);
  EXPECT_EQ(report.tasks_created, 3u);
  EXPECT_EQ(report.rows_merged, 1u);
  EXPECT_EQ(report.projects_created, 2u);
  EXPECT_EQ(report.people_named, 2u);
  EXPECT_EQ(report.people_assigned, 2u);
  EXPECT_EQ(report.people_created, 2u);
  EXPECT_EQ(report.adjustments.hours_rounded, 1u);
  EXPECT_EQ(report.adjustments.fields_reencoded, 2u);
  ASSERT_EQ(report.joins.size(), 1u);
  EXPECT_EQ(report.joins[0].rows, 5u);
  EXPECT_EQ(report.joins[0].rows_repeated, 1u);
  EXPECT_EQ(report.joins[0].keys_unused, 1u);
  expect_all_rows_accounted(report);

  EXPECT_EQ(task("title", "lab:2"), "Café, \"two\" lines");
  EXPECT_EQ(task("description", "lab:2"), "Café, \"two\"\nlines");
  EXPECT_EQ(task("metadata -> 'workers'", "lab:2"), R"([{"id": 58}, {"id": 7}])");
  EXPECT_EQ(task("estimated_hours", "lab:1"), "2");
  EXPECT_EQ(task("metadata -> 'Hours'", "lab:1"), "1.5");
  EXPECT_EQ(task("created_at at time zone 'UTC'", "lab:1"), "2004-11-02 00:00:00");
  EXPECT_EQ(
      task("(select email like 'lab-58@%.import.invalid' and status = 'inactive' from users where id = assigned_to)",
           "lab:1"),
      "t");
}

TEST_F(ImportTest, PutsEveryChangeOnTheRecordAsOneRequestOfOneActor) {
  const auto before = std::stoull(count_changes(slug));
  const auto report = import();
  // Three tasks, two projects and two memberships; a user belongs to no organization.
  EXPECT_EQ(std::stoull(count_changes(slug)) - before, 7u);
  EXPECT_EQ(ask("select count(*) from audit_logs a join users u on u.id = a.user_id"
                " where a.metadata ->> 'request_id' = $1 and u.email = $2 and a.user_agent = 'cairn import'",
                {report.request_id, report.actor}),
            "9");
}

TEST_F(ImportTest, CanBeUndoneAndDoneAgain) {
  const auto all = [&] {
    return ask(
        "select coalesce(jsonb_agg(r order by r), '[]') from ("
        "select to_jsonb(t) as r, t.organization_id from tasks t union all "
        "select to_jsonb(p), p.organization_id from projects p union all "
        "select to_jsonb(m), m.organization_id from user_organizations m) x "
        "join organizations o on o.id = organization_id where o.slug = $1",
        {slug});
  };
  const auto undo = [&](const std::string& request, const std::string& as) {
    database.query("begin");
    database.query(
        "select set_config('app.user_id', (select user_id::text from user_organizations m join organizations o "
        "on o.id = m.organization_id where o.slug = $1 and m.role = 'owner'), true)",
        {slug});
    database.query("select set_config('app.request_id', $1, true)", {as});
    database.query("select app.learn_access()");
    const auto result =
        ask("select conflicts from app.undo((select id from organizations where slug = $1), null, $2, "
            "null, null, null, false, false, false)",
            {slug, request});
    database.query("commit");
    return result;
  };
  const auto before = all();
  const auto report = import();
  const auto after = all();
  EXPECT_NE(after, before);
  EXPECT_EQ(undo(report.request_id, slug + "-undo"), "[]");
  EXPECT_EQ(all(), before);
  EXPECT_EQ(undo(slug + "-undo", slug + "-redo"), "[]");
  EXPECT_EQ(all(), after);
}

TEST_F(ImportTest, ASecondRunChangesNothing) {
  import();
  const auto changes = count_changes(slug);
  const auto report = import();
  EXPECT_EQ(report.tasks_created, 0u);
  EXPECT_EQ(report.tasks_present, 3u);
  EXPECT_EQ(report.rows_present, 4u);
  EXPECT_EQ(report.people_created + report.projects_created, 0u);
  EXPECT_EQ(count_changes(slug), changes);
  expect_all_rows_accounted(report);
}

TEST_F(ImportTest, AGrownFileBringsOnlyWhatIsNew) {
  import();
  write("tasks.csv", tasks + "4,Fourth,OPEN,1,99,42,West,\r\n");
  const auto report = import();
  EXPECT_EQ(report.tasks_created, 1u);
  EXPECT_EQ(report.tasks_present, 3u);
  EXPECT_EQ(report.people_created, 1u);
  EXPECT_EQ(report.projects_created, 1u);
  EXPECT_EQ(count_tasks(slug), "4");
}

TEST_F(ImportTest, ListsBadRowsAndBringsTheRest) {
  write("tasks.csv", tasks +
                         "4,,OPEN,1,58,42,North,\r\n"           // line 8: no title
                         "5,Fifth,OPEN,much,58,42,North,1\r\n"  // no number, and so
                         "5,Fifth,OPEN,1,58,42,North,2\r\n"     // differs from the row before
                         "6,Short,OPEN\r\n"
                         "7,\"open,OPEN,1,58,42,North,\r\n");
  const auto report = import();
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.tasks_created, 3u);
  EXPECT_EQ(report.rows_bad, 4u);
  EXPECT_EQ(report.rows_held_back, 1u);
  expect_all_rows_accounted(report);
  std::vector<std::string> said;
  for (const auto& row : report.bad_rows) said.push_back(fmt::format("{}:{}:{}", row.line, row.column, row.reason));
  EXPECT_THAT(said, testing::UnorderedElementsAre("8:Summary:a title must not be empty",
                                                  "9:Hours:\"much\" is not a number of hours from 0 to 1000000",
                                                  HasSubstr("10::held back"), "11:State:3 fields, the header has 8",
                                                  HasSubstr("12:Summary:the quote opened at character 3")));
}

TEST_F(ImportTest, AtomicWritesNothingBesideABadRow) {
  options.atomic = true;
  write("tasks.csv", tasks + "4,,OPEN,1,58,42,North,\r\n");
  const auto report = import();
  EXPECT_FALSE(report.committed);
  EXPECT_EQ(count_tasks(slug), "0");
  write("tasks.csv", tasks);
  EXPECT_TRUE(import().committed);
  EXPECT_EQ(count_tasks(slug), "3");
}

TEST_F(ImportTest, ADryRunReportsTheSameAndWritesNothing) {
  const auto changes = count_changes(slug);
  options.dry_run = true;
  const auto report = import();
  EXPECT_FALSE(report.committed);
  EXPECT_EQ(report.tasks_created, 3u);
  EXPECT_EQ(report.people_created, 2u);
  EXPECT_EQ(count_changes(slug), changes);
}

TEST_F(ImportTest, ManyRowsTakeManyTransactionsOrOne) {
  std::string text = "No,Summary,State,Hours,Who,Raised,Area,Worker\n";
  for (int i = 0; i < 4'100; ++i) text += fmt::format("{},Task {},OPEN,1,{},1,North,\n", i, i, i % 30);
  text += "0,Task 0,OPEN,1,0,1,North,far from its first row\n";
  write("tasks.csv", text);
  write("days.csv", "No,Begun\n");
  options.dry_run = true;
  EXPECT_EQ(import().tasks_created, 4'100u);
  EXPECT_EQ(count_tasks(slug), "0");
  options.dry_run = false;
  const auto report = import();
  EXPECT_EQ(report.tasks_created, 4'100u);
  EXPECT_EQ(report.rows_merged, 1u);
  EXPECT_EQ(report.joins.at(0).rows_without, 4'101u);
  EXPECT_EQ(ask("select count(distinct a.metadata ->> 'txid') from audit_logs a join organizations o"
                " on o.id = a.organization_id where o.slug = $1 and entity_type = 'tasks'",
                {slug}),
            "3");
}

TEST_F(ImportTest, WhatOnlyPostgresqlRefusesCostsNoOtherRow) {
  // A next-line character, a control character to PostgreSQL.
  write("tasks.csv", tasks + "4,bad\xC2\x85title,OPEN,1,58,42,North,\r\n5,Fine,OPEN,1,58,42,North,\r\n");
  const auto report = import();
  EXPECT_EQ(report.tasks_created, 4u);
  ASSERT_EQ(report.bad_rows.size(), 1u);
  EXPECT_EQ(report.bad_rows[0].line, 8u);
  EXPECT_THAT(report.bad_rows[0].reason, HasSubstr("tasks_title_text"));
  expect_all_rows_accounted(report);
}

TEST_F(ImportTest, TwoOrganizationsShareNobody) {
  import();
  const auto other = slug + "-b";
  new_organization(other);
  options.organization = other;
  const auto report = import();
  EXPECT_EQ(report.tasks_created, 3u);
  EXPECT_EQ(report.people_created, 2u);
  EXPECT_EQ(ask("select count(*) from user_organizations a join user_organizations b on a.user_id = b.user_id"
                " join organizations o on o.id = a.organization_id join organizations p on p.id = b.organization_id"
                " where o.slug = $1 and p.slug = $2",
                {slug, other}),
            "0");
}

TEST_F(ImportTest, AMembersAddressIsThatMember) {
  const auto address = "Owner@" + slug + ".test";
  write("tasks.csv", "No,Summary,State,Hours,Who,Raised,Area,Worker\n1,Mine,OPEN,1," + address + ",,North,\n");
  const auto report = import();
  EXPECT_EQ(report.people_named, 1u);
  EXPECT_EQ(report.people_created, 0u);
  EXPECT_EQ(task("(select email from users where id = assigned_to)", "lab:1"), report.actor);
  EXPECT_EQ(task("assigned_to = created_by", "lab:1"), "t") << "raised by no one: by the actor";
}

TEST_F(ImportTest, NobodyWhoCanLogInBecomesAMemberByImport) {
  const auto id = ask("select id from organizations where slug = $1", {slug});
  database.query("begin");
  database.query("select set_config('app.system', 'test', true)");
  database.query("insert into users (email, password_hash, first_name, last_name) values ($1, 'x', 'Eve', 'E')",
                 {"lab-58@" + id + ".import.invalid"});
  database.query("commit");
  EXPECT_THAT(failure(), HasSubstr("is taken by a user who is not a placeholder"));
  EXPECT_EQ(count_tasks(slug), "0");
}

TEST_F(ImportTest, NobodyIsAssignedWhatTheyDoNotSee) {
  const std::string header = "No,Summary,State,Hours,Who,Raised,Area,Worker\n", one = "1,One,OPEN,1,Somebody,,North,\n";
  write("tasks.csv", header + one);
  import();
  EXPECT_EQ(task("assigned_to is not null", "lab:1"), "t");
  database.query("begin");
  database.query("select set_config('app.system', 'test', true)");
  database.query(
      "update projects set visibility = 'private' where organization_id = (select id from organizations where slug = "
      "$1)",
      {slug});
  database.query("commit");
  write("tasks.csv", header + one + "2,Two,OPEN,1,Somebody,,North,\n");
  EXPECT_EQ(import().tasks_created, 1u);
  EXPECT_EQ(task("assigned_to is null", "lab:2"), "t");
}

TEST_F(ImportTest, TwoAtOnceBringEveryTaskOnce) {
  std::string text = "No,Summary,State,Hours,Who,Raised,Area,Worker\n";
  for (int i = 0; i < 3'000; ++i) text += fmt::format("{},Task,OPEN,1,{},1,North,\n", i, i % 7);
  write("tasks.csv", text);
  Report reports[2];
  std::vector<std::thread> runs;
  for (auto& report : reports) {
    runs.emplace_back([&] {
      std::ostringstream out;
      report = run(options, out);
    });
  }
  for (auto& run : runs) run.join();
  EXPECT_EQ(reports[0].tasks_created + reports[1].tasks_created, 3'000u);
  EXPECT_EQ(reports[0].people_created + reports[1].people_created, 7u);
  EXPECT_EQ(count_tasks(slug), "3000");
  for (const auto& report : reports) {
    EXPECT_TRUE(report.ok());
    expect_all_rows_accounted(report);
  }
}

TEST_F(ImportTest, SaysWhatItCannotStartFrom) {
  const auto good = options;
  options.organization = "no-such-place";
  EXPECT_EQ(failure(), "there is no organization \"no-such-place\"");
  options = good;
  options.as = "stranger@example.org";
  EXPECT_THAT(failure(), HasSubstr("is no active owner or administrator"));
  options = good;
  options.file = folder / "missing.csv";
  EXPECT_THAT(failure(), HasSubstr("cannot read the file"));
  options = good;
  options.joins["weeks"] = folder / "days.csv";
  EXPECT_THAT(failure(), HasSubstr("has no join \"weeks\""));
  options = good;
  std::filesystem::remove(folder / "days.csv");
  EXPECT_THAT(failure(), HasSubstr("--join days=FILE"));
  options.joins["days"] = folder / "tasks.csv";
  EXPECT_THAT(failure(), HasSubstr("has no column \"days.Begun\""));
}

TEST_F(ImportTest, TheRuntimeRoleMayNotImport) {
  options.database_url = sandbox->app_url;
  EXPECT_THAT(failure(), HasSubstr("needs the login of the database's owner"));
}

TEST_F(ImportTest, AMemberMayNotImport) {
  const auto address = "member@" + slug + ".test";
  database.query("begin");
  database.query("select set_config('app.system', 'test', true)");
  add_member(address, "member", slug);
  database.query("commit");
  options.as = address;
  EXPECT_THAT(failure(), HasSubstr("is no active owner or administrator"));
}

TEST_F(ImportTest, DrawsProgressOnlyWhenAsked) {
  import();
  EXPECT_EQ(silence.str(), "");
  options.progress = true;
  import();
  EXPECT_THAT(silence.str(), HasSubstr("/4 rows"));
}

TEST_F(ImportTest, PrintsItsReportForPeopleAndForPrograms) {
  const auto report = import();
  std::ostringstream text, json;
  print(report, text, false);
  print(report, json, true);
  EXPECT_THAT(text.str(), HasSubstr("3 tasks created, 0 here already"));
  const auto parsed = boost::json::parse(json.str());
  EXPECT_EQ(parsed.at("tasks").at("created").as_int64(), 3);
  EXPECT_EQ(parsed.at("ok").as_bool(), true);
  EXPECT_EQ(parsed.at("request_id").as_string(), report.request_id);
}

}  // namespace
}  // namespace cairn::importer
