#pragma once
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "importer/encoding.hpp"

namespace cairn::importer {

// A second file, joined by key; its columns are written "<name>.<column>" elsewhere in the profile.
struct Join {
  Join() = default;
  std::string name, file, key;
};

// How one shape of CSV file becomes tasks: docs/import.md describes the file. Columns are named by the file's header.
struct Profile {
  Profile() = default;

  // [source]
  std::string name;  // prefix of external ids and placeholder people
  Encoding encoding = Encoding::utf_8;
  char delimiter = ',';
  std::string key;  // rows with the same key are one task

  // [columns]; empty: the file has no such column
  std::string title, description, status, priority, due_date, created_at, estimated_hours, actual_hours, assigned_to,
      created_by;
  std::vector<std::string> tags;
  std::string tag_separator;  // empty: a cell is one tag

  // [values.status], [values.priority]: what the file says -> what Cairn says; "*" catches the rest
  std::map<std::string, std::string, std::less<>> status_values, priority_values;
  // [defaults]: for an empty cell or a missing column
  std::string default_status = "todo", default_priority = "medium";

  // [dates]
  std::vector<std::string> date_formats{"%Y-%m-%d"};  // strptime(3), tried in order
  int pivot = 70;                                     // two-digit years below it are 20xx
  std::vector<std::string> date_columns;              // columns kept in metadata as ISO dates

  // [people]
  std::vector<std::string> people_columns;  // besides assigned_to and created_by
  std::vector<std::string> nobody;          // values that name no one; the empty cell never does
  std::string first_name = "{}", last_name = "(imported)";

  // [projects]: either from a column or one for the whole file
  std::string project_column, project_before, project_name = "{}", project_fixed;

  std::vector<Join> joins;  // [joins.<name>]

  // [repeat]: what differs between rows of one task, kept as an array of objects in metadata
  std::string repeat_into;
  std::vector<std::pair<std::string, std::string>> repeat;  // member -> column

  std::map<std::string, std::string, std::less<>> metadata;  // [metadata]: column -> its name there
};

// Throws std::runtime_error "origin:line:column: reason" on a profile that cannot be used.
Profile parse_profile(std::string_view toml, std::string_view origin);

// The name of a profile in profiles/, which are part of the program, or a path.
Profile load_profile(const std::string& path_or_name);

inline constexpr std::array<std::string_view, 5> task_statuses{"todo", "in_progress", "review", "done", "cancelled"};
inline constexpr std::array<std::string_view, 4> task_priorities{"low", "medium", "high", "urgent"};

}  // namespace cairn::importer
