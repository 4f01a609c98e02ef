// What Redis remembers is given only while it is true, whatever happens to Redis.
#include <fmt/format.h>
#include <unistd.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "api/recall.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace std::chrono_literals;
using support::Client;
using support::colleague;
using support::make_organization;
using support::make_project;
using support::make_task;
using support::redis;
using support::Stack;
using support::text_of;

class Remembered : public testing::Test {
 protected:
  Remembered() { redis({"FLUSHALL"}); }

  // What is there, by other SQL than the server's.
  bj::object truth(support::Database& from) {
    const auto row = from.rows(fmt::format(
        "select count(*), count(*) filter (where status = 'done'), count(*) filter (where priority = 'urgent'), "
        "count(*) filter (where due_date < now() and status not in ('done', 'cancelled')), "
        "coalesce(sum(estimated_hours), 0) from tasks where project_id = '{}'",
        project));
    bj::object numbers;
    std::size_t column = 0;
    for (const auto* name : {"total", "done", "urgent", "overdue", "estimated_hours"})
      numbers[name] = std::stoll(row[0][column++]);
    return numbers;
  }
  bj::object told(Client& by, bool counts_only = false) {
    const auto reply = by.get("/projects/" + project + (counts_only ? "/counts" : "/stats"));
    EXPECT_EQ(reply.status, 200u) << reply.body;
    const auto figures = reply.json();
    bj::object numbers;
    for (const auto* name : {"total", "done", "urgent", "overdue", "estimated_hours"})
      if (const auto* found = figures.as_object().if_contains(name)) numbers[name] = *found;
    return numbers;
  }
  std::string in_redis(const std::string& key) {
    const auto found = redis({"GET", key});
    return found.empty() ? "" : found.front();
  }

  Stack stack;
  std::unique_ptr<Client> owner = stack.person("owner");
  std::string organization = make_organization(*owner, "acme");
  std::string project = make_project(*owner, organization);
  support::Database database = stack.database();
  const std::string stats_key = "stats:project:" + project, counts_key = "counts:project:" + project + ":tasks",
                    members_key = "count:org:" + organization + ":members";
};

TEST_F(Remembered, FiguresAreThoseOfTheTasks) {
  make_task(*owner, project,
            R"({"title":"Late","priority":"urgent","due_date":"2020-01-01T00:00:00Z","estimated_hours":5})");
  const auto task = make_task(*owner, project, R"({"title":"Early","actual_hours":3})");
  make_task(*owner, project, R"({"title":"Never","status":"cancelled"})");
  owner->patch("/tasks/" + task, R"({"status":"done"})");
  for (int i = 0; i < 2; ++i) {  // the second is remembered
    const auto stats = owner->get("/projects/" + project + "/stats").json();
    const std::vector<std::pair<const char*, int>> expected{
        {"total", 3}, {"done", 1},   {"cancelled", 1},       {"urgent", 1},       {"medium", 2},     {"overdue", 1},
        {"todo", 1},  {"review", 0}, {"estimated_hours", 5}, {"actual_hours", 3}, {"completion", 50}};
    for (const auto& [name, value] : expected) EXPECT_EQ(stats.at(name), bj::value(value)) << name;
    const auto& weeks = stats.at("weeks").as_array();
    ASSERT_EQ(weeks.size(), 12u);
    EXPECT_EQ(weeks.back().at("created"), bj::value(3));
    EXPECT_EQ(weeks.back().at("completed"), bj::value(1));
  }
  const auto counts = owner->get("/organizations/" + organization + "/counts").json();
  EXPECT_EQ(text_of(counts, "members"), "1");
  colleague(stack, *owner, organization, "other", "manager");
  EXPECT_EQ(text_of(owner->get("/organizations/" + organization + "/counts"), "members"), "2");
  EXPECT_EQ(text_of(owner->get("/organizations/" + organization + "/counts"), "managers"), "1");
}

TEST_F(Remembered, AnswersComeFromRedisAsLongAsNothingOfTheirsChanges) {
  const auto beside = stack.beside();
  const auto other = beside->with_token(owner->token);
  make_task(*owner, project);
  const auto elsewhere = make_project(*owner, organization, "organization", "Tower");
  told(*owner);
  const auto first = in_redis(stats_key);
  ASSERT_NE(first, "");
  make_task(*owner, elsewhere);
  colleague(stack, *owner, organization, "other", "member");
  EXPECT_EQ(told(*other), truth(database));
  EXPECT_EQ(told(*owner), truth(database));
  EXPECT_EQ(in_redis(stats_key), first) << "it was made anew though nothing of it has changed";
  make_task(*owner, project);
  EXPECT_EQ(told(*other), truth(database));
  const auto second = in_redis(stats_key);
  EXPECT_NE(second, first);
  make_task(*owner, elsewhere);  // what is made from now on has another snapshot
  EXPECT_EQ(told(*owner), truth(database));
  EXPECT_EQ(in_redis(stats_key), second) << "each server made it anew";
  // Whoever may not see the project learns nothing from what others were told.
  EXPECT_EQ(stack.person("stranger")->get("/projects/" + project + "/stats").status, 404u);
}

