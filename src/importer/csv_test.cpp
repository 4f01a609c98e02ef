#include "importer/csv.hpp"

#include <gmock/gmock.h>

#include <sstream>

namespace cairn::importer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Read {
  Read() = default;
  std::uint64_t line = 0;
  std::vector<std::string> fields;
  std::string problem;
  bool blank = false;
};

std::vector<Read> read(const std::string& text, char delimiter = ',') {
  std::istringstream in(text);
  CsvReader reader(in, delimiter);
  std::vector<Read> rows;
  for (CsvRecord record; reader.next(record);) {
    auto& row = rows.emplace_back();
    row.line = record.line;
    row.fields.assign(record.fields.begin(), record.fields.end());
    row.blank = record.blank;
    if (record.problem) row.problem = record.problem->reason;
  }
  return rows;
}

TEST(Csv, SplitsRowsAndUnquotesFields) {
  const auto rows = read("a,b,c\n1,\"two, \"\"2\"\"\",\n\"\",x\"y,z\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_THAT(rows[0].fields, ElementsAre("a", "b", "c"));
  EXPECT_THAT(rows[1].fields, ElementsAre("1", "two, \"2\"", ""));
  EXPECT_THAT(rows[2].fields, ElementsAre("", "x\"y", "z"));
}

TEST(Csv, CountsLinesAcrossQuotedLineBreaks) {
  const auto rows = read("a,b\r\n1,\"one\r\ntwo\nthree\"\r\n2,x\r\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_THAT(rows[1].fields, ElementsAre("1", "one\r\ntwo\nthree"));
  EXPECT_EQ(rows[1].line, 2u);
  EXPECT_THAT(rows[2].fields, ElementsAre("2", "x"));
  EXPECT_EQ(rows[2].line, 5u);
}

TEST(Csv, SkipsAByteOrderMarkAndNeedsNoLastLineEnd) {
  const auto rows = read("\xEF\xBB\xBFkey;title\n1;\"x\"", ';');
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].fields, ElementsAre("key", "title"));
  EXPECT_THAT(rows[1].fields, ElementsAre("1", "x"));
}

TEST(Csv, KeepsAnEmptyLastFieldAndMarksBlankLines) {
  const auto rows = read("a,b\n\n1,");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_TRUE(rows[1].blank);
  EXPECT_FALSE(rows[2].blank);
  EXPECT_THAT(rows[2].fields, ElementsAre("1", ""));
}

TEST(Csv, GoesOnAtTheNextLineAfterAQuoteThatIsNeverClosed) {
  const auto rows = read("a,b\n1,\"open\n2,fine\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_THAT(rows[1].problem, HasSubstr("character 3 is never closed"));
  EXPECT_THAT(rows[1].fields, ElementsAre("1"));
  EXPECT_EQ(rows[2].problem, "");
  EXPECT_EQ(rows[2].line, 3u);
  EXPECT_THAT(rows[2].fields, ElementsAre("2", "fine"));
}

TEST(Csv, RefusesTextAfterAClosingQuoteButNotTheNextRow) {
  const auto rows = read("1,\"foo\n2,\"bar\",x\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].problem, HasSubstr("after a closing quote"));
  EXPECT_THAT(rows[1].fields, ElementsAre("2", "bar", "x"));
}

TEST(Csv, RefusesNul) {
  const auto rows = read(std::string("1,a\0b,c\n2,d,e\n", 14));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].problem, "a NUL byte");
  EXPECT_EQ(rows[1].problem, "");
}

// The buffer is a quarter of a MiB: rows, quotes and line ends fall on its border somewhere in here.
TEST(Csv, ReadsTheSameAcrossBufferBorders) {
  for (std::size_t shift = 0; shift < 12; ++shift) {
    std::string text((std::size_t{1} << 18) - 8 + shift, 'x');
    text += ",\"a\"\"b\"\r\n1,\"\"\r\n";
    const auto rows = read(text);
    ASSERT_EQ(rows.size(), 2u) << shift;
    EXPECT_EQ(rows[0].fields.at(1), "a\"b") << shift;
    EXPECT_THAT(rows[1].fields, ElementsAre("1", "")) << shift;
    EXPECT_EQ(rows[1].line, 2u);
  }
}

TEST(Csv, ReadsARecordLongerThanItsBufferAndRefusesOneBeyondTheLimit) {
  const std::string long_field(std::size_t{3} << 20, 'y'), endless(std::size_t{17} << 20, 'z');
  const auto rows = read("1,\"" + long_field + "\"\n2,\"" + endless + "\"\n3,ok\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].fields.at(1), long_field);
  EXPECT_THAT(rows[1].problem, HasSubstr("longer than 16 MiB"));
  EXPECT_THAT(rows[2].fields, ElementsAre("3", "ok"));
}

}  // namespace
}  // namespace cairn::importer
