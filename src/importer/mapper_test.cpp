#include "importer/mapper.hpp"

#include <gmock/gmock.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <stdexcept>

namespace cairn::importer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string tracker = R"([source]
name = "lab"
key = "No"
[columns]
title = "Summary"
description = "Text"
status = "State"
priority = "Rank"
estimated_hours = "Hours"
assigned_to = "Who"
created_at = "days.Begun"
tags = ["Kind"]
[values.status]
SHUT = "done"
[values.priority]
1 = "urgent"
"*" = "low"
[projects]
column = "Area"
name = "Area {}"
[people]
nobody = ["NA"]
[dates]
formats = ["%d-%b-%y"]
columns = ["days.Ended"]
[repeat]
into = "workers"
[repeat.columns]
id = "Worker"
spent = "Spent"
[metadata]
State = "state"
)";
const std::vector<std::string> header{"No",   "Summary", "Text",   "State", "Rank",  "Hours",      "Who",
                                      "Kind", "Area",    "Worker", "Spent", "Extra", "days.Begun", "days.Ended"};

class MapperTest : public testing::Test {
 protected:
  static Row row(std::vector<std::pair<std::size_t, std::string>> changes = {}, std::uint64_t line = 2) {
    Row row;
    row.line = line;
    row.cells = {"17",   "Paint it", "",  "SHUT", "1", "7",         "58",
                 "Shed", "North",    "4", "2.50", "",  "02-Nov-04", "16-Nov-04"};
    for (auto& [column, value] : changes) row.cells[column] = std::move(value);
    return row;
  }
  std::optional<Draft> map(std::vector<Row> rows) {
    bad.clear();
    return mapper.map(rows, bad);
  }
  Draft draft(std::vector<Row> rows) {
    auto result = map(std::move(rows));
    for (const auto& entry : bad) ADD_FAILURE() << entry.column << ": " << entry.reason;
    return result.value();
  }
  std::string reason(std::vector<std::pair<std::size_t, std::string>> changes) {
    if (map({row(std::move(changes))})) return "no error";
    return bad.front().column + ": " + bad.front().reason;
  }
  // Normalised, as PostgreSQL would read it.
  static std::string canonical(const std::string& json) { return boost::json::serialize(boost::json::parse(json)); }

  const Profile profile = parse_profile(tracker, "lab.toml");
  Mapper mapper{profile, "lab.csv", header};
  std::vector<BadRow> bad;
};

TEST_F(MapperTest, FillsEveryField) {
  const auto task = draft({row()});
  EXPECT_EQ(task.external_id, "lab:17");
  EXPECT_EQ(task.title, "Paint it");
  EXPECT_EQ(task.description, std::nullopt);
  EXPECT_EQ(task.status, "done");
  EXPECT_EQ(task.priority, "urgent");
  EXPECT_EQ(task.estimated_hours, 7);
  EXPECT_EQ(task.created_at, "2004-11-02T00:00:00Z");
  EXPECT_THAT(task.tags, ElementsAre("Shed"));
  EXPECT_EQ(mapper.people().at(task.assigned_to.value()).local_part, "lab-58");
  EXPECT_EQ(mapper.people().at(0).first_name, "58");
  EXPECT_EQ(mapper.projects().at(task.project).external_id, "lab:North");
  EXPECT_EQ(mapper.projects().at(task.project).name, "Area North");
}

TEST_F(MapperTest, KeepsInMetadataWhatNoFieldHolds) {
  EXPECT_EQ(draft({row({{11, "left over"}})}).metadata,
            R"({"state": "SHUT", "Rank": 1, "Extra": "left over", "days.Ended": "2004-11-16", )"
            R"("workers": [{"id": 4, "spent": 2.50}]})");
}

TEST_F(MapperTest, GathersTheRowsOfOneTask) {
  const auto task = draft({row(), row({{9, "5"}, {10, "NA"}, {1, "Paint that"}}, 3)});
  EXPECT_EQ(task.rows, 2u);
  EXPECT_EQ(task.title, "Paint it");
  EXPECT_THAT(task.metadata, HasSubstr(R"("workers": [{"id": 4, "spent": 2.50}, {"id": 5, "spent": "NA"}])"));
  EXPECT_THAT(task.metadata, HasSubstr(R"("other_values": {"Summary": ["Paint that"]})"));
  EXPECT_EQ(task.adjustments.values_differing, 1u);
}

