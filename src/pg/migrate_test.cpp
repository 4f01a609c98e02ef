#include "pg/migrate.hpp"

#include <gmock/gmock.h>

#include <thread>

#include "pg/scratch.hpp"

namespace cairn::pg {
namespace {

using scratch::Server;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<Migration> three() {
  std::vector<Migration> all;
  all.emplace_back(1, "one", "create table one (id int); insert into one values (1);");
  all.emplace_back(2, "two",
                   "create table two (system text);\ninsert into two values (current_setting('app.system'));");
  all.emplace_back(3, "three", "-- nothing but a comment");
  return all;
}

class Migrations : public testing::Test {
 protected:
  std::string query(const std::string& sql) const { return Server::execute(url_, sql); }
  std::string refusal(const std::vector<Migration>& known) const {
    try {
      migrate(url_, {}, known);
    } catch (const Problem& problem) { return std::string(problem.what()); }
    return "";
  }
  std::string url_ = Server::instance().owner(Server::instance().make_database());
};

TEST_F(Migrations, AreAppliedInOrderAndOnlyOnce) {
  const auto known = three();
  EXPECT_THAT(status(url_, known).pending, ElementsAre("1 one", "2 two", "3 three"));
  std::vector<std::string> log;
  const auto note = [&](std::string_view line) { log.emplace_back(line); };
  migrate(url_, note, std::span(known).first(1));
  migrate(url_, note, known);
  migrate(url_, note, known);
  EXPECT_THAT(log, ElementsAre("migration 1 one", "migration 2 two", "migration 3 three"));
  EXPECT_EQ(query("select count(*) from one"), "1");
  EXPECT_EQ(query("select system from two"), "migration");
  EXPECT_EQ(query("select string_agg(name, ' ' order by number) from public.schema_migrations"), "one two three");
  const auto now = status(url_, known);
  EXPECT_TRUE(now.current());
  EXPECT_EQ(now.applied, 3);
  EXPECT_EQ(now.newest, 3);
}

TEST_F(Migrations, AreRefusedWhenAnAppliedOneWasEdited) {
  auto known = three();
  migrate(url_, {}, known);
  known[1].text += " ";
  EXPECT_THAT(refusal(known), HasSubstr("2 two was changed"));
  EXPECT_FALSE(status(url_, known).current());
}

TEST_F(Migrations, AreRefusedByAnOlderProgram) {
  auto known = three();
  migrate(url_, {}, known);
  known.pop_back();
  EXPECT_THAT(refusal(known), HasSubstr("newer than this program: it has migration 3, this program ends with 2"));
}

TEST_F(Migrations, AreRefusedWhenOneIsMissingInBetween) {
  auto known = three();
  const std::vector<Migration> gap{known[0], known[2]};
  migrate(url_, {}, gap);
  EXPECT_THAT(refusal(known), HasSubstr("2 two was never applied"));
}

TEST_F(Migrations, UndoTheOneThatFailsAndKeepThoseBeforeIt) {
  auto known = three();
  known[1].text = "create table two (id int); select 1 / 0;";
  EXPECT_THAT(refusal(known), HasSubstr("division by zero"));
  EXPECT_EQ(query("select to_regclass('one') is not null and to_regclass('two') is null"), "t");
  EXPECT_EQ(status(url_, known).applied, 1);
  migrate(url_, {}, three());
  EXPECT_EQ(status(url_, three()).applied, 3);
}

TEST_F(Migrations, WaitForAnotherProcessThatMigrates) {
  auto known = three();
  known[0].text += "select pg_sleep(0.2);";
  std::vector<std::exception_ptr> failures(6);
  std::atomic<int> applied = 0;
  {
    std::vector<std::jthread> threads;
    for (auto& failure : failures)
      threads.emplace_back([&] {
        try {
          migrate(
              url_, [&](std::string_view) { ++applied; }, known);
        } catch (...) { failure = std::current_exception(); }
      });
  }
  EXPECT_THAT(failures, testing::Each(nullptr));
  EXPECT_EQ(applied, 3);
  EXPECT_EQ(query("select count(*) from one"), "1");
}

TEST_F(Migrations, SayThatNobodyAnswers) {
  EXPECT_THROW(migrate("host=/nonexistent", {}, three()), Problem);
  EXPECT_THROW(status("host=/nonexistent", three()), Problem);
}

TEST_F(Migrations, OfThisProgramApplyToAnEmptyDatabase) {
  ASSERT_FALSE(migrations().empty());
  for (std::size_t i = 1; i < migrations().size(); ++i) EXPECT_GT(migrations()[i].number, migrations()[i - 1].number);
  migrate(url_);
  EXPECT_TRUE(status(url_).current());
  EXPECT_EQ(query("select to_regclass('public.tasks') is not null"), "t");
}

}  // namespace
}  // namespace cairn::pg
