#include "pg/pool.hpp"

#include <gmock/gmock.h>

#include <fmt/format.h>
#include <signal.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <random>

#include "pg/error.hpp"
#include "pg/scratch.hpp"

namespace cairn::pg {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using scratch::problem_of;
using scratch::Server;
using scratch::settings;
using scratch::with_pool;
using testing::ElementsAre;
using testing::HasSubstr;

struct Thing {
  Thing() = default;
  std::int64_t id = 0;
  std::string name;
  std::optional<std::int64_t> parent;
};
BOOST_DESCRIBE_STRUCT(Thing, (), (id, name, parent))

const Constraint name_rule{"things_name_blank", Kind::invalid, "blank", "/name", "must not be blank"};
const Constraint name_key{"things_name_key", Kind::conflict, "name_taken", "", "The name is taken."};

const Sql<Thing(std::int64_t)> by_id{"test.by_id", "select parent, name, id from things where id = $1"};
const Sql<Thing(std::string)> by_name{"test.by_name", "select id, name, parent from things where name = $1"};
const Sql<Thing()> any_thing{"test.any_thing", "select id, name, parent from things"};
const Sql<Thing(std::int64_t, std::string, std::optional<std::int64_t>)> insert{
    "test.insert", "insert into things (id, name, parent) values ($1, $2, $3) returning id, name, parent"};
const Sql<void(std::int64_t, std::string)> insert_quietly{"test.insert_quietly",
                                                          "insert into things (id, name) values ($1, $2)"};
const Sql<void(std::string)> rename_all{"test.rename_all", "update things set parent = null where name like $1"};
const Sql<std::int64_t()> count{"test.count", "select count(*) from things"};
const Sql<std::int64_t(std::int64_t)> echo{"test.echo", "select $1::bigint"};
const Sql<std::string(std::string)> echo_text{"test.echo_text", "select $1::text"};
const Sql<std::int32_t(double)> sleep{"test.sleep", "select 1 from pg_sleep($1)"};
const Sql<std::int32_t()> backend{"test.backend", "select pg_backend_pid()"};
const Sql<std::string()> epoch_of{"test.epoch", "select current_setting('app.epoch')"};
const Sql<std::int32_t()> division{"test.division", "select 1 / 0"};
const Sql<std::string(std::string)> enter{"test.enter",
                                          "select set_config('app.user_id', $1, true) where $1 <> 'nobody'"};
const Sql<std::string()> who{"test.who", "select coalesce(current_setting('app.user_id', true), '')"};

class PoolOnServer : public testing::Test {
 protected:
  void SetUp() override {
    owner("drop table if exists things");
    owner(R"sql(create table things (
      id bigint constraint things_pkey primary key,
      name text not null constraint things_name_blank check (name <> '') constraint things_name_key unique,
      parent bigint constraint things_parent_fkey references things deferrable initially deferred,
      constraint things_id_range check (id > 0)))sql");
    owner("grant select, insert, update, delete on things to cairn_app");
  }
  static std::string owner(const std::string& sql) { return Server::execute(Server::instance().owner(), sql); }
  static std::string superuser(const std::string& sql) { return Server::execute(Server::instance().superuser(), sql); }
  static std::string things() { return owner("select count(*) from things"); }
};

// Reading -------------------------------------------------------------------------------------------------------------

TEST_F(PoolOnServer, MatchesColumnsToMembersByName) {
  owner("insert into things values (1, 'one', null), (2, 'two', 1)");
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const auto two = co_await tx.one(by_id, 2);
    EXPECT_EQ(two.id, 2);
    EXPECT_EQ(two.name, "two");
    EXPECT_EQ(two.parent, 1);
    const auto none = co_await tx.maybe(by_id, 3);
    EXPECT_FALSE(none);
    const auto all = co_await tx.all(any_thing);
    EXPECT_EQ(all.size(), 2U);
    const auto missing = co_await problem_of(tx.one(by_id, 3));
    EXPECT_EQ(missing.kind, Kind::not_found);
    const auto ambiguous = co_await problem_of(tx.one(any_thing));
    EXPECT_THAT(ambiguous.cause, HasSubstr("more than one row"));
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, ReadsAWholeRowByTheOrderOfItsMembers) {
  static const Sql<Thing()> whole{"test.whole", "select t from things t where id = 7", Reply::one};
  static const Sql<Thing()> none{"test.whole_none", "select t from things t where id < 0", Reply::one};
  static const Sql<Thing()> more{"test.whole_more", "select row(7::bigint, 'x'::text, 2::bigint, now())", Reply::one};
  static const Sql<Thing()> fewer{"test.whole_fewer", "select row(7::bigint, 'x'::text)", Reply::one};
  static const Sql<Thing()> narrow{"test.whole_narrow", "select row(7, 'x'::text, 2::bigint)", Reply::one};
  owner("insert into things values (7, 'x', null)");
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const auto seven = co_await tx.one(whole);
    EXPECT_EQ(seven.id, 7);
    EXPECT_EQ(seven.name, "x");
    EXPECT_EQ(seven.parent, std::nullopt);
    const auto longer = co_await tx.one(more);
    EXPECT_EQ(longer.parent, 2);
    const auto nothing = co_await tx.maybe(none);
    EXPECT_FALSE(nothing);
    const auto size = co_await problem_of(tx.one(fewer));
    EXPECT_THAT(size.cause, HasSubstr("test.whole_fewer"));
    const auto type = co_await problem_of(tx.one(narrow));
    EXPECT_THAT(type.cause, HasSubstr("test.whole_narrow, column id"));
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, NamesTheStatementAndTheColumnThatDoNotFit) {
  static const Sql<Thing()> missing{"test.missing", "select 1::bigint as id, 'x'::text as name"};
  static const Sql<Thing()> extra{"test.extra",
                                  "select 1::bigint as id, 'x'::text as name, 2::bigint as parent, 3 as more"};
  static const Sql<Thing()> null{"test.null", "select 1::bigint as id, null::text as name, 2::bigint as parent"};
  static const Sql<Thing()> narrow{"test.narrow", "select 1 as id, 'x'::text as name, 2::bigint as parent"};
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    for (const auto& [sql, column] : std::vector<std::pair<const Sql<Thing()>*, std::string>>{
             {&missing, "parent"}, {&extra, "more"}, {&null, "name"}, {&narrow, "id"}}) {
      const auto problem = co_await problem_of(tx.one(*sql));
      EXPECT_EQ(problem.kind, Kind::internal);
      EXPECT_THAT(problem.cause, HasSubstr(sql->name()));
      EXPECT_THAT(problem.cause, HasSubstr("column " + column));
      EXPECT_EQ(problem.detail, "");
    }
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, NeverWritesInAReadTransaction) {
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const auto problem = co_await problem_of(tx.one(insert, 1, "one", std::nullopt));
    EXPECT_THAT(problem.cause, HasSubstr("25006"));
  };
  with_pool(settings(), body);
  EXPECT_EQ(things(), "0");
}

