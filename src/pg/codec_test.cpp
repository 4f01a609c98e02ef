#include "pg/codec.hpp"

#include <gmock/gmock.h>

#include <random>

#include "pg/scratch.hpp"

namespace cairn::pg {
namespace {

BOOST_DEFINE_ENUM_CLASS(Color, red, green, dark_blue)

template<class T>
std::string encoded(const T& value) {
  std::string bytes;
  Codec<T>::encode(value, bytes);
  return bytes;
}

// One statement per type: the server gets the value in binary and returns it both ways.
template<class T>
struct Echo {
  Echo() = default;
  T value{};
  std::optional<std::string> text;
};
#define ECHO(type)                \
  using Echo_##type = Echo<type>; \
  BOOST_DESCRIBE_STRUCT(Echo_##type, (), (value, text))

using Words = std::vector<std::string>;
using Titles = std::vector<Text<1, 20>>;
using Ids = std::vector<Uuid>;
using Colors = std::vector<Color>;
using Blob = std::vector<std::uint8_t>;
using Hash = std::array<std::uint8_t, 4>;
using Money = Decimal<12, 2>;
using Hours = Decimal<6, 1>;
using Whole = Decimal<18, 0>;
using Tiny = Decimal<18, 18>;
using Title = Text<1, 20>;
using Link = Url<200>;
using MaybeInt = std::optional<std::int32_t>;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using string = std::string;
using TaskId = Id<struct Task>;

ECHO(bool)
ECHO(i16)
ECHO(i32)
ECHO(i64)
ECHO(double)
ECHO(string)
ECHO(Title)
ECHO(Email)
ECHO(Slug)
ECHO(Link)
ECHO(Uuid)
ECHO(TaskId)
ECHO(Instant)
ECHO(Date)
ECHO(Money)
ECHO(Hours)
ECHO(Whole)
ECHO(Tiny)
ECHO(JsonObject)
ECHO(JsonArray)
ECHO(MaybeInt)
ECHO(Words)
ECHO(Titles)
ECHO(Ids)
ECHO(Colors)
ECHO(Color)
ECHO(Blob)
ECHO(Hash)

class CodecOnServer : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch::Server::execute(scratch::Server::instance().owner(),
                             "create type color as enum ('red', 'green', 'dark_blue')");
  }

