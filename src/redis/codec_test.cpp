#include "redis/codec.hpp"
#include "redis/pipeline.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace cairn::redis {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using Type = Reply::Type;

TEST(Encode, CountsBytesAndEscapesNothing) {
  const std::vector<std::string_view> parts{"SET", std::string_view("\0\r\n%s", 5), ""};
  EXPECT_EQ(encode(parts), "*3\r\n$3\r\nSET\r\n$5\r\n\0\r\n%s\r\n$0\r\n\r\n"s);
}

TEST(Encode, RefusesACommandThatRedisWouldNotAnswer) { EXPECT_THROW(encode({}), std::invalid_argument); }

TEST(Decoder, ReadsEveryTypeCutAtAnyByte) {
  const auto wire = ":-7\r\n$-1\r\n*-1\r\n$3\r\na\0b\r\n+OK\r\n-ERR no\r\n*3\r\n*2\r\n:1\r\n$1\r\nx\r\n$-1\r\n*0\r\n"s;
  Decoder decoder;
  std::vector<Reply> replies;
  for (char byte : wire) {
    decoder.feed(std::string_view(&byte, 1));
    while (auto reply = decoder.next()) replies.push_back(std::move(*reply));
  }
  ASSERT_FALSE(decoder.broken());
  ASSERT_EQ(replies.size(), 7u);
  EXPECT_EQ(replies[0].type, Type::integer);
  EXPECT_EQ(replies[0].integer, -7);
  EXPECT_TRUE(replies[1].is_nil());
  EXPECT_TRUE(replies[2].is_nil());
  EXPECT_EQ(replies[3].text, "a\0b"s);
  EXPECT_EQ(replies[4].type, Type::string);
  EXPECT_EQ(replies[4].text, "OK");
  EXPECT_TRUE(replies[5].is_error());
  EXPECT_EQ(replies[5].text, "ERR no");
  const auto& array = replies[6].elements;
  ASSERT_EQ(array.size(), 3u);
  ASSERT_EQ(array[0].elements.size(), 2u);
  EXPECT_EQ(array[0].elements[0].integer, 1);
  EXPECT_EQ(array[0].elements[1].text, "x");
  EXPECT_TRUE(array[1].is_nil());
  EXPECT_EQ(array[2].type, Type::array);
  EXPECT_TRUE(array[2].elements.empty());
}

TEST(Decoder, ReadsManyRepliesOfOneChunk) {
  std::string wire;
  for (int i = 0; i < 5000; ++i) wire += ":" + std::to_string(i) + "\r\n";
  Decoder decoder;
  decoder.feed(wire);
  for (int i = 0; i < 5000; ++i) {
    auto reply = decoder.next();
    ASSERT_TRUE(reply);
    ASSERT_EQ(reply->integer, i);
  }
  EXPECT_FALSE(decoder.next());
}

TEST(Decoder, StaysBrokenAfterNonsense) {
  Decoder decoder;
  decoder.feed("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_FALSE(decoder.next());
  EXPECT_TRUE(decoder.broken());
  decoder.feed(":1\r\n");
  EXPECT_FALSE(decoder.next());
}

TEST(Decoder, ReservesNothingForAnAnnouncedArray) {
  Decoder decoder;
  decoder.feed("*2147483647\r\n:1\r\n");
  EXPECT_FALSE(decoder.next());
}

const Pipeline<int>::Clock::time_point start{};

TEST(Pipeline, MatchesRepliesInOrder) {
  Pipeline<int> pipeline;
  pipeline.add(1, start);
  pipeline.add(2, start);
  EXPECT_EQ(pipeline.pop(), 1);
  EXPECT_EQ(pipeline.pop(), 2);
  EXPECT_TRUE(pipeline.empty());
}

TEST(Pipeline, SwallowsTheReplyOfAnAbandonedCommand) {
  Pipeline<int> pipeline;
  pipeline.add(1, start);
  auto ticket = pipeline.add(2, start);
  pipeline.add(3, start);
  EXPECT_EQ(pipeline.abandon(ticket), 2);
  EXPECT_EQ(pipeline.abandon(ticket), std::nullopt);
  EXPECT_EQ(pipeline.size(), 3u);
  EXPECT_EQ(pipeline.pop(), 1);
  EXPECT_EQ(pipeline.pop(), std::nullopt);
  EXPECT_EQ(pipeline.pop(), 3);
}

TEST(Pipeline, IgnoresTicketsGoneBy) {
  Pipeline<int> pipeline;
  auto ticket = pipeline.add(1, start);
  pipeline.pop();
  pipeline.add(2, start);
  EXPECT_EQ(pipeline.abandon(ticket), std::nullopt);
  EXPECT_EQ(pipeline.abandon(ticket + 2), std::nullopt);
  EXPECT_EQ(pipeline.pop(), 2);
}

TEST(Pipeline, AbandonsWhatIsOverdueAndOwesItsReplyStill) {
  Pipeline<int> pipeline;
  auto first = pipeline.add(1, start + 10ms);
  pipeline.add(2, start + 20ms);
  pipeline.add(3, start + 30ms);
  EXPECT_FALSE(pipeline.overdue(start + 9ms));
  EXPECT_EQ(pipeline.expire(start + 9ms), std::vector<int>{});
  pipeline.abandon(first);
  EXPECT_EQ(pipeline.expire(start + 20ms), std::vector{2});
  EXPECT_EQ(pipeline.expire(start + 20ms), std::vector<int>{});
  EXPECT_TRUE(pipeline.overdue(start + 10ms));
  EXPECT_EQ(pipeline.size(), 3u);
}

TEST(Pipeline, DrainsOnlyThoseWhoStillWait) {
  Pipeline<int> pipeline;
  pipeline.abandon(pipeline.add(1, start));
  pipeline.add(2, start);
  EXPECT_EQ(pipeline.drain(), std::vector{2});
  EXPECT_TRUE(pipeline.empty());
}

}  // namespace
}  // namespace cairn::redis