TEST_F(PoolOnServer, KeepsAnErrorToTheRequestThatMadeIt) {
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    int right = 0, wrong = 0;
    const auto one = [&](int number) -> async<> {
      auto tx = pool.read();
      if (number % 3 == 0) {
        const auto problem = co_await problem_of(tx.one(division));
        wrong += problem.kind == Kind::invalid;
      } else {
        const auto answer = co_await tx.one(echo, number);
        right += answer == number;
      }
    };
    for (int i = 0; i < 300; ++i) asio::co_spawn(executor, one(i), asio::detached);
    while (right + wrong < 300) co_await scratch::pause(1ms);
    EXPECT_EQ(right, 200);
    EXPECT_EQ(wrong, 100);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, SurvivesAStatementThatCannotBePrepared) {
  static const Sql<std::int64_t()> later{"test.later", "select count(*) from not_yet"};
  owner("drop table if exists not_yet");
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const auto problem = co_await problem_of(tx.one(later));
    EXPECT_EQ(problem.kind, Kind::internal);
    const auto answer = co_await tx.one(echo, 7);
    EXPECT_EQ(answer, 7);
    owner("create table not_yet (id int)");
    owner("grant select on not_yet to cairn_app");
    const auto rows = co_await tx.one(later);
    EXPECT_EQ(rows, 0);
    EXPECT_EQ(pool.stats().reconnects, 0U);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, PreparesAgainWhatAMigrationHasChanged) {
  static const Sql<std::string()> changing{"test.changing", "select v::text from (select changed.v from changed) t"};
  static const Sql<std::optional<std::string>()> star{"test.star", "select v from changed"};
  owner("drop table if exists changed; create table changed (v varchar(10)); insert into changed values ('x')");
  owner("grant select on changed to cairn_app");
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const auto before = co_await tx.one(star);
    EXPECT_EQ(before, "x");
    owner("alter table changed alter v type text");
    bool retryable = false;
    try {
      co_await tx.one(star);
    } catch (const Retryable&) { retryable = true; }
    EXPECT_TRUE(retryable);
    const auto after = co_await tx.one(star);
    EXPECT_EQ(after, "x");
    EXPECT_EQ(pool.stats().reconnects, 0U);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, EntersWithThePreludeAndLeavesNothingBehind) {
  const auto body = [](Pool& pool) -> async<> {
    auto ann = pool.read(prelude(enter, "ann")), bob = pool.read(prelude(enter, "bob")), nobody = pool.read();
    auto stranger = pool.read(prelude(enter, "nobody"));
    std::vector<std::string> names;
    for (auto* tx : {&ann, &bob, &nobody}) names.push_back(co_await tx->one(who));
    EXPECT_THAT(names, ElementsAre("ann", "bob", ""));
    EXPECT_EQ(ann.caller(enter), "ann");
    const auto problem = co_await problem_of(stranger.one(who));
    EXPECT_EQ(problem.kind, Kind::unauthenticated);
    EXPECT_THROW(stranger.caller(enter), Problem);
  };
  with_pool(settings(), body);
}