  // Sends each value; expects it back, and the server's text for it.
  template<class T>
  void echoes(SqlText<1> text, std::vector<std::pair<T, std::optional<std::string>>> cases) {
    static int number = 0;
    const auto name = "test.echo" + std::to_string(++number);
    const Sql<Echo<T>(T)> echo{name.c_str(), text};
    const auto body = [&](Pool& pool) -> async<> {
      auto tx = pool.read();
      for (const auto& [value, expected] : cases) {
        const auto echoed = co_await tx.one(echo, value);
        EXPECT_TRUE(echoed.value == value) << expected.value_or("null");
        EXPECT_EQ(echoed.text, expected);
      }
    };
    scratch::with_pool(scratch::settings(), body);
  }
};

TEST_F(CodecOnServer, CarriesBooleansAndNumbers) {
  echoes<bool>("select $1::bool as value, $1::text as text", {{true, "true"}, {false, "false"}});
  echoes<i16>("select $1::smallint as value, $1::text as text", {{0, "0"}, {32767, "32767"}, {-32768, "-32768"}});
  echoes<i32>("select $1::integer as value, $1::text as text",
              {{-1, "-1"}, {2147483647, "2147483647"}, {-2147483647 - 1, "-2147483648"}});
  echoes<i64>("select $1::bigint as value, $1::text as text",
              {{1, "1"},
               {std::numeric_limits<i64>::max(), "9223372036854775807"},
               {std::numeric_limits<i64>::min(), "-9223372036854775808"}});
  echoes<double>("select $1::float8 as value, $1::text as text",
                 {{0.1, "0.1"}, {-1e300, "-1e+300"}, {5e-324, "5e-324"}, {1.0 / 3, "0.3333333333333333"}});
}

TEST_F(CodecOnServer, CarriesDecimals) {
  echoes<Money>("select $1::numeric as value, $1::text as text", {{Money{0}, "0.00"},
                                                                  {Money{1}, "0.01"},
                                                                  {Money{-1}, "-0.01"},
                                                                  {Money{100}, "1.00"},
                                                                  {Money{1'000'000}, "10000.00"},
                                                                  {Money{1'234'567'89}, "1234567.89"},
                                                                  {Money{-999'999'999'999}, "-9999999999.99"},
                                                                  {Money{100'000'000'000}, "1000000000.00"}});
  echoes<Hours>("select $1::numeric as value, $1::text as text", {{Hours{5}, "0.5"}, {Hours{-999'999}, "-99999.9"}});
  echoes<Whole>("select $1::numeric as value, $1::text as text",
                {{Whole{7}, "7"}, {Whole{999'999'999'999'999'999}, "999999999999999999"}});
  echoes<Tiny>("select $1::numeric as value, $1::text as text",
               {{Tiny{1}, "0.000000000000000001"}, {Tiny{-999'999'999'999'999'999}, "-0.999999999999999999"}});
}

TEST_F(CodecOnServer, ReadsDecimalsHoweverTheServerWritesThem) {
  static const Sql<Money(string)> parse{"test.parse_decimal", "select $1::text::numeric"};
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    for (const auto& [text, units] : std::vector<std::pair<string, i64>>{{"1e9", 100'000'000'000},
                                                                         {"0.5", 50},
                                                                         {"12", 1200},
                                                                         {"12.3400000", 1234},
                                                                         {"-0.1", -10},
                                                                         {"10000", 1'000'000}}) {
      const auto money = co_await tx.one(parse, text);
      EXPECT_EQ(money.units, units) << text;
    }
    for (const string text : {"NaN", "Infinity", "0.001", "1e10", "1e30", "-10000000000"}) {
      const auto problem = co_await scratch::problem_of(tx.one(parse, text));
      EXPECT_EQ(problem.code, "internal") << text;
      EXPECT_NE(problem.cause.find("test.parse_decimal"), string::npos);
    }
  };
  scratch::with_pool(scratch::settings(), body);
}

TEST_F(CodecOnServer, CarriesText) {
  echoes<string>("select $1::text as value, $1::text as text",
                 {{"", ""}, {"\u00e4\u20ac\U0001f600 'x' \\", "\u00e4\u20ac\U0001f600 'x' \\"}});
  echoes<Title>("select $1::varchar as value, $1::text as text", {{Title::trusted("a title"), "a title"}});
  echoes<Email>("select $1::varchar as value, $1::text as text", {{Email::trusted("a@b.example"), "a@b.example"}});
  echoes<Slug>("select $1::text as value, $1::text as text", {{Slug::trusted("acme"), "acme"}});
  echoes<Link>("select $1::text as value, $1::text as text",
               {{Link::trusted("https://a.example/"), "https://a.example/"}});
  echoes<JsonObject>("select $1::jsonb as value, $1::text as text",
                     {{JsonObject::trusted(R"({"a": [1, null]})"), R"({"a": [1, null]})"}});
  echoes<JsonArray>("select $1::jsonb as value, $1::text as text", {{JsonArray::trusted("[]"), "[]"}});
}

TEST_F(CodecOnServer, CarriesIdsAndBytes) {
  const auto id = Uuid::make();
  echoes<Uuid>("select $1::uuid as value, $1::text as text", {{id, id.text()}, {Uuid{}, Uuid{}.text()}});
  echoes<TaskId>("select $1::uuid as value, $1::text as text", {{TaskId{id}, id.text()}});
  echoes<Blob>("select $1::bytea as value, encode($1, 'hex') as text", {{{}, ""}, {{0, 1, 0, 255}, "000100ff"}});
  echoes<Hash>("select $1::bytea as value, encode($1, 'hex') as text", {{{0, 1, 2, 3}, "00010203"}});
}

TEST_F(CodecOnServer, CarriesTimes) {
  echoes<Instant>("select $1::timestamptz as value, $1::text as text",
                  {{Instant{0}, "1970-01-01 00:00:00+00"},
                   {Instant{-1}, "1969-12-31 23:59:59.999999+00"},
                   {Instant::parse("9999-12-31T23:59:59.999999Z").value(), "9999-12-31 23:59:59.999999+00"},
                   {Instant::parse("1900-01-01T00:00:00Z").value(), "1900-01-01 00:00:00+00"},
                   {Instant::infinity(), "infinity"}});
  echoes<Date>("select $1::date as value, $1::text as text", {{Date{0}, "1970-01-01"},
                                                              {Date::parse("1900-01-01").value(), "1900-01-01"},
                                                              {Date::parse("9999-12-31").value(), "9999-12-31"}});
}

TEST_F(CodecOnServer, CarriesEnumsAndArrays) {
  echoes<Color>("select $1::color as value, $1::text as text", {{Color::red, "red"}, {Color::dark_blue, "dark_blue"}});
  echoes<Colors>("select $1::color[] as value, $1::text as text",
                 {{{}, "{}"}, {{Color::green, Color::dark_blue}, "{green,dark_blue}"}});
  echoes<Words>("select $1::text[] as value, $1::text as text",
                {{{}, "{}"}, {{"a", "", "b,\"c\"", "NULL"}, R"({a,"","b,\"c\"","NULL"})"}});
  echoes<Titles>("select $1::text[] as value, $1::text as text",
                 {{{Title::trusted("x"), Title::trusted("y")}, "{x,y}"}});
  const auto id = Uuid::make();
  echoes<Ids>("select $1::uuid[] as value, $1::text as text",
              {{{id, Uuid{}}, "{" + id.text() + "," + Uuid{}.text() + "}"}});
}

TEST_F(CodecOnServer, CarriesNulls) {
  echoes<MaybeInt>("select $1::integer as value, $1::text as text", {{std::nullopt, std::nullopt}, {3, "3"}});
}

TEST_F(CodecOnServer, BindsAChangeAsWhetherItIsGivenAndItsValue) {
  using Changed = Change<std::optional<Title>>;
  static const Sql<string(Changed)> told{"test.change", "select concat($1::bool, ' ', coalesce($2::text, 'null'))"};
  static const Sql<string(Change<Color>)> color{"test.change_color", "select concat($1::bool, ' ', $2::color)"};
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const Changed absent, null(std::nullopt), given(Title::trusted("t"));
    std::vector<string> answers;
    for (const auto& change : {absent, null, given}) answers.push_back(co_await tx.one(told, change));
    const Change<Color> no_color, red(Color::red);
    for (const auto& change : {no_color, red}) answers.push_back(co_await tx.one(color, change));
    EXPECT_THAT(answers, testing::ElementsAre("f null", "t null", "t t", "f ", "t red"));
  };
  scratch::with_pool(scratch::settings(), body);
}

TEST_F(CodecOnServer, SendsASecretAndBytesThatOnlyGoOneWay) {
  static const Sql<string(Secret, std::span<const std::uint8_t>)> told{"test.secret",
                                                                       "select $1::text || encode($2::bytea, 'hex')"};
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const Hash bytes{0, 9, 0, 9};
    const auto answer = co_await tx.one(told, Secret("hush"), bytes);
    EXPECT_EQ(answer, "hush00090009");
  };
  scratch::with_pool(scratch::settings(), body);
}

TEST(Codec, RefusesFieldsOfAnotherShape) {
  EXPECT_THROW(Codec<std::int32_t>::decode(Field("12345678")), BadField);
  EXPECT_THROW(Codec<std::int32_t>::decode(Field()), BadField);
  EXPECT_THROW(Codec<Uuid>::decode(Field("short")), BadField);
  EXPECT_THROW(Codec<Hash>::decode(Field("12345")), BadField);
  EXPECT_THROW(Codec<RawJson>::decode(Field("{}")), BadField);
  EXPECT_THROW(Codec<RawJson>::decode(Field("")), BadField);
  EXPECT_THROW(Codec<Color>::decode(Field("purple")), BadField);
  EXPECT_THROW(Codec<Instant>::decode(Field(std::string_view("\x80\0\0\0\0\0\0\0", 8))), BadField);
  EXPECT_THROW(Codec<Date>::decode(Field("\x7f\xff\xff\xff")), BadField);
}

TEST(Codec, RefusesCutOffArraysAndNullsInThem) {
  const auto whole = encoded(Words{"one", "two"});
  EXPECT_EQ(Codec<Words>::decode(Field(whole)), (Words{"one", "two"}));
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(Codec<Words>::decode(Field(std::string_view(whole).substr(0, size))), BadField) << size;
  auto with_null = whole;
  with_null.replace(20, 4, "\xff\xff\xff\xff");
  EXPECT_THROW(Codec<Words>::decode(Field(with_null)), BadField);
}

// Every string of bytes is either a value that encodes again or refused.
TEST(Codec, RefusesCutOffRecords) {
  const auto bytes = [](std::initializer_list<std::int32_t> numbers) {
    std::string out;
    for (const auto number : numbers) wire::put(out, number);
    return out;
  };
  const auto whole = bytes({2, 23, 4, 7, 23, -1});
  wire::RecordReader reader(Field(whole), 2);
  EXPECT_EQ(Codec<std::int32_t>::decode(reader.next()), 7);
  EXPECT_TRUE(reader.next().null());
  EXPECT_THROW(reader.next(), BadField);
  EXPECT_THROW(wire::RecordReader(Field(whole), 3), BadField);
  EXPECT_THROW(wire::RecordReader(Field(), 0), BadField);
  const auto cut = bytes({1, 23, 8, 7});
  wire::RecordReader other(Field(cut), 1);
  EXPECT_THROW(other.next(), BadField);
}

TEST(Codec, SurvivesAnyBytes) {
  std::mt19937 random(7);
  int decoded = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string bytes(random() % 32, '\0');
    for (auto& byte : bytes) byte = static_cast<char>(random() % 4 == 0 ? random() % 256 : random() % 3);
    try {
      const auto value = Codec<Decimal<12, 2>>::decode(Field(bytes));
      EXPECT_EQ(Codec<Money>::decode(Field(encoded(value))).units, value.units);
      ++decoded;
    } catch (const BadField&) {}
    try {
      const auto value = Codec<Words>::decode(Field(bytes));
      EXPECT_EQ(Codec<Words>::decode(Field(encoded(value))), value);
      ++decoded;
    } catch (const BadField&) {}
  }
  EXPECT_GT(decoded, 100);
}

}  // namespace
}  // namespace cairn::pg