TEST_F(Remembered, AnswersAreKeptAsOfLaterWhenWhatWasDoneSinceIsOfSomethingElse) {
  make_task(*owner, project);
  const auto elsewhere = make_project(*owner, organization, "organization", "Tower");
  told(*owner);
  const auto first = in_redis(stats_key);
  for (int i = 0; i < 40; ++i) {  // Redis is told each 32nd time
    make_task(*owner, elsewhere);
    told(*owner);
  }
  const auto after = in_redis(stats_key);
  EXPECT_NE(after, first) << "whoever takes it from there would look at all of that each time";
  EXPECT_EQ(after.substr(after.find('{')), first.substr(first.find('{')));
  const auto line = after.find('\n') + 1;
  const auto seen = after.substr(line, after.find('\n', line) - line);
  database.run("select set_config('app.epoch', split_part('" + seen + "', '@', 3), false)");
  const auto holds_as_of = [&](const std::string& kinds) {
    return database.value(
        fmt::format("select app.holds_as_of('{}', '{}', '{}', '{}')", seen, organization, project, kinds));
  };
  const auto later = holds_as_of("{tasks}");
  EXPECT_NE(later, seen);
  EXPECT_NE(later, "NULL");
  make_task(*owner, project);
  EXPECT_EQ(holds_as_of("{tasks}"), "NULL");
  EXPECT_NE(holds_as_of("{projects}"), "NULL");
  database.run("select set_config('app.epoch', 'after a crash', false)");
  EXPECT_EQ(holds_as_of("{projects}"), "NULL");
}

TEST_F(Remembered, DifferencesAreForWhoSeesAllOfTheOrganization) {
  const auto task = make_task(*owner, project);
  owner->patch("/tasks/" + task, R"({"title":"Another","priority":"high"})");
  const auto path = "/projects/" + project + "/diff?from=2020-01-01T00:00:00Z&sort=-position";
  const auto first = owner->get(path);
  const auto keys = redis({"KEYS", "api_cache:*"});
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_TRUE(keys.front().starts_with("api_cache:diff.project:"));
  const auto kept = in_redis(keys.front());
  const auto beside = stack.beside();
  const auto other = beside->with_token(owner->token);
  stack.person("somebody");  // what is made from now on has another snapshot
  EXPECT_EQ(owner->get(path).json(), first.json());
  EXPECT_EQ(other->get(path).json(), first.json());
  EXPECT_EQ(in_redis(keys.front()), kept) << "it was made anew though nothing has changed";
  owner->patch("/tasks/" + task, R"({"title":"A third"})");
  const auto third = owner->get(path).json();
  EXPECT_NE(third, first.json());
  auto forged = in_redis(keys.front());
  forged.replace(forged.find("A third"), 7, "A n y t");
  redis({"SET", keys.front(), forged, "EX", "60"});
  EXPECT_EQ(owner->get(path).json(), third);
  const auto fresh = stack.beside();  // it has nothing but Redis to go by
  EXPECT_EQ(fresh->with_token(owner->token)->get(path).json(), third) << "what no server has marked is no answer";

  // Beside a private project nobody but who sees it all is told from memory, and what others are told is not kept.
  const auto member = colleague(stack, *owner, organization, "member", "member");
  make_project(*owner, organization, "private", "Hidden");
  redis({"SET", keys.front(), forged, "EX", "60"});
  EXPECT_EQ(member->get(path).status, 200u);
  EXPECT_EQ(member->get(path).body.find("A n y t"), std::string::npos);
  EXPECT_EQ(in_redis(keys.front()), forged);
  EXPECT_EQ(stack.person("stranger")->get(path).status, 404u);

  owner->del("/tasks/" + task);
  EXPECT_NE(owner->get(path).json(), third);
}

TEST_F(Remembered, NumbersAreGivenUntilTimeItselfChangesThem) {
  database.run(
      fmt::format("insert into tasks (project_id, created_by, title, due_date) select '{}', '{}', 'Soon', now() + "
                  "interval '1 second'",
                  project, support::me(*owner)));
  EXPECT_EQ(told(*owner)["overdue"], bj::value(0));
  while (database.value("select bool_and(due_date < now()) from tasks") != "t") std::this_thread::yield();
  EXPECT_EQ(told(*owner)["overdue"], bj::value(1));
}

TEST_F(Remembered, NothingOldComesBackWithARestoredRedis) {
  const auto task = make_task(*owner, project);
  told(*owner);
  told(*owner, true);
  const auto old_stats = in_redis(stats_key), old_counts = in_redis(counts_key);
  owner->patch("/tasks/" + task, R"({"status":"done","priority":"urgent"})");
  const auto fresh = stack.beside();
  const auto other = fresh->with_token(owner->token);
  for (auto* by : {other.get(), owner.get()}) {
    redis({"SET", stats_key, old_stats, "EX", "60"});
    redis({"SET", counts_key, old_counts, "EX", "60"});
    EXPECT_EQ(told(*by), truth(database));
    EXPECT_EQ(told(*by, true)["done"], bj::value(1));
  }
}