// Ten thousand requests, many of them given up at any moment: everybody else gets their own answer.
TEST_F(PoolOnServer, StaysInStepWhateverIsCancelled) {
  asio::io_context io(1);
  auto configured = settings(2, 1);
  configured.queue_limit = 100'000;
  Pool pool(io, configured);
  std::mt19937 random(11);
  int right = 0, wrong = 0, cancelled = 0;
  constexpr int total = 10'000;
  const auto one = [&](std::int64_t number) -> async<> {
    try {
      auto tx = pool.read();
      const auto answer = co_await tx.one(echo, number);
      const auto again = co_await tx.one(echo_text, std::to_string(number));
      ++(answer == number && again == std::to_string(number) ? right : wrong);
    } catch (const boost::system::system_error& error) {
      ++(error.code() == asio::error::operation_aborted ? cancelled : wrong);
    }
  };
  const auto whole = [&]() -> async<> {
    co_await pool.start();
    for (int batch = 0; batch < total / 100; ++batch) {
      std::vector<std::unique_ptr<asio::cancellation_signal>> signals;
      for (int i = 0; i < 100; ++i) {
        signals.push_back(std::make_unique<asio::cancellation_signal>());
        scratch::spawn(io, *signals.back(), one(batch * 100 + i));
      }
      // Some before they are written, some while in flight.
      while (right + wrong + cancelled < (batch + 1) * 100) {
        for (auto& signal : signals)
          if (random() % 10 == 0) signal->emit(asio::cancellation_type::terminal);
        co_await asio::post(io, awaiting);
      }
    }
  };
  scratch::run(io, whole);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(right + cancelled, total);
  EXPECT_GT(right, 500);
  EXPECT_GT(cancelled, 500);
  EXPECT_EQ(pool.stats().reconnects, 0U);
}

TEST_F(PoolOnServer, CarriesMoreThanASocketTakesAtOnce) {
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    const auto deadline = std::chrono::steady_clock::now() + 50s;  // it is about the amount, not about the time
    int right = 0, ended = 0;
    const auto one = [&](int number) -> async<> {
      const std::string large(2'000'000, static_cast<char>('a' + number));
      auto tx = pool.read({}, deadline);
      const auto answer = co_await tx.one(echo_text, large);
      right += answer == large;
    };
    const auto note = [&](std::exception_ptr) { ++ended; };
    for (int i = 0; i < 12; ++i) asio::co_spawn(executor, one(i), note);
    while (ended < 12) co_await scratch::pause(1ms);
    EXPECT_EQ(right, 12);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, GivesUpAReadAtItsDeadline) {
  const auto body = [](Pool& pool) -> async<> {
    auto patient = pool.read();
    auto hasty = pool.read({}, std::chrono::steady_clock::now() + 100ms);
    const auto problem = co_await problem_of(hasty.one(sleep, 0.5));
    EXPECT_EQ(problem.kind, Kind::timeout);
    const auto answer = co_await patient.one(echo, 5);
    EXPECT_EQ(answer, 5);
    EXPECT_EQ(pool.stats().reconnects, 0U);
    EXPECT_EQ(pool.stats().timeouts, 1U);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, RefusesMoreThanItCanQueue) {
  auto configured = settings();
  configured.queue_limit = 3;
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    auto warm = pool.read();
    co_await warm.one(sleep, 0.0);  // so that no preparation takes a place
    int refused = 0, done = 0;
    const auto one = [&]() -> async<> {
      auto tx = pool.read();
      const auto problem = co_await problem_of(tx.one(sleep, 0.001));
      ++done;
      refused += problem.kind == Kind::unavailable && problem.retry_after == 1;
    };
    for (int i = 0; i < 100; ++i) asio::co_spawn(executor, one(), asio::detached);
    while (done < 100) co_await scratch::pause(1ms);
    EXPECT_EQ(refused, 100 - 64 - 3);  // in flight, waiting
    EXPECT_EQ(pool.stats().refused, 33U);
  };
  with_pool(configured, body);
}

// Writing -------------------------------------------------------------------------------------------------------------

TEST_F(PoolOnServer, KeepsWhatIsCommitted) {
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.write();
    const auto one = co_await tx.one(insert, 1, "one", std::nullopt);
    EXPECT_EQ(one.name, "one");
    const auto inserted = co_await tx.run(insert_quietly, 2, "two");
    EXPECT_EQ(inserted, 1);
    const auto touched = co_await tx.run(rename_all, "%");
    EXPECT_EQ(touched, 2);
    EXPECT_EQ(things(), "0");  // seen from outside
    co_await tx.commit();
    EXPECT_EQ(things(), "2");
    const auto over = co_await problem_of(tx.one(count));
    EXPECT_THAT(over.cause, HasSubstr("over"));
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, CommitsWithTheLastStatement) {
  const auto body = [](Pool& pool) -> async<> {
    auto first = pool.write();
    const auto one = co_await first.finish(insert, 1, "one", std::nullopt);
    EXPECT_EQ(one.id, 1);
    auto second = pool.write();
    const auto inserted = co_await second.finish(insert_quietly, 2, "two");
    EXPECT_EQ(inserted, 1);
    auto third = pool.write();
    const auto none = co_await third.maybe_finish(by_id, 9);
    EXPECT_FALSE(none);
    auto fourth = pool.write();
    const auto problem = co_await problem_of(fourth.finish(by_id, 9));
    EXPECT_EQ(problem.kind, Kind::not_found);
    auto empty = pool.write();
    co_await empty.commit();
  };
  with_pool(settings(), body);
  EXPECT_EQ(things(), "2");
}

