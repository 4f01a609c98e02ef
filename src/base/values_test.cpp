#include "base/values.hpp"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(Uuids, HaveOneTextForm) {
  const auto id = Uuid::make();
  EXPECT_EQ(Uuid::parse(id.text()), id);
  EXPECT_EQ(Uuid::parse("0195D6F0-0000-7000-8000-0000000000aF")->text(), "0195d6f0-0000-7000-8000-0000000000af");
  for (const auto* text : {"", "0195d6f0000070008000000000000000", "{0195d6f0-0000-7000-8000-0000000000}",
                           "0195d6f0-0000-7000-8000-00000000000", "0195d6f0-0000-7000-8000-0000000000000",
                           "0195d6f00-000-7000-8000-000000000000", "0195d6f0-0000-7000-8000-00000000-000",
                           "-195d6f0-0000-7000-8000-000000000000", "------------------------------------",
                           "0195d6f0-0000-7000-8000-00000000000g", "0195d6f0-0000-7000-8000-0000000000 0"})
    EXPECT_FALSE(Uuid::parse(text)) << text;
}

TEST(Decimals, ReadAndWriteTheSameNumber) {
  for (const auto& [text, units, again] : std::vector<std::tuple<std::string, std::int64_t, std::string>>{
           {"0", 0, "0.00"}, {"-0.05", -5, "-0.05"}, {"12.5", 1250, "12.50"}, {"9.9900", 999, "9.99"}}) {
    EXPECT_EQ(parse_decimal(text, 12, 2), units) << text;
    std::string out;
    append_decimal(out, units, 2);
    EXPECT_EQ(out, again);
  }
}

TEST(Decimals, RefuseWhatDoesNotFitOrIsNoPlainNumber) {
  for (const auto* text : {"", "-", ".5", "1.", "1.001", "1e3", "NaN", "+1", " 1", "1,5", "10000000000", "--1"})
    EXPECT_FALSE(parse_decimal(text, 12, 2)) << text;
  EXPECT_EQ(parse_decimal("9999999999.99", 12, 2), 999'999'999'999);
}

TEST(Texts, AreCountedInCodePointsAndAreValid) {
  EXPECT_EQ(count_code_points("aä€🕳"), 4u);
  using namespace std::string_view_literals;
  for (const auto text : {"\xff"sv, "\xc3"sv, "\xc0\xaf"sv, "\xed\xa0\x80"sv, "\xf4\x90\x80\x80"sv, "a\0b"sv})
    EXPECT_FALSE(count_code_points(text));
  EXPECT_EQ(text_problem("🕳🕳", 1, 2, Shape::line), "");
  EXPECT_NE(text_problem("🕳🕳🕳", 1, 2, Shape::line), "");
  EXPECT_NE(text_problem("a\nb", 1, 9, Shape::line), "");
  EXPECT_EQ(text_problem("a\nb", 1, 9, Shape::text), "");
}

TEST(Emails, AreStoredInLowerCase) { EXPECT_EQ(Email::parse("Ada@Example.ORG")->str(), "ada@example.org"); }

TEST(Changes, TellAbsentFromGiven) {
  Change<std::optional<int>> change;
  EXPECT_FALSE(change.given());
  change.set(std::nullopt);
  EXPECT_TRUE(change.given());
  EXPECT_EQ(change.value(), std::nullopt);
}

}  // namespace
}  // namespace cairn