TEST_F(MapperTest, RoundsHoursHalfUpAndKeepsTheExactNumber) {
  const auto task = draft({row({{5, "1.75"}})});
  EXPECT_EQ(task.estimated_hours, 2);
  EXPECT_THAT(task.metadata, HasSubstr(R"("Hours": 1.75)"));
  EXPECT_EQ(task.adjustments.hours_rounded, 1u);
  EXPECT_EQ(draft({row({{5, "0.5"}})}).estimated_hours, 1);
  EXPECT_EQ(draft({row({{5, "2.4999999999999999999"}})}).estimated_hours, 2);
  const auto whole = draft({row({{5, "7.00"}})});
  EXPECT_EQ(whole.adjustments.hours_rounded, 0u);
  EXPECT_THAT(whole.metadata, testing::Not(HasSubstr("Hours")));
}

TEST_F(MapperTest, ShortensALongTitleAndKeepsTheWholeOnTopOfTheDescription) {
  std::string title;
  for (int i = 0; i < 201; ++i) title += "é";
  const auto task = draft({row({{1, title}, {2, "more"}})});
  std::string shortened;
  for (int i = 0; i < 199; ++i) shortened += "é";
  EXPECT_EQ(task.title, shortened + "…");
  EXPECT_EQ(task.description, title + "\n\nmore");
  EXPECT_EQ(task.adjustments.titles_shortened, 1u);
  const auto fitting = draft({row({{1, std::string(200, 'x')}})});
  EXPECT_EQ(fitting.title, std::string(200, 'x'));
  EXPECT_EQ(fitting.description, std::nullopt);
}

TEST_F(MapperTest, MakesATitleOneLine) {
  const auto task = draft({row({{1, " two\nlines "}})});
  EXPECT_EQ(task.title, "two lines");
  EXPECT_EQ(task.description, "two\nlines");
  EXPECT_EQ(task.adjustments.titles_tidied, 1u);
}

TEST_F(MapperTest, ShowsControlCharactersInsteadOfDroppingThem) {
  const auto task = draft({row({{2, "a\x05\x7F\tb"}})});
  EXPECT_EQ(task.description, "a␅␡\tb");
  EXPECT_EQ(task.adjustments.controls_shown, 2u);
}

TEST_F(MapperTest, KeepsAWordThatTheDefaultCaught) {
  const auto task = draft({row({{4, "whenever"}})});
  EXPECT_EQ(task.priority, "low");
  EXPECT_THAT(task.metadata, HasSubstr(R"("Rank": "whenever")"));
  EXPECT_EQ(task.adjustments.values_defaulted, 1u);
  EXPECT_EQ(draft({row({{3, "in_progress"}})}).status, "in_progress") << "our own words need no mapping";
}

TEST_F(MapperTest, ReadsNobody) {
  const auto task = draft({row({{6, "NA"}})});
  EXPECT_EQ(task.assigned_to, std::nullopt);
  EXPECT_THAT(task.metadata, HasSubstr(R"("Who": "NA")"));
  EXPECT_EQ(draft({row({{6, ""}})}).assigned_to, std::nullopt);
}

TEST_F(MapperTest, NumbersStayNumbersUnlessTheyAreNone) {
  for (const auto* number : {"0", "-3.5", "12345678901234567890.12"}) {
    EXPECT_THAT(draft({row({{11, number}})}).metadata, HasSubstr(std::string("\"Extra\": ") + number));
  }
  for (const auto* word : {"007", "1e131071", "-", "1.", ".5", "NaN"}) {
    EXPECT_THAT(draft({row({{11, word}})}).metadata, HasSubstr(std::string("\"Extra\": \"") + word + '"'));
  }
}