TEST_F(PoolOnServer, RollsBackWhatIsNotCommitted) {
  const auto body = [](Pool& pool) -> async<> {
    std::int32_t pid = 0;
    {
      auto tx = pool.write();
      pid = co_await tx.one(backend);
      co_await tx.run(insert_quietly, 1, "one");
    }
    // The only write connection: the next lease has to wait until it is clean.
    auto next = pool.write();
    const auto left = co_await next.one(count);
    EXPECT_EQ(left, 0);
    const auto same = co_await next.one(backend);
    EXPECT_EQ(same, pid);
    co_await next.commit();
  };
  with_pool(settings(), body);
  EXPECT_EQ(things(), "0");
}

TEST_F(PoolOnServer, LosesTheTransactionWithItsFirstError) {
  const auto body = [](Pool& pool) -> async<> {
    {
      auto tx = pool.write();
      co_await tx.run(insert_quietly, 1, "one");
      const auto problem = co_await problem_of(tx.run(insert_quietly, 2, ""));
      EXPECT_EQ(problem.code, "blank");
      const auto further = co_await problem_of(tx.run(insert_quietly, 3, "three"));
      EXPECT_EQ(further.kind, Kind::internal);
      const auto commit = co_await problem_of(tx.commit());
      EXPECT_EQ(commit.kind, Kind::internal);
    }
    auto next = pool.write();
    co_await next.finish(insert_quietly, 4, "four");
    EXPECT_EQ(pool.stats().reconnects, 0U);
  };
  with_pool(settings(), body);
  EXPECT_EQ(owner("select string_agg(name, ' ') from things"), "four");
}

TEST_F(PoolOnServer, RollsBackWhenTheRequestIsCancelledMidway) {
  asio::io_context io(1);
  Pool pool(io, settings());
  asio::cancellation_signal signal;
  bool aborted = false, waiting = false;
  const auto victim = [&]() -> async<> {
    try {
      auto tx = pool.write();
      co_await tx.run(insert_quietly, 1, "one");
      waiting = true;
      co_await tx.one(sleep, 0.2);
    } catch (const boost::system::system_error&) { aborted = true; }
  };
  const auto whole = [&]() -> async<> {
    co_await pool.start();
    scratch::spawn(io, signal, victim());
    while (!waiting) co_await scratch::pause(1ms);
    signal.emit(asio::cancellation_type::terminal);
    auto next = pool.write();
    const auto left = co_await next.one(count);
    EXPECT_EQ(left, 0);
    co_await next.finish(insert_quietly, 2, "two");
  };
  scratch::run(io, whole);
  EXPECT_TRUE(aborted);
  EXPECT_EQ(pool.stats().reconnects, 0U);
  EXPECT_EQ(owner("select string_agg(name, ' ') from things"), "two");
}

TEST_F(PoolOnServer, FailsTheCommitWhenADeferredConstraintDoes) {
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.write();
    co_await tx.one(insert, 1, "orphan", 99);
    const auto at_commit = co_await problem_of(tx.commit());
    EXPECT_EQ(at_commit.kind, Kind::conflict);
    EXPECT_THAT(at_commit.cause, HasSubstr("23503"));
    auto last = pool.write();
    const auto at_finish = co_await problem_of(last.finish(insert, 1, "orphan", 99));
    EXPECT_EQ(at_finish.kind, Kind::conflict);
  };
  with_pool(settings(), body);
  EXPECT_EQ(things(), "0");
}

TEST_F(PoolOnServer, TellsClientsAboutConstraintsInTheirWords) {
  const auto body = [](Pool& pool) -> async<> {
    const auto attempt = [&](std::int64_t id, std::string name) -> async<Problem> {
      auto tx = pool.write();
      co_return co_await problem_of(tx.finish(insert_quietly, id, name));
    };
    const auto fine = co_await attempt(1, "one");
    EXPECT_EQ(fine.code, "none");
    const auto blank = co_await attempt(2, "");
    EXPECT_EQ(blank.kind, Kind::invalid);
    EXPECT_EQ(blank.errors.at(0).pointer, "/name");
    EXPECT_EQ(blank.errors.at(0).detail, "must not be blank");
    const auto taken = co_await attempt(2, "one");
    EXPECT_EQ(taken.code, "name_taken");
    EXPECT_EQ(taken.detail, "The name is taken.");
    EXPECT_TRUE(taken.errors.empty());
    const auto same_id = co_await attempt(1, "two");
    EXPECT_EQ(same_id.code, "conflict");
    const auto out_of_range = co_await attempt(-1, "minus");
    EXPECT_EQ(out_of_range.kind, Kind::invalid);
    for (const auto& problem : {blank, taken, same_id, out_of_range})
      EXPECT_THAT(problem.detail, testing::Not(HasSubstr("things")));
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, WritesNothingForAStranger) {
  owner(
      "create or replace function known() returns trigger language plpgsql as $$ begin "
      "if coalesce(current_setting('app.user_id', true), '') = '' then raise 'a change needs an actor' using errcode = "
      "'CA001'; "
      "end if; return new; end $$; create trigger known before insert on things for each row execute function known()");
  const auto body = [](Pool& pool) -> async<> {
    auto stranger = pool.write(prelude(enter, "nobody"));
    const auto refused = co_await problem_of(stranger.finish(insert_quietly, 1, "one"));
    EXPECT_EQ(refused.kind, Kind::unauthenticated);
    auto ann = pool.write(prelude(enter, "ann"));
    co_await ann.run(insert_quietly, 2, "two");
    const auto name = co_await ann.one(who);
    EXPECT_EQ(name, "ann");
    EXPECT_EQ(ann.caller(enter), "ann");
    co_await ann.commit();
    auto no_prelude = pool.write();
    const auto bug = co_await problem_of(no_prelude.finish(insert_quietly, 3, "three"));
    EXPECT_EQ(bug.kind, Kind::internal);
  };
  with_pool(settings(), body);
  EXPECT_EQ(things(), "1");
}

TEST_F(PoolOnServer, RetriesAreFlaggedForDeadlocks) {
  owner("insert into things values (1, 'one'), (2, 'two')");
  static const Sql<void(std::int64_t)> lock{"test.lock", "update things set parent = null where id = $1"};
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    int locked = 0, kept = 0, retryable = 0;
    const auto one = [&](std::int64_t mine, std::int64_t other) -> async<> {
      auto tx = pool.write();
      co_await tx.run(lock, mine);
      ++locked;
      while (locked < 2) co_await scratch::pause(1ms);
      try {
        co_await tx.run(lock, other);
        co_await tx.commit();
        ++kept;
      } catch (const Retryable&) { ++retryable; }
    };
    asio::co_spawn(executor, one(1, 2), asio::detached);
    asio::co_spawn(executor, one(2, 1), asio::detached);
    while (kept + retryable < 2) co_await scratch::pause(1ms);
    EXPECT_EQ(kept, 1);
    EXPECT_EQ(retryable, 1);
  };
  with_pool(settings(1, 2), body);
}

