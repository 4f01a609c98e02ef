#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "importer/profile.hpp"
#include "importer/report.hpp"

namespace cairn::importer {

// One row, decoded; joined columns follow those of the file.
struct Row {
  Row() = default;
  std::uint64_t line = 0;
  std::vector<std::string> cells;
  std::uint64_t reencoded = 0;
  // Cells of a joined file that contradict its first row of this key: column index and value.
  std::vector<std::pair<std::size_t, std::string>> others;
};

// Someone or something that rows refer to by a word of their own.
struct Person {
  Person() = default;
  std::string value;       // as in the file
  std::string local_part;  // of the placeholder's address
  std::string first_name, last_name;
};
struct Project {
  Project() = default;
  std::string external_id, name;
};

struct Draft {
  Draft() = default;
  std::uint64_t line = 0, rows = 0;
  std::string external_id, title, status, priority, metadata;    // metadata: the text of a JSON object
  std::optional<std::string> description, due_date, created_at;  // times: RFC 3339, UTC
  std::optional<std::int32_t> estimated_hours, actual_hours;
  std::vector<std::string> tags;
  std::size_t project = 0;                             // index in Mapper::projects
  std::optional<std::size_t> assigned_to, created_by;  // indexes in Mapper::people
  std::vector<std::size_t> people;                     // everyone this task names
  Adjustments adjustments;
};

// Turns the rows of one task into its draft. Keeps the list of people and projects met so far.
class Mapper {
 public:
  // Columns: the header of the file, then "<join>.<column>" for those joined. Throws std::runtime_error when the
  // profile names a column that is not there, or two columns would share a name in metadata.
  Mapper(const Profile& profile, const std::string& file, std::vector<std::string> columns);

  std::size_t key_column() const { return key_; }
  // The rows share a key. Without a draft, at least one of them is in `bad`.
  std::optional<Draft> map(const std::vector<Row>& rows, std::vector<BadRow>& bad);

  const std::vector<Person>& people() const { return people_; }
  const std::vector<Project>& projects() const { return projects_; }

 private:
  struct Attempt;  // one call of map
  using Index = std::optional<std::size_t>;

  Index find(const std::string& column) const;
  void name_metadata();
  std::size_t person(const std::string& value);
  std::size_t project(std::string external_id, std::string name);

  const Profile& profile_;
  std::string file_;
  std::vector<std::string> columns_;
  std::size_t key_ = 0, title_ = 0;
  Index description_, status_, priority_, due_date_, created_at_, estimated_hours_, actual_hours_, assigned_to_,
      created_by_, project_column_;
  std::vector<std::size_t> tags_, people_columns_;
  std::vector<std::pair<std::string, std::size_t>> repeat_;
  std::vector<bool> stored_;  // by column: a field of the task holds it, whole
  std::vector<bool> is_date_, is_repeat_;
  std::vector<std::string> metadata_names_;  // by column

  std::vector<Person> people_;
  std::vector<Project> projects_;
  std::unordered_map<std::string, std::size_t> person_index_, project_index_;
};

// "2026-02-03T00:00:00Z", or only the day when the format has no time of day; nullopt when no format fits.
struct ParsedDate {
  ParsedDate() = default;
  std::string instant, shortest;
};
std::optional<ParsedDate> parse_date(const std::string& text, const std::vector<std::string>& formats, int pivot);

// The part of a placeholder's address before the @: the word itself where an address can hold it, otherwise what it can
// hold and a hash of the word, so that two words never share a person.
std::string local_part(std::string_view source, std::string_view value);

}  // namespace cairn::importer
