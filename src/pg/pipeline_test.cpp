#include "pg/pipeline.hpp"

#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <map>
#include <random>

namespace cairn::pg {
namespace {

using State = Segment::State;
using Ending = Segment::Ending;
constexpr auto later = Segment::Clock::time_point::max();

Result reply(ExecStatusType status) { return Result(PQmakeEmptyPGresult(nullptr, status)); }
Result sync_reply() { return reply(PGRES_PIPELINE_SYNC); }

// A result that says whose it is.
Result canary(int number) {
  auto* result = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
  std::string name = "canary", text = std::to_string(number);
  PGresAttDesc column{};
  column.name = name.data();
  PQsetResultAttrs(result, 1, &column);
  PQsetvalue(result, 0, 0, text.data(), static_cast<int>(text.size()));
  return Result(result);
}

SegmentPtr segment(std::size_t commands = 1, Ending ending = Ending::sync,
                   Segment::Clock::time_point deadline = later) {
  auto made = std::make_shared<Segment>(ending, deadline);
  made->commands.resize(commands);
  return made;
}

SegmentPtr written(Pipeline& pipeline, SegmentPtr made) {
  pipeline.push(made);
  pipeline.mark_written();
  return made;
}

TEST(Pipeline, AnswersSegmentsInTheOrderTheyWereWritten) {
  Pipeline pipeline;
  const auto first = written(pipeline, segment(2)), second = written(pipeline, segment());
  EXPECT_EQ(pipeline.in_flight(), 2U);
  for (const int number : {1, 2}) {
    EXPECT_TRUE(pipeline.feed(canary(number)));
    EXPECT_TRUE(pipeline.feed({}));
    EXPECT_EQ(first->state, State::reading);
  }
  EXPECT_TRUE(pipeline.feed(sync_reply()));
  EXPECT_EQ(first->state, State::done);
  EXPECT_EQ(second->state, State::written);
  EXPECT_EQ(first->commands[1].result.field(0, 0).bytes(), "2");
  EXPECT_EQ(pipeline.take_finished(), std::vector{first});
  EXPECT_TRUE(pipeline.expecting());
}

TEST(Pipeline, SwallowsTheRepliesOfAnAbandonedSegment) {
  Pipeline pipeline;
  const auto gone = written(pipeline, segment()), next = written(pipeline, segment());
  pipeline.abandon(*gone);
  for (const int number : {1, 2}) {
    EXPECT_TRUE(pipeline.feed(canary(number)));
    EXPECT_TRUE(pipeline.feed({}));
    EXPECT_TRUE(pipeline.feed(sync_reply()));
  }
  EXPECT_EQ(gone->state, State::abandoned);
  EXPECT_EQ(next->state, State::done);
  EXPECT_EQ(next->commands[0].result.field(0, 0).bytes(), "2");
  EXPECT_FALSE(pipeline.expecting());
}

TEST(Pipeline, NeverSendsASegmentThatIsAbandonedWhileItWaits) {
  Pipeline pipeline;
  const auto gone = segment(), next = segment();
  pipeline.push(gone);
  pipeline.push(next);
  pipeline.abandon(*gone);
  EXPECT_EQ(pipeline.next_waiting(), next.get());
  EXPECT_EQ(pipeline.waiting(), 1U);
  EXPECT_FALSE(pipeline.expecting());
}

TEST(Pipeline, EndsASegmentWithoutSyncAfterItsLastCommand) {
  Pipeline pipeline;
  const auto open = written(pipeline, segment(1, Ending::flush)), commit = written(pipeline, segment(0));
  EXPECT_TRUE(pipeline.feed(canary(1)));
  EXPECT_TRUE(pipeline.feed({}));
  EXPECT_EQ(open->state, State::done);
  EXPECT_TRUE(pipeline.feed(sync_reply()));
  EXPECT_EQ(commit->state, State::done);
}

const Sql<bool()> prelude{"test.pipeline_prelude", "select true"};

// A group of as many as there are numbers, with the server's answer to all but the sync; a negative number is a
// failure, and what follows it is not run.
std::vector<SegmentPtr> answered_group(Pipeline& pipeline, const std::vector<int>& numbers, bool reads = false) {
  std::vector<SegmentPtr> group;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    auto made = segment(1, i + 1 < numbers.size() ? Ending::joined : Ending::sync);
    made->shares = &prelude;
    made->reads = reads;
    group.push_back(written(pipeline, std::move(made)));
  }
  bool failed = false;
  for (const int number : numbers) {
    EXPECT_TRUE(pipeline.feed(failed       ? reply(PGRES_PIPELINE_ABORTED)
                              : number < 0 ? reply(PGRES_FATAL_ERROR)
                                           : canary(number)));
    failed = failed || number < 0;
    EXPECT_TRUE(pipeline.feed({}));
  }
  return group;
}

TEST(Pipeline, AnswersAGroupWhenItsSyncDoes) {
  Pipeline pipeline;
  const auto group = answered_group(pipeline, {1, 2, 3});
  EXPECT_EQ(pipeline.groups(), 1U);
  EXPECT_EQ(pipeline.in_flight(), 3U);
  EXPECT_TRUE(pipeline.take_finished().empty());
  EXPECT_TRUE(pipeline.feed(sync_reply()));
  EXPECT_EQ(pipeline.groups(), 0U);
  EXPECT_EQ(pipeline.in_flight(), 0U);
  EXPECT_EQ(pipeline.take_finished(), group);
  for (std::size_t i = 0; i < group.size(); ++i) {
    EXPECT_EQ(group[i]->state, State::done);
    EXPECT_FALSE(group[i]->again);
    EXPECT_EQ(group[i]->commands[0].result.field(0, 0).bytes(), std::to_string(i + 1));
  }
}

TEST(Pipeline, WantsAWholeGroupAgainWhenAnyOfItFails) {
  for (const auto& numbers : {std::vector{1, -2, 3}, std::vector{-1, 2}, std::vector{1, -2}}) {
    Pipeline pipeline;
    const auto group = answered_group(pipeline, numbers);
    pipeline.abandon(*group.front());
    EXPECT_TRUE(pipeline.feed(sync_reply()));
    EXPECT_EQ(pipeline.take_finished(), group);
    EXPECT_EQ(group.front()->state, State::abandoned);
    for (std::size_t i = 1; i < group.size(); ++i) {
      EXPECT_TRUE(group[i]->again);
      group[i]->begin_again();
      EXPECT_EQ(group[i]->state, State::waiting);
      EXPECT_EQ(group[i]->ending, Ending::sync);
      EXPECT_EQ(group[i]->shares, nullptr);
      EXPECT_FALSE(group[i]->commands[0].result);
    }
  }
  Pipeline pipeline;  // the commit of all of them
  const auto group = answered_group(pipeline, {1, 2});
  EXPECT_TRUE(pipeline.feed(reply(PGRES_FATAL_ERROR)));
  EXPECT_TRUE(pipeline.feed({}));
  EXPECT_TRUE(pipeline.feed(sync_reply()));
  EXPECT_TRUE(group[0]->again && group[1]->again);
}

TEST(Pipeline, AnswersReadsBeforeTheirGroupEnds) {
  for (const auto& numbers : {std::vector{1, 2, 3}, std::vector{1, -2, 3}, std::vector{1, 2, -3}}) {
    Pipeline pipeline;
    const auto group = answered_group(pipeline, numbers, true);
    std::size_t fine = 0;
    while (fine < 2 && numbers[fine] > 0) ++fine;
    const auto early = pipeline.take_finished();
    EXPECT_EQ(early.size(), fine);
    EXPECT_EQ(pipeline.in_flight(), group.size() - fine);
    EXPECT_TRUE(pipeline.feed(sync_reply()));
    EXPECT_EQ(pipeline.take_finished().size(), group.size() - fine);
    EXPECT_EQ(pipeline.groups(), 0U);
    for (std::size_t i = 0; i < group.size(); ++i) {
      EXPECT_EQ(group[i]->state, State::done);
      EXPECT_EQ(group[i]->again, i >= fine && numbers != std::vector({1, 2, 3})) << i;
    }
  }
}

TEST(Pipeline, LosesAGroupWholeWhenCleared) {
  Pipeline pipeline;
  const auto group = answered_group(pipeline, {1, 2});
  EXPECT_EQ(pipeline.clear(), group);
  EXPECT_EQ(pipeline.groups(), 0U);
  EXPECT_FALSE(pipeline.expecting());
}

TEST(Pipeline, KeepsTheFailureOfACommit) {
  Pipeline pipeline;
  const auto sent = written(pipeline, segment());
  EXPECT_TRUE(pipeline.feed(canary(1)));
  EXPECT_TRUE(pipeline.feed({}));
  EXPECT_TRUE(pipeline.feed(reply(PGRES_FATAL_ERROR)));
  EXPECT_TRUE(pipeline.feed({}));
  EXPECT_TRUE(pipeline.feed(sync_reply()));
  EXPECT_TRUE(sent->sync_failure);
  EXPECT_EQ(sent->state, State::done);
}

TEST(Pipeline, ReportsRepliesThatBelongToNothing) {
  const auto rejects = [](std::vector<ExecStatusType> before, ExecStatusType last, Ending ending = Ending::sync) {
    Pipeline pipeline;
    written(pipeline, segment(1, ending));
    for (const auto status : before) EXPECT_TRUE(pipeline.feed(status == PGRES_EMPTY_QUERY ? Result() : reply(status)));
    return !pipeline.feed(last == PGRES_EMPTY_QUERY ? Result() : reply(last));
  };
  constexpr auto end = PGRES_EMPTY_QUERY;  // stands for libpq's NULL
  EXPECT_TRUE(rejects({}, end));
  EXPECT_TRUE(rejects({}, PGRES_PIPELINE_SYNC));
  EXPECT_TRUE(rejects({}, PGRES_COPY_IN));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK}, PGRES_TUPLES_OK));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK}, PGRES_PIPELINE_SYNC));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK, end}, end));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK, end}, PGRES_TUPLES_OK));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK, end, PGRES_FATAL_ERROR, end}, end));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK, end, PGRES_PIPELINE_SYNC}, PGRES_PIPELINE_SYNC));
  EXPECT_TRUE(rejects({PGRES_TUPLES_OK, end}, PGRES_PIPELINE_SYNC, Ending::flush));
}