// Connections ---------------------------------------------------------------------------------------------------------

TEST_F(PoolOnServer, LeasesInOrderAndNotForEver) {
  auto configured = settings();
  configured.lease_wait = 1500ms;
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    std::vector<int> order;
    std::optional<Problem> late;
    {
      auto holder = pool.write();
      co_await holder.run(insert_quietly, 1, "one");
      const auto wait = [&]() -> async<> {
        auto tx = pool.write();
        late = co_await problem_of(tx.run(insert_quietly, 2, "two"));
      };
      asio::co_spawn(executor, wait(), asio::detached);
      while (!late) co_await scratch::pause(1ms);
      EXPECT_EQ(late->kind, Kind::unavailable);
      EXPECT_EQ(late->retry_after, 1);
      const auto queue = [&](int number) -> async<> {
        auto tx = pool.write();
        co_await tx.run(insert_quietly, number, std::to_string(number));
        co_await tx.commit();
        order.push_back(number);
      };
      for (int number = 10; number < 15; ++number) asio::co_spawn(executor, queue(number), asio::detached);
      while (pool.stats().waiters < 5) co_await scratch::pause(1ms);
      co_await holder.commit();
    }
    while (order.size() < 5) co_await scratch::pause(1ms);
    EXPECT_THAT(order, ElementsAre(10, 11, 12, 13, 14));
    EXPECT_EQ(pool.stats().writes_leased, 0U);
  };
  with_pool(configured, body);
}

// What a transaction of one statement does needs no connection to itself.
TEST_F(PoolOnServer, CommitsSingleStatementsWhileEveryLeaseIsOut) {
  const auto body = [](Pool& pool) -> async<> {
    auto holder = pool.write();
    co_await holder.run(insert_quietly, 1, "one");
    for (int number = 20; number < 25; ++number) {
      auto tx = pool.write();
      const auto touched = co_await tx.finish(insert_quietly, number, std::to_string(number));
      EXPECT_EQ(touched, 1);
    }
    EXPECT_EQ(pool.stats().writes_leased, 1U);
    EXPECT_EQ(pool.stats().writes_up, 1U);
    EXPECT_EQ(pool.stats().commits_up, 1U);
    // One that fails takes nothing else with it.
    auto failing = pool.write(), fine = pool.write();
    const auto failure = co_await problem_of(failing.finish(insert_quietly, 20, "again"));
    EXPECT_EQ(failure.kind, Kind::conflict);
    const auto touched = co_await fine.finish(insert_quietly, 30, "thirty");
    EXPECT_EQ(touched, 1);
  };
  with_pool(settings(), body);
}

Prelude checked(const std::string& user) {
  static const Sql<bool(std::string)> enter_checked{
      "test.enter_checked",
      "select set_config('app.user_id', case when $1 = 'nobody' then '' else $1 end, true) is not null and $1 <> "
      "'nobody'"};
  auto made = prelude(enter_checked, user);
  made.checked = true;
  return made;
}

