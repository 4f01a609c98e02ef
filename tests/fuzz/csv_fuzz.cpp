// A file that somebody else wrote: rows that can be read are read alike when written again, cells become text, and a
// row becomes a task that the database takes.
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <sstream>

#include "base/text.hpp"
#include "base/time.hpp"
#include "fuzz/fuzz.hpp"
#include "importer/csv.hpp"
#include "importer/encoding.hpp"
#include "importer/mapper.hpp"

namespace cairn::fuzz {
namespace {

using namespace importer;

using Table = std::vector<std::vector<std::string>>;

Table read(std::string_view text, char delimiter, bool& readable) {
  std::istringstream in{std::string(text)};
  CsvReader reader(in, delimiter);
  Table table;
  std::uint64_t line = 0;
  for (CsvRecord record; reader.next(record);) {
    require(record.line > line, "lines count up");
    line = record.line;
    readable = readable && !record.problem;
    if (!record.problem) {
      require(!record.fields.empty(), "a row has a field");
      table.emplace_back(record.fields.begin(), record.fields.end());
    }
  }
  return table;
}

std::string written(const Table& table, char delimiter) {
  std::string text;
  for (const auto& row : table) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += delimiter;
      text += '"';
      for (const char c : row[i]) text += c == '"' ? "\"\"" : std::string(1, c);
      text += '"';
    }
    text += "\r\n";
  }
  return text;
}

const Profile profile = parse_profile(R"([source]
name = "lab"
key = "No"
[columns]
title = "Summary"
description = "Text"
status = "State"
priority = "Rank"
estimated_hours = "Hours"
assigned_to = "Who"
created_at = "Begun"
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
formats = ["%d-%b-%y", "%Y-%m-%dT%H:%M:%S%z"]
columns = ["Ended"]
[repeat]
into = "workers"
[repeat.columns]
id = "Worker"
)",
                                      "fuzz");
const std::vector<std::string> header{"No",   "Summary", "Text",  "State",  "Rank",  "Hours", "Who",
                                      "Kind", "Area",    "Extra", "Worker", "Begun", "Ended"};

void check(const Draft& draft, const Mapper& mapper) {
  require(Text<1, 200>::problem(draft.title).empty(), "a title is a title");
  require(Text<1, 200>::problem(draft.external_id).empty(), "an external id is one");
  require(draft.tags.size() <= 50, "not too many tags");
  for (const auto& tag : draft.tags) require(Text<1, 64>::problem(tag).empty(), "a tag is a tag");
  require(!draft.description || Markdown::problem(*draft.description).empty(), "a description is text");
  for (const auto& moment : {draft.due_date, draft.created_at})
    require(!moment || Instant::parse(*moment).has_value(), "a moment is one");
  for (const auto& hours : {draft.estimated_hours, draft.actual_hours})
    require(!hours || (*hours >= 0 && *hours <= 1'000'000), "hours are within their limits");
  boost::system::error_code error;
  const auto metadata = boost::json::parse(draft.metadata, error);
  require(!error && metadata.is_object() && draft.metadata.size() <= 16 * 1024, "metadata is an object");
  require(draft.project < mapper.projects().size(), "the project is known");
  for (const auto person : draft.people) {
    const auto& local = mapper.people().at(person).local_part;
    require(Email::parse(local + "@lab.invalid").has_value(), "a placeholder has an address");
  }
}

}  // namespace

void run(std::string_view bytes) {
  const char delimiter = bytes.size() % 2 ? ',' : ';';
  bool readable = true, again = true;
  const auto table = read(bytes, delimiter, readable);
  require(read(written(table, delimiter), delimiter, again) == table && again, "written and read again: the same rows");

  for (const auto encoding :
       {Encoding::utf_8, Encoding::latin_1, Encoding::windows_1252, Encoding::utf_8_else_windows_1252})
    if (const auto text = decode(bytes, encoding))
      require(count_code_points(text->text).has_value() || bytes.find('\0') != std::string_view::npos,
              "a decoded cell is UTF-8");

  Mapper mapper(profile, "fuzz.csv", header);
  std::vector<Row> rows;
  for (const auto& fields : table) {
    Row row;
    for (std::size_t i = 0; i < header.size(); ++i) {
      const auto cell = i < fields.size() ? decode(fields[i], Encoding::utf_8_else_windows_1252) : Decoded();
      if (cell) row.cells.push_back(cell->text);
    }
    if (row.cells.size() == header.size()) rows.push_back(std::move(row));
  }
  std::vector<BadRow> bad;
  for (const auto& row : rows)
    if (const auto draft = mapper.map({row}, bad)) check(*draft, mapper);
  if (rows.size() > 1) {
    for (auto& row : rows) row.cells[0] = rows[0].cells[0];
    if (const auto draft = mapper.map(rows, bad)) check(*draft, mapper);
  }
}

}  // namespace cairn::fuzz
