#include "base/codec.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace cairn::codec_example {

BOOST_DEFINE_ENUM_CLASS(Color, red, green)

struct Draft : json::Written {
  Draft() = default;
  Text<1, 5> name;
  std::optional<Bounded<0, 9>> count;
  Change<std::optional<Color>> color;
  std::optional<std::vector<Text<1, 3>>> tags;
};
BOOST_DESCRIBE_STRUCT(Draft, (), (name, count, color, tags))

struct Row : json::Read {
  Row() = default;
  Text<1, 5> name;
  std::optional<Decimal<12, 2>> budget;
  std::optional<Color> color;
};
BOOST_DESCRIBE_STRUCT(Row, (), (name, budget, color))

}  // namespace cairn::codec_example

namespace cairn::json {
namespace {

using codec_example::Color;
using codec_example::Draft;
using codec_example::Row;

std::vector<std::string> pointers(std::string_view text) {
  Draft draft;
  Decoder decoder;
  decode(decoder, parse(text), draft);
  std::vector<std::string> found;
  for (const auto& error : decoder.errors()) found.push_back(error.pointer);
  return found;
}

TEST(Codecs, CollectEveryErrorWithItsPointer) {
  using Pointers = std::vector<std::string>;
  EXPECT_EQ(pointers(R"({"name":"x"})"), Pointers{});
  EXPECT_EQ(pointers("{}"), Pointers{"/name"});
  EXPECT_EQ(pointers("[]"), Pointers{""});
  EXPECT_EQ(pointers(R"({"name":"too long","count":10,"color":"blue","tags":["a","long",1],"a/b~c":1})"),
            (Pointers{"/name", "/count", "/color", "/tags/1", "/tags/2", "/a~1b~0c"}));
}

TEST(Codecs, TellAbsentFromNull) {
  Draft draft;
  Decoder decoder;
  decode(decoder, parse(R"({"name":"x","color":null})"), draft);
  EXPECT_TRUE(decoder.ok());
  EXPECT_TRUE(draft.color.given());
  EXPECT_FALSE(draft.color.value());
  EXPECT_FALSE(draft.count);
}

TEST(Codecs, WriteEveryMember) {
  Row row;
  row.name = Text<1, 5>::trusted("a\"b");
  row.budget = Decimal<12, 2>{-5};
  std::string out;
  encode(out, row);
  EXPECT_EQ(out, R"({"name":"a\"b","budget":"-0.05","color":null})");
}

template<class T>
void expect_there_and_back(const T& value) {
  std::string printed;
  encode(printed, value);
  T back{};
  Decoder decoder;
  decode(decoder, parse(printed), back);
  RC_ASSERT(decoder.ok());
  RC_ASSERT(back == value);
}

RC_GTEST_PROP(Codecs, ReadWhatTheyWrite, (std::int64_t number, bool flag)) {
  expect_there_and_back(number);
  expect_there_and_back(flag);
  expect_there_and_back(Decimal<12, 2>{number % 1'000'000'000'000});
  expect_there_and_back(Instant{*rc::gen::inRange<std::int64_t>(-2'208'988'800'000'000, 253'402'300'800'000'000)});
  expect_there_and_back(std::optional(Id<Draft>::make()));
  const auto ascii = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  expect_there_and_back(ascii);
  expect_there_and_back(std::vector<std::string>(3, "é🕳" + ascii));
}

TEST(Schemas, RequireWhatIsAlwaysThere) {
  Components components;
  const auto read = Codec<Row>::definition(components), written = Codec<Draft>::definition(components);
  EXPECT_EQ(read.at("required"), bj::value(bj::array{"name", "budget", "color"}));
  EXPECT_EQ(written.at("required"), bj::value(bj::array{"name"}));
  EXPECT_EQ(read.at("additionalProperties"), bj::value(false));
}

TEST(Schemas, AreNamedAfterTheirEntity) {
  EXPECT_EQ(component_name(typeid(Draft).name()), "CodecExampleDraft");
  EXPECT_EQ(component_name("N5cairn4task4TaskE"), "Task");
  EXPECT_EQ(component_name("N5cairn4task5DraftE"), "TaskDraft");
}

}  // namespace
}  // namespace cairn::json