// Whether the requests of many people get into one transaction or not, each comes to the same.
TEST_F(PoolOnServer, PutsChangesTogetherAndKeepsThemApart) {
  static const Sql<std::string(std::int64_t, std::optional<std::int64_t>)> insert_own{
      "test.insert_own",
      "insert into things (id, name, parent) select $1::bigint, current_setting('app.user_id') || $1::bigint, "
      "$2::bigint "
      "where current_setting('app.user_id') <> '' returning name"};
  static const Sql<std::int64_t()> transactions{"test.transactions", "select count(distinct xmin::text) from things"};
  const auto round = [](int first, bool with_failures) {
    return [first, with_failures](Pool& pool) -> async<> {
      const auto executor = co_await asio::this_coro::executor;
      constexpr int requests = 120;
      int ended = 0;
      const auto one = [&](int number) -> async<> {
        const auto kind = with_failures ? number % 8 : 0;
        const auto user = kind == 3 ? "nobody" : fmt::format("user{}-", number);
        auto tx = pool.write(checked(user));
        std::optional<std::int64_t> parent;
        if (kind == 5) parent = 1'000'000;  // which is noticed by the commit only
        const std::int64_t id = kind == 6 ? -number : number;
        std::optional<std::string> name;
        std::string code;
        try {
          name = co_await tx.maybe_finish(insert_own, id, parent);
        } catch (const Problem& problem) { code = problem.code; }
        ++ended;
        if (kind == 3 || kind == 5 || kind == 6) {
          EXPECT_FALSE(name) << number;
          EXPECT_EQ(code, kind == 3 ? "unavailable" : kind == 5 ? "conflict" : "invalid");
        } else {
          EXPECT_EQ(name, user + std::to_string(number)) << code;
        }
      };
      for (int i = first; i < first + requests; ++i) asio::co_spawn(executor, one(i), asio::detached);
      while (ended < requests) co_await scratch::pause(1ms);
      auto tx = pool.read();
      const auto made = co_await tx.one(transactions);
      EXPECT_LT(made, with_failures ? requests : requests / 2);  // many shared one
      const auto rows = co_await tx.one(count);
      EXPECT_EQ(rows, with_failures ? requests + requests / 8 * 5 : requests);
    };
  };
  with_pool(settings(), round(1, false));
  with_pool(settings(), round(1001, true));
}

TEST_F(PoolOnServer, AnswersReadsThatTravelTogetherEachAsItsReader) {
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    int ended = 0;
    const auto one = [&](int number) -> async<> {
      const auto user = number % 7 == 3 ? std::string("nobody") : fmt::format("user{}", number);
      auto tx = pool.read(checked(user));
      std::string seen, code;
      try {
        if (number % 11 == 5)
          co_await tx.one(division);
        else
          seen = co_await tx.one(who);
      } catch (const Problem& problem) { code = problem.code; }
      ++ended;
      if (number % 11 == 5)
        EXPECT_NE(code, "");
      else if (number % 7 == 3)
        EXPECT_EQ(code, "unavailable");
      else
        EXPECT_EQ(seen, user) << code;
    };
    for (int i = 0; i < 200; ++i) asio::co_spawn(executor, one(i), asio::detached);
    while (ended < 200) co_await scratch::pause(1ms);
  };
  with_pool(settings(), body);
}

// What is read in one statement with its prelude, among what is not.
TEST_F(PoolOnServer, ReadsOneBehindItsPreludeAsThatReader) {
  static const Sql<std::string(std::int64_t)> own{
      "test.own", "select current_setting('app.user_id') || t.name from things t where t.id = $1", Reply::one};
  owner("insert into things values (1, '-one', null)");
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    int ended = 0;
    const auto one = [&](int number) -> async<> {
      const auto user = number % 7 == 3 ? std::string("nobody") : fmt::format("user{}", number);
      auto tx = pool.read(checked(user));
      std::optional<std::string> seen;
      std::string code;
      try {
        const std::int64_t asked = number % 5 == 1 ? 2 : 1;
        if (number % 3 == 0)
          seen = co_await tx.one(who) + "-one";
        else
          seen = co_await tx.maybe(own, asked);
      } catch (const Problem& problem) { code = problem.code; }
      ++ended;
      if (number % 7 == 3)
        EXPECT_EQ(code, "unavailable");
      else if (number % 3 != 0 && number % 5 == 1)
        EXPECT_EQ(seen, std::nullopt) << code;
      else
        EXPECT_EQ(seen, user + "-one") << code;
    };
    for (int i = 0; i < 200; ++i) asio::co_spawn(executor, one(i), asio::detached);
    while (ended < 200) co_await scratch::pause(1ms);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, GoesAroundASlowStatement) {
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    bool slow_ended = false;
    const auto slow = [&]() -> async<> {
      auto tx = pool.read(checked("slow"));
      co_await tx.one(sleep, 2.0);
      slow_ended = true;
    };
    asio::co_spawn(executor, slow(), asio::detached);
    co_await scratch::pause(100ms);
    for (int i = 0; i < 20; ++i) {
      auto tx = pool.read(checked("quick"));
      const auto name = co_await tx.one(who);
      EXPECT_EQ(name, "quick");
    }
    EXPECT_FALSE(slow_ended);
    while (!slow_ended) co_await scratch::pause(10ms);
  };
  with_pool(settings(2), body);
}

TEST_F(PoolOnServer, OpensFurtherSharedConnectionsWhenTheFirstAreHeldUp) {
  const auto body = [](Pool& pool) -> async<> {
    while (pool.stats().reads_up < 2) co_await scratch::pause(1ms);
    const auto executor = co_await asio::this_coro::executor;
    int ended = 0;
    const auto slow = [&]() -> async<> {
      auto tx = pool.read(checked("slow"));
      co_await tx.one(sleep, 2.0);
      ++ended;
    };
    for (int i = 0; i < 2; ++i) {
      asio::co_spawn(executor, slow(), asio::detached);
      co_await scratch::pause(100ms);
    }
    EXPECT_EQ(pool.stats().reads_up, 2U);
    asio::co_spawn(executor, slow(), asio::detached);  // has to wait behind one of them
    while (pool.stats().reads_up < 3) co_await scratch::pause(1ms);
    auto tx = pool.read(checked("quick"));
    const auto name = co_await tx.one(who);
    EXPECT_EQ(name, "quick");
    EXPECT_EQ(ended, 0);
    while (ended < 3) co_await scratch::pause(10ms);
    EXPECT_EQ(pool.stats().reads_up, 3U);
  };
  with_pool(settings(3), body);
}