TEST_F(Remembered, AnAnswerThatTookLongToMakeDoesNotReplaceANewerOne) {
  Config config;
  config.data_dir = std::filesystem::temp_directory_path() / fmt::format("cairn-late-{}", getpid());
  api::Shared shared(config);
  api::Core core(shared, 0, {}, redis::Settings::parse(support::servers().redis_socket));
  const auto all = [&]() -> async<> {
    core.redis.start();
    co_await core.redis.wait_healthy(10s);
    co_await api::remember(core, stats_key, "5:900000000001:@1@", "newer", 60s);
    co_await api::remember(core, stats_key, "5:900000000000:@1@", "older", 60s);
    co_await core.redis.close();
  };
  std::exception_ptr failure;
  boost::asio::co_spawn(core.io, all(), [&](std::exception_ptr problem) {
    failure = problem;
    core.io.stop();
  });
  core.io.run();
  std::filesystem::remove_all(config.data_dir);
  EXPECT_EQ(failure, nullptr);
  EXPECT_TRUE(in_redis(stats_key).ends_with("\nnewer")) << in_redis(stats_key);
}

TEST_F(Remembered, NonsenseInRedisIsNoAnswer) {
  make_task(*owner, project);
  told(*owner);
  const auto good = in_redis(stats_key);
  const auto line = good.find('\n');
  auto altered = good, later = good;
  altered.replace(altered.find("\"total\":1"), 9, "\"total\":9");
  later.replace(later.find('@') + 1, 1, "9");
  const auto elsewhere = make_project(*owner, organization, "organization", "Tower");
  EXPECT_EQ(owner->get("/projects/" + elsewhere + "/stats").status, 200u);
  const auto of_another = in_redis("stats:project:" + elsewhere);
  ASSERT_NE(of_another, "");
  const std::vector<std::string> nonsense{altered,
                                          later,
                                          of_another,
                                          "",
                                          "x",
                                          "\n{}",
                                          "1:2:@3\n{}",
                                          "9:8:@99999999999999999\n{}",
                                          "1:99999999999999999999999:@1\n{}",
                                          good.substr(0, line) + "\n{\"total\":7}",
                                          good.substr(0, line) + "\nnull",
                                          good.substr(0, line) + "\n{",
                                          "'; drop table tasks; --\n{}"};
  // A server that has nothing but Redis to go by.
  const auto told_by_a_new_server = [&](const std::string& of) {
    const auto beside = stack.beside();
    EXPECT_EQ(told(*beside->with_token(owner->token)), truth(database)) << of;
  };
  for (const auto& value : nonsense) {
    redis({"SET", stats_key, value, "EX", "60"});
    told_by_a_new_server(value);
  }
  redis({"DEL", stats_key});
  redis({"LPUSH", stats_key, "another type"});
  told_by_a_new_server("another type");
  const auto again = in_redis(stats_key);
  EXPECT_EQ(again.substr(again.find('{')), good.substr(good.find('{')));
}

// Writers on two servers and beside them, while Redis is emptied, frozen and put back: whoever has been told that a
// change is made reads it, wherever they ask.
TEST_F(Remembered, NumbersAreNeverOlderThanWhatWasAcknowledged) {
  const auto beside = stack.beside();
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> acknowledged{0};
  std::thread writer([&] {
    auto direct = stack.database();
    const auto client = beside->with_token(owner->token);
    const auto author = support::me(*client);
    std::minstd_rand random(seed);
    for (int i = 0; !over; ++i) {
      if (random() % 3 == 0)
        direct.run(fmt::format("insert into tasks (project_id, created_by, title) values ('{}', '{}', 'Direct')",
                               project, author));
      else
        make_task(*client, project);
      ++acknowledged;
    }
  });
  std::thread disturber([&] {
    std::minstd_rand random(seed + 1);
    std::vector<std::string> kept;
    while (!over) {
      const auto die = random() % 4;
      if (die == 0) redis({"FLUSHALL"});
      if (die == 1) kept = redis({"GET", stats_key});
      if (die == 2 && !kept.empty()) redis({"SET", stats_key, kept.front(), "EX", "60"});
      std::this_thread::yield();
    }
  });
  const auto other = beside->with_token(owner->token);
  for (int i = 0; i < 150; ++i) {
    auto& reader = i % 2 == 0 ? *owner : *other;
    const auto least = acknowledged.load();
    EXPECT_GE(told(reader)["total"].as_int64(), least);
    const auto again = acknowledged.load();
    EXPECT_GE(told(reader, true)["total"].as_int64(), again);
  }
  over = true;
  writer.join();
  disturber.join();
  EXPECT_EQ(told(*owner), truth(database));
  const support::FrozenRedis frozen;
  make_task(*owner, project);
  EXPECT_EQ(told(*owner), truth(database));
}

}  // namespace
}  // namespace cairn