TEST_F(MapperTest, RefusesRowsWithTheirColumnAndReason) {
  EXPECT_EQ(reason({{1, "  "}}), "Summary: a title must not be empty");
  EXPECT_EQ(reason({{0, ""}}), "No: a key must not be empty");
  EXPECT_THAT(reason({{0, "17 "}}), HasSubstr("No: a key must not begin or end with a space"));
  EXPECT_EQ(reason({{3, "BROKEN"}}), "State: \"BROKEN\" is not among the profile's values");
  EXPECT_THAT(reason({{5, "-1"}}), HasSubstr("Hours: \"-1\" is not a number of hours"));
  EXPECT_THAT(reason({{5, "1000000.5"}}), HasSubstr("Hours: "));
  EXPECT_THAT(reason({{12, "31-Feb-04"}}), HasSubstr("days.Begun: \"31-Feb-04\" is not a date like %d-%b-%y"));
  EXPECT_THAT(reason({{13, "soon"}}), HasSubstr("days.Ended: "));
  EXPECT_THAT(reason({{2, std::string(100'001, 'x')}}), HasSubstr("Text: a description must have at most 100000"));
  EXPECT_THAT(reason({{11, std::string(17'000, 'x')}}), HasSubstr("at most 16384 fit"));
  EXPECT_THAT(reason({{8, ""}}), HasSubstr("Area: a project's name"));
  EXPECT_THAT(reason({{6, std::string(101, 'x')}}), HasSubstr("Who: a person's name"));
}

TEST_F(MapperTest, ABadTaskEntersNoPeopleAndNoProjects) {
  EXPECT_FALSE(map({row({{1, ""}, {6, "99"}, {8, "South"}})}));
  EXPECT_TRUE(mapper.people().empty());
  EXPECT_TRUE(mapper.projects().empty());
}

TEST_F(MapperTest, MetadataIsJsonWhateverTheCellsHold) {
  const auto task = draft({row({{11, "a\"b\\c\n\x01€"}})});
  EXPECT_THAT(canonical(task.metadata), HasSubstr("a\\\"b\\\\c\\n"));
}

TEST(Mapper, RefusesAHeaderWithoutTheProfilesColumns) {
  const auto profile = parse_profile(tracker, "lab.toml");
  auto columns = header;
  columns[1] = "Subject";
  EXPECT_THROW(Mapper(profile, "lab.csv", columns), std::runtime_error);
  columns[1] = "No";
  EXPECT_THROW(Mapper(profile, "lab.csv", columns), std::runtime_error);
  columns = header;
  columns[11] = "state";
  EXPECT_THROW(Mapper(profile, "lab.csv", columns), std::runtime_error) << "two columns would be metadata.state";
}

TEST(Dates, TurnTwoDigitYearsAtThePivot) {
  EXPECT_EQ(parse_date("01-Jan-69", {"%d-%b-%y"}, 70)->shortest, "2069-01-01");
  EXPECT_EQ(parse_date("01-Jan-70", {"%d-%b-%y"}, 70)->shortest, "1970-01-01");
  EXPECT_EQ(parse_date("01-Jan-04", {"%d-%b-%y"}, 4)->shortest, "1904-01-01");
}

TEST(Dates, TryEveryFormatAndTakeTheWholeText) {
  const std::vector<std::string> formats{"%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"};
  EXPECT_EQ(parse_date("2026-02-03", formats, 70)->instant, "2026-02-03T00:00:00Z");
  EXPECT_EQ(parse_date("2026-02-03T01:30:00+0200", formats, 70)->shortest, "2026-02-02T23:30:00Z");
  EXPECT_FALSE(parse_date("2026-02-03 and more", formats, 70));
  EXPECT_FALSE(parse_date("2026-02-30", formats, 70));
  EXPECT_FALSE(parse_date("1066-10-14", formats, 70));
  EXPECT_FALSE(parse_date("infinity", formats, 70));
}

TEST(People, TwoWordsNeverShareAPlaceholder) {
  EXPECT_EQ(local_part("sip", "58"), "sip-58");
  EXPECT_EQ(local_part("sip", "jane-doe"), "sip-jane-doe");
  const std::vector<std::string> words{"Jane Doe", "jane doe", "JANE-DOE", "Jane  Doe", "Ж", "Щ", "jane-doe", "---"};
  std::set<std::string> parts;
  for (const auto& word : words) parts.insert(local_part("sip", word));
  EXPECT_EQ(parts.size(), words.size());
  for (const auto& part : parts) EXPECT_LE(part.size(), 64u);
}

}  // namespace
}  // namespace cairn::importer