TEST_F(PoolOnServer, OpensWriteConnectionsAsTheyAreNeeded) {
  const auto body = [](Pool& pool) -> async<> {
    EXPECT_EQ(pool.stats().writes_up, 1U);
    auto one = pool.write(), two = pool.write(), three = pool.write();
    std::vector<std::int32_t> pids;
    for (auto* tx : {&one, &two, &three}) pids.push_back(co_await tx->one(backend));
    EXPECT_NE(pids[0], pids[1]);
    EXPECT_NE(pids[1], pids[2]);
    EXPECT_EQ(pool.stats().writes_up, 3U);
    EXPECT_EQ(pool.stats().writes_leased, 3U);
  };
  with_pool(settings(1, 3), body);
}

TEST_F(PoolOnServer, OpensNoConnectionOfAKindThatIsNotWanted) {
  const auto body = [](Pool& pool) -> async<> {
    EXPECT_TRUE(pool.ready());
    auto tx = pool.write();
    EXPECT_GT(co_await tx.finish(backend), 0);
    EXPECT_EQ(pool.stats().commits_up, 1U);
    EXPECT_EQ(pool.stats().reads_up + pool.stats().writes_up, 0U);
  };
  with_pool(settings(0, 0), body);
}

TEST_F(PoolOnServer, DropsAWriteThatPassesItsDeadline) {
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.write({}, std::chrono::steady_clock::now() + 1s);
    co_await tx.run(insert_quietly, 1, "one");
    const auto problem = co_await problem_of(tx.one(sleep, 10.0));
    EXPECT_EQ(problem.kind, Kind::timeout);
    auto next = pool.write();
    co_await next.run(insert_quietly, 2, "two");
    co_await next.commit();
    EXPECT_EQ(pool.stats().reconnects, 1U);
  };
  with_pool(settings(), body);
  EXPECT_EQ(owner("select string_agg(name, ' ') from things"), "two");
}

TEST_F(PoolOnServer, HealsWhenBackendsAreKilledMidFlight) {
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    int unavailable_reads = 0, unavailable_writes = 0;
    const auto read = [&]() -> async<> {
      auto tx = pool.read();
      const auto problem = co_await problem_of(tx.one(sleep, 30.0));
      unavailable_reads += problem.kind == Kind::unavailable;
    };
    const auto write = [&]() -> async<> {
      auto tx = pool.write();
      co_await tx.run(insert_quietly, 1, "one");
      const auto problem = co_await problem_of(tx.one(sleep, 30.0));
      unavailable_writes += problem.kind == Kind::unavailable;
    };
    for (int i = 0; i < 5; ++i) asio::co_spawn(executor, read(), asio::detached);
    asio::co_spawn(executor, write(), asio::detached);
    const std::string asleep = "from pg_stat_activity where application_name = 'cairn' and wait_event = 'PgSleep'";
    while (superuser("select count(*) " + asleep) != "2") co_await scratch::pause(1ms);
    superuser("select pg_terminate_backend(pid) " + asleep);
    while (unavailable_reads < 5 || unavailable_writes < 1) co_await scratch::pause(1ms);

    while (!pool.ready()) co_await scratch::pause(1ms);
    auto tx = pool.read();
    const auto answer = co_await tx.one(count);
    EXPECT_EQ(answer, 0);
    auto again = pool.write();
    co_await again.finish(insert_quietly, 2, "two");
    EXPECT_EQ(pool.stats().reconnects, 2U);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, HasAnotherEpochAfterACrashAndNotBefore) {
  const auto body = [](Pool& pool) -> async<> {
    const auto seen = [&]() -> async<std::string> {
      auto tx = pool.read();
      std::string epoch = co_await tx.one(epoch_of);
      co_return epoch;
    };
    const auto before = co_await seen();
    superuser("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cairn'");
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    const auto later = [&]() -> async<std::string> {
      std::string epoch;
      while (epoch.empty() && std::chrono::steady_clock::now() < deadline) {
        try {
          epoch = co_await seen();
        } catch (const Problem&) {}
        co_await scratch::pause(5ms);
      }
      co_return epoch;
    };
    EXPECT_EQ(co_await later(), before);
    pid_t victim = 0;
    {
      auto tx = pool.read();
      victim = co_await tx.one(backend);
    }
    ::kill(victim, SIGKILL);
    std::string after = before;
    while (after == before && std::chrono::steady_clock::now() < deadline) after = co_await later();
    EXPECT_NE(after, before);
    EXPECT_NE(after, "");
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, NoticesThatAnIdleConnectionIsGone) {
  const auto body = [](Pool& pool) -> async<> {
    superuser("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cairn'");
    while (pool.stats().reconnects < 2 || !pool.ready()) co_await scratch::pause(1ms);
    auto tx = pool.write();
    const auto answer = co_await tx.one(count);
    EXPECT_EQ(answer, 0);
  };
  with_pool(settings(), body);
}

TEST_F(PoolOnServer, TakesOnARoleThatIsNotTheLogin) {
  owner("grant cairn_app to cairn_owner");
  auto configured = settings();
  configured.conninfo = Server::instance().owner() + " options='-c work_mem=5MB'";
  configured.role = "cairn_app";
  static const Sql<std::string()> identity{
      "test.identity", "select concat_ws(' ', current_user, current_setting('work_mem'), current_setting('timezone'))"};
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const auto answer = co_await tx.one(identity);
    EXPECT_EQ(answer, "cairn_app 5MB UTC");
  };
  with_pool(configured, body);
}