TEST(Pipeline, ExpiresWhatIsLateWhereverItIs) {
  Pipeline pipeline;
  const auto now = Segment::Clock::now();
  const auto late = written(pipeline, segment(1, Ending::sync, now)), in_time = written(pipeline, segment());
  const auto late_waiting = segment(1, Ending::sync, now - std::chrono::seconds(1)), waiting = segment();
  pipeline.push(late_waiting);
  pipeline.push(waiting);
  const std::vector expected{late, late_waiting};
  EXPECT_EQ(pipeline.expire(now), expected);
  EXPECT_TRUE(pipeline.expire(now).empty());
  EXPECT_EQ(pipeline.in_flight(), 2U);
  EXPECT_EQ(pipeline.next_waiting(), waiting.get());
}

TEST(Pipeline, GivesBackEverythingSomebodyStillWaitsForWhenCleared) {
  Pipeline pipeline;
  const auto gone = written(pipeline, segment()), sent = written(pipeline, segment()), waiting = segment();
  pipeline.push(waiting);
  pipeline.abandon(*gone);
  const std::vector expected{sent, waiting};
  EXPECT_EQ(pipeline.clear(), expected);
  EXPECT_FALSE(pipeline.expecting());
  EXPECT_EQ(pipeline.next_waiting(), nullptr);
}

