#pragma once
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace cairn::importer {

// What had to be done to values so that they fit, counted for the tasks that were created.
struct Adjustments {
  std::uint64_t titles_shortened = 0;  // the whole title is on top of the description
  std::uint64_t titles_tidied = 0;     // space around them removed, line breaks made spaces
  std::uint64_t hours_rounded = 0;     // the exact number is in metadata
  std::uint64_t fields_reencoded = 0;  // bytes that were not UTF-8
  std::uint64_t controls_shown = 0;    // control characters replaced by their visible pictures (U+2400...)
  std::uint64_t values_defaulted = 0;  // status and priority words caught by "*"; the word is in metadata
  std::uint64_t values_differing = 0;  // cells of repeat rows that contradict the first row; in metadata.other_values
  std::uint64_t tags_in_metadata = 0;  // too long or too many to be tags

  Adjustments& operator+=(const Adjustments& other);
};

struct BadRow {
  BadRow() = default;
  BadRow(std::string in_file, std::uint64_t at_line, std::string in_column, std::string why);
  std::string file;
  std::uint64_t line = 0;  // of the row's first character, from 1
  std::string column;      // by its name in the header; empty when the whole row is meant
  std::string reason;
};

struct JoinReport {
  JoinReport() = default;
  std::string name, file;
  std::uint64_t rows = 0, rows_repeated = 0, rows_bad = 0;  // repeated: a key seen before
  std::uint64_t keys_unused = 0;                            // keys no row of the main file has
  std::uint64_t rows_without = 0;                           // rows of the main file without a partner
};

struct Report {
  Report() = default;

  std::string file, profile, organization, actor, request_id;
  bool dry_run = false, atomic = false;
  bool committed = false;  // false: nothing was written

  // rows = tasks_created + rows_merged + rows_present + rows_bad + rows_held_back
  std::uint64_t rows = 0;            // below the header, without blank lines
  std::uint64_t rows_merged = 0;     // further rows of the tasks created
  std::uint64_t rows_present = 0;    // rows of tasks that were there already
  std::uint64_t rows_bad = 0;        // each has at least one entry in bad_rows
  std::uint64_t rows_held_back = 0;  // good rows of a task that has a bad one: a task comes whole or not at all
  std::uint64_t blank_lines = 0;

  std::uint64_t tasks_created = 0, tasks_present = 0;
  std::uint64_t projects_named = 0, projects_created = 0;
  std::uint64_t people_named = 0, people_assigned = 0, people_created = 0;
  Adjustments adjustments;
  std::vector<JoinReport> joins;
  std::vector<BadRow> bad_rows;
  double seconds = 0;

  bool ok() const { return bad_rows.empty(); }
};

void print(const Report& report, std::ostream& out, bool json);

}  // namespace cairn::importer