TEST_F(PoolOnServer, RefusesAServerItMustNotUse) {
  const auto refusal = [](std::string conninfo) {
    auto configured = settings();
    configured.conninfo = std::move(conninfo);
    std::string cause;
    try {
      with_pool(configured, [](Pool&) -> async<> { co_return; });
    } catch (const Problem& problem) {
      EXPECT_EQ(problem.kind, Kind::unavailable);
      cause = problem.cause;
    }
    return cause;
  };
  EXPECT_THAT(refusal(Server::instance().superuser()), HasSubstr("superuser"));
  EXPECT_THAT(refusal(Server::instance().app() + " options='-c synchronous_commit=off'"),
              HasSubstr("synchronous_commit"));
  superuser("drop role if exists passer; create role passer login bypassrls");
  EXPECT_THAT(refusal("user=passer " + Server::instance().app().substr(0, Server::instance().app().find(" user=")) +
                      " dbname=scratch"),
              HasSubstr("bypasses"));
}

TEST_F(PoolOnServer, GivesUpStartingWhenNobodyAnswers) {
  auto configured = settings();
  configured.conninfo = "host=/nonexistent user=x dbname=y";
  asio::io_context io(1);
  Pool pool(io, configured);
  const auto whole = [&]() -> async<> {
    const auto problem = co_await problem_of(pool.start(200ms));
    EXPECT_EQ(problem.kind, Kind::unavailable);
    auto tx = pool.read();
    const auto read = co_await problem_of(tx.one(count));
    EXPECT_EQ(read.kind, Kind::unavailable);
  };
  scratch::run(io, whole);
}

TEST_F(PoolOnServer, ClosesAfterTheLastRequest) {
  const auto body = [](Pool& pool) -> async<> {
    const auto executor = co_await asio::this_coro::executor;
    std::optional<Problem> ended;
    const auto one = [&]() -> async<> {
      auto tx = pool.write();
      co_await tx.run(insert_quietly, 1, "one");
      co_await tx.one(sleep, 0.05);
      ended = co_await problem_of(tx.commit());
    };
    asio::co_spawn(executor, one(), asio::detached);
    while (pool.stats().writes_leased == 0) co_await scratch::pause(1ms);
    co_await pool.close();
    EXPECT_EQ(ended.value().code, "none");
    EXPECT_FALSE(pool.ready());
    auto late = pool.write();
    const auto problem = co_await problem_of(late.run(insert_quietly, 2, "two"));
    EXPECT_EQ(problem.kind, Kind::unavailable);
  };
  with_pool(settings(), body);
  EXPECT_EQ(things(), "1");
}

// AddressSanitizer is the judge: whatever is suspended where, nothing is freed twice or left behind.
TEST_F(PoolOnServer, MayGoWhileRequestsAreUnderWay) {
  asio::io_context io(1);
  auto pool = std::make_unique<Pool>(io, settings());
  int ended = 0;
  const auto read = [&]() -> async<> {
    auto tx = pool->read();
    co_await problem_of(tx.one(sleep, 5.0));
    ++ended;
  };
  const auto write = [&]() -> async<> {
    auto tx = pool->write();
    co_await problem_of(tx.run(insert_quietly, 1, "one"));
    co_await problem_of(tx.one(sleep, 5.0));
    ++ended;
  };
  const auto whole = [&]() -> async<> {
    co_await pool->start();
    for (int i = 0; i < 3; ++i) {
      asio::co_spawn(io, read(), asio::detached);
      asio::co_spawn(io, write(), asio::detached);
    }
    while (pool->stats().in_flight < 3 || pool->stats().waiters < 2) co_await scratch::pause(1ms);
    pool.reset();
    while (ended < 3) co_await scratch::pause(1ms);
  };
  scratch::run(io, whole);
}

TEST(Errors, FollowTheState) {
  const auto kind = [](std::string_view state) {
    try {
      raise(state, "", "");
    } catch (const Problem& problem) { return problem.kind; }
  };
  EXPECT_EQ(kind("23505"), Kind::conflict);
  EXPECT_EQ(kind("23514"), Kind::invalid);
  EXPECT_EQ(kind("22003"), Kind::invalid);
  EXPECT_EQ(kind("22021"), Kind::malformed);
  EXPECT_EQ(kind("42501"), Kind::not_found);
  EXPECT_EQ(kind("57014"), Kind::timeout);
  EXPECT_EQ(kind("57P01"), Kind::unavailable);
  EXPECT_EQ(kind("53300"), Kind::unavailable);
  EXPECT_EQ(kind("08006"), Kind::unavailable);
  EXPECT_EQ(kind("CA001"), Kind::internal);
  EXPECT_EQ(kind("42P01"), Kind::internal);
  EXPECT_THROW(raise("40001", "", ""), Retryable);
  EXPECT_THROW(raise("40P01", "", ""), Retryable);
}

}  // namespace
}  // namespace cairn::pg