// Against a model of the server: a queue of the segments it was sent, each answering with its own number.
TEST(Pipeline, GivesEveryoneTheirOwnAnswerWhateverIsAbandoned) {
  std::mt19937 random(20'26);
  const auto dice = [&](unsigned sides) { return random() % sides; };
  Pipeline pipeline;
  std::map<const Segment*, int> numbers;
  std::vector<SegmentPtr> alive;
  std::deque<SegmentPtr> server;
  int made = 0, answered = 0, abandoned_late = 0;

  while (made < 20'000 || !server.empty() || pipeline.next_waiting() != nullptr) {
    switch (dice(4)) {
      case 0:
        if (made == 20'000) break;
        alive.push_back(segment(1 + dice(3), dice(3) == 0 ? Ending::flush : Ending::sync));
        numbers[alive.back().get()] = made++;
        pipeline.push(alive.back());
        break;
      case 1:
        if (pipeline.next_waiting() == nullptr) break;
        for (const auto& each : alive)
          if (each.get() == pipeline.next_waiting()) server.push_back(each);
        pipeline.mark_written();
        break;
      case 2:
        if (alive.empty() || dice(4) != 0) break;
        if (const auto& victim = alive[dice(static_cast<unsigned>(alive.size()))]; victim->state != State::done) {
          abandoned_late += victim->state != State::waiting && victim->state != State::abandoned;
          pipeline.abandon(*victim);
        }
        break;
      case 3:
        if (server.empty()) break;
        const auto answering = server.front();
        server.pop_front();
        for (std::size_t i = 0; i < answering->commands.size(); ++i) {
          ASSERT_TRUE(pipeline.feed(canary(numbers[answering.get()])));
          ASSERT_TRUE(pipeline.feed({}));
        }
        ASSERT_TRUE(answering->ending == Ending::flush || pipeline.feed(sync_reply()));
        const auto finished = pipeline.take_finished();
        ASSERT_EQ(finished, std::vector{answering});
        if (answering->state == State::done) ++answered;
        ASSERT_EQ(answering->commands.back().result.field(0, 0).bytes(), std::to_string(numbers[answering.get()]));
        std::erase(alive, answering);
        break;
    }
    std::erase_if(alive,
                  [&](const SegmentPtr& each) { return each->state == State::abandoned && each.use_count() == 1; });
  }
  EXPECT_GT(answered, 5'000);
  EXPECT_GT(abandoned_late, 100);
}

}  // namespace
}  // namespace cairn::pg
