#include "importer/mapper.hpp"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <span>
#include <stdexcept>

#include "base/text.hpp"
#include "base/time.hpp"

namespace cairn::importer {
namespace {

constexpr std::size_t longest_title = 200, longest_metadata = 16'384, most_tags = 50;
constexpr std::string_view other_values = "other_values", spaces = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(spaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(spaces) - begin + 1);
}

std::string filled(std::string_view pattern, std::string_view value) {
  std::string text(pattern);
  if (const auto at = text.find("{}"); at != std::string::npos) text.replace(at, 2, value);
  return text;
}

bool digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// A number as people write it: [-]digits[.digits]. Exponents stay text: ten bytes of them can be a megabyte of JSONB.
bool is_number(std::string_view text) {
  if (text.size() > 40) return false;
  if (text.starts_with('-')) text.remove_prefix(1);
  const auto dot = text.find('.');
  const auto whole = text.substr(0, dot);
  if (!digits(whole) || (whole.size() > 1 && whole.front() == '0')) return false;
  return dot == std::string_view::npos || digits(text.substr(dot + 1));
}

std::string json_text(std::string_view text) { return boost::json::serialize(boost::json::string_view(text)); }
std::string json_value(std::string_view cell) { return is_number(cell) ? std::string(cell) : json_text(cell); }

void add_member(std::string& object, std::string_view name, std::string_view json) {
  object += object.empty() ? "{" : ", ";
  object += json_text(name);
  object += ": ";
  object += json;
}

// Control characters other than tabs and line breaks become the pictures Unicode has for them.
std::string with_visible_controls(std::string_view text, std::uint64_t& count) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool control = (c >= 0 && c < 0x20 && spaces.find(c) == std::string_view::npos) || c == 0x7F;
    if (!control) {
      out += c;
      continue;
    }
    ++count;
    out += "\xE2\x90";
    out += static_cast<char>(c == 0x7F ? 0xA1 : 0x80 + c);
  }
  return out;
}

std::string_view first_code_points(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const bool starts_one = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (starts_one && count-- == 0) break;
  }
  return text.substr(0, at);
}

struct Hours {
  std::int32_t rounded = 0;
  bool exact = true;
};
// Rounded half up, decided on the digits: 0.5 is 1 and 2.4999999999999999999 is 2.
std::optional<Hours> parse_hours(std::string_view text) {
  if (!is_number(text) || text.starts_with('-')) return std::nullopt;
  const auto dot = text.find('.');
  const auto whole = text.substr(0, dot);
  if (whole.size() > 7) return std::nullopt;
  const auto fraction = dot == std::string_view::npos ? std::string_view{} : text.substr(dot + 1);
  Hours hours;
  for (const char c : whole) hours.rounded = hours.rounded * 10 + (c - '0');
  hours.exact = fraction.find_first_not_of('0') == std::string_view::npos;
  if (!fraction.empty() && fraction.front() >= '5') ++hours.rounded;
  if (hours.rounded > 1'000'000) return std::nullopt;
  return hours;
}

}  // namespace

std::optional<ParsedDate> parse_date(const std::string& text, const std::vector<std::string>& formats, int pivot) {
  namespace ch = std::chrono;
  for (const auto& format : formats) {
    tm parts{};
    parts.tm_mday = 1;
    const auto* end = strptime(text.c_str(), format.c_str(), &parts);
    if (!end || *end != '\0') continue;
    int year = parts.tm_year + 1900;
    if (format.find("%y") != std::string::npos) year = year % 100 + (year % 100 < pivot ? 2000 : 1900);
    const ch::year_month_day day(ch::year(year), ch::month(static_cast<unsigned>(parts.tm_mon + 1)),
                                 ch::day(static_cast<unsigned>(parts.tm_mday)));
    // Instant and Date print years of four digits; strptime accepts the 30th of February and a second 60.
    if (!day.ok() || year < 1900 || year > 9999 || parts.tm_sec > 59) continue;
    const auto time = ch::sys_days(day) + ch::hours(parts.tm_hour) + ch::minutes(parts.tm_min) +
                      ch::seconds(parts.tm_sec) - ch::seconds(parts.tm_gmtoff);
    ParsedDate date;
    date.instant = Instant{ch::duration_cast<ch::microseconds>(time.time_since_epoch()).count()}.text();
    const bool has_time = format.find("%H") != std::string::npos || format.find("%T") != std::string::npos;
    date.shortest = has_time ? date.instant : date.instant.substr(0, 10);
    return date;
  }
  return std::nullopt;
}

std::string local_part(std::string_view source, std::string_view value) {
  std::string word;
  for (const char c : value.substr(0, 24)) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool plain = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
    if (plain)
      word += lower;
    else if (!word.empty() && word.back() != '-')
      word += '-';
  }
  if (word.ends_with('-')) word.pop_back();
  if (word == value) return fmt::format("{}-{}", source, word);
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a: the same on every machine and in every release
  for (const char c : value) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{}-{}{}{:016x}", source, word, word.empty() ? "" : "-", hash);
}

Mapper::Mapper(const Profile& profile, const std::string& file, std::vector<std::string> columns)
    : profile_(profile), file_(file), columns_(std::move(columns)) {
  for (auto column = columns_.begin(); column != columns_.end(); ++column) {
    if (std::find(columns_.begin(), column, *column) != column) {
      throw std::runtime_error(fmt::format("{}: two columns are named \"{}\"", file_, *column));
    }
  }
  stored_.assign(columns_.size(), false);
  is_date_ = is_repeat_ = stored_;
  const auto stored = [&](const std::string& column) {
    const auto index = find(column);
    if (index) stored_[*index] = true;
    return index;
  };
  const auto required = [&](const std::string& column) { return find(column).value_or(0); };
  key_ = *stored(profile_.key);
  title_ = *stored(profile_.title);
  description_ = stored(profile_.description);
  status_ = find(profile_.status);
  priority_ = find(profile_.priority);
  due_date_ = stored(profile_.due_date);
  created_at_ = stored(profile_.created_at);
  estimated_hours_ = find(profile_.estimated_hours);
  actual_hours_ = find(profile_.actual_hours);
  assigned_to_ = stored(profile_.assigned_to);
  created_by_ = stored(profile_.created_by);
  project_column_ = find(profile_.project_column);
  // The text before a separator does not say what came after it, except in the key, which is kept whole.
  if (project_column_ && profile_.project_before.empty()) stored_[*project_column_] = true;
  for (const auto& column : profile_.tags) tags_.push_back(*stored(column));
  for (const auto& column : profile_.people_columns) people_columns_.push_back(required(column));
  for (const auto& column : profile_.date_columns) is_date_[required(column)] = true;
  for (const auto& [member, column] : profile_.repeat) {
    repeat_.emplace_back(member, *stored(column));
    is_repeat_[repeat_.back().second] = true;
  }
  name_metadata();
}

Mapper::Index Mapper::find(const std::string& column) const {
  if (column.empty()) return std::nullopt;
  const auto found = std::ranges::find(columns_, column);
  if (found != columns_.end()) return static_cast<std::size_t>(found - columns_.begin());
  throw std::runtime_error(fmt::format("{} has no column \"{}\", which profile \"{}\" names; it has: {}", file_, column,
                                       profile_.name, fmt::join(columns_, ", ")));
}

void Mapper::name_metadata() {
  for (const auto& [column, name] : profile_.metadata) static_cast<void>(find(column));
  std::set<std::string, std::less<>> names{std::string(other_values), profile_.repeat_into};
  for (const auto& column : columns_) {
    const auto renamed = profile_.metadata.find(column);
    metadata_names_.push_back(renamed == profile_.metadata.end() ? column : renamed->second);
    if (!names.insert(metadata_names_.back()).second) {
      throw std::runtime_error(fmt::format("{}: two things would be \"{}\" in metadata; rename one in [metadata]",
                                           file_, metadata_names_.back()));
    }
  }
}

std::size_t Mapper::person(const std::string& value) {
  const auto [entry, is_new] = person_index_.try_emplace(value, people_.size());
  if (is_new) {
    Person person;
    person.value = value;
    person.local_part = local_part(profile_.name, value);
    person.first_name = filled(profile_.first_name, value);
    person.last_name = filled(profile_.last_name, value);
    people_.push_back(std::move(person));
  }
  return entry->second;
}

std::size_t Mapper::project(std::string external_id, std::string name) {
  const auto [entry, is_new] = project_index_.try_emplace(external_id, projects_.size());
  if (is_new) {
    Project project;
    project.external_id = std::move(external_id);
    project.name = std::move(name);
    projects_.push_back(std::move(project));
  }
  return entry->second;
}

// One task in the making: people and projects are entered only when all of its rows are good.
struct Mapper::Attempt {
  Mapper& mapper;
  const std::vector<Row>& rows;
  std::vector<BadRow>& bad;
  const Profile& profile = mapper.profile_;
  const Row& first = rows.front();
  Draft draft{};
  std::size_t problems = 0;
  std::string metadata{};
  std::vector<bool> keep{};  // by column: also in metadata
  std::vector<std::string> names{};
  std::string project_id{}, project_name{};

  void refuse(const Row& row, std::size_t column, std::string reason) {
    bad.emplace_back(mapper.file_, row.line, mapper.columns_[column], std::move(reason));
    ++problems;
  }
  const std::string& cell(std::size_t column) const { return first.cells[column]; }
  std::string shown(std::string_view text) { return with_visible_controls(text, draft.adjustments.controls_shown); }

  void read_key() {
    draft.external_id = fmt::format("{}:{}", profile.name, cell(mapper.key_));
    const auto& key = cell(mapper.key_);
    auto reason = text_problem(key, 1, 200 - profile.name.size() - 1, Shape::line);
    if (!reason.empty()) refuse(first, mapper.key_, "a key " + reason);
  }

  void read_texts() {
    if (mapper.description_ && !trimmed(cell(*mapper.description_)).empty()) {
      draft.description = shown(cell(*mapper.description_));
    }
    const auto& raw = cell(mapper.title_);
    const auto original = shown(trimmed(raw));
    auto title = original;
    std::ranges::replace_if(
        title, [](char c) { return c == '\t' || c == '\r' || c == '\n'; }, ' ');
    if (title.empty()) return refuse(first, mapper.title_, "a title must not be empty");
    if (count_code_points(title).value_or(0) > longest_title) {
      title = trimmed(first_code_points(title, longest_title - 1));
      title += "…";
      ++draft.adjustments.titles_shortened;
    } else if (title != original || trimmed(raw).size() != raw.size()) {
      ++draft.adjustments.titles_tidied;
    }
    const bool lost_something = title != original;
    draft.title = std::move(title);
    if (lost_something) { draft.description = draft.description ? original + "\n\n" + *draft.description : original; }
    if (!draft.description) return;
    auto reason = Markdown::problem(*draft.description);
    if (!reason.empty()) refuse(first, mapper.description_.value_or(mapper.title_), "a description " + reason);
  }
  std::string read_word(std::optional<std::size_t> column, const std::map<std::string, std::string, std::less<>>& words,
                        std::span<const std::string_view> known, const std::string& fallback) {
    if (!column) return fallback;
    const auto& word = cell(*column);
    const auto plain = trimmed(word);
    if (plain.empty()) return fallback;
    keep[*column] = true;
    if (const auto found = words.find(plain); found != words.end()) return found->second;
    if (std::ranges::find(known, plain) != known.end()) {
      keep[*column] = false;
      return std::string(plain);
    }
    if (const auto rest = words.find("*"); rest != words.end()) {
      ++draft.adjustments.values_defaulted;
      return rest->second;
    }
    refuse(first, *column, fmt::format("\"{}\" is not among the profile's values", plain));
    return fallback;
  }

  std::optional<std::int32_t> read_hours(std::optional<std::size_t> column) {
    if (!column || trimmed(cell(*column)).empty()) return std::nullopt;
    const auto hours = parse_hours(trimmed(cell(*column)));
    if (!hours) {
      refuse(first, *column, fmt::format("\"{}\" is not a number of hours from 0 to 1000000", cell(*column)));
      return std::nullopt;
    }
    keep[*column] = !hours->exact;
    if (!hours->exact) ++draft.adjustments.hours_rounded;
    return hours->rounded;
  }

  std::optional<ParsedDate> read_date(std::size_t column) {
    const auto text = std::string(trimmed(cell(column)));
    if (text.empty()) return std::nullopt;
    auto date = parse_date(text, profile.date_formats, profile.pivot);
    if (!date) {
      refuse(first, column, fmt::format("\"{}\" is not a date like {}", text, fmt::join(profile.date_formats, " or ")));
    }
    return date;
  }
  std::optional<std::string> read_instant(std::optional<std::size_t> column) {
    if (!column) return std::nullopt;
    const auto date = read_date(*column);
    return date ? std::optional(date->instant) : std::nullopt;
  }

  void read_tags() {
    for (const auto column : mapper.tags_) {
      std::string_view rest = cell(column);
      while (!rest.empty()) {
        const auto end = profile.tag_separator.empty() ? std::string_view::npos : rest.find(profile.tag_separator);
        const auto tag = trimmed(rest.substr(0, end));
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + profile.tag_separator.size());
        if (tag.empty() || std::ranges::find(draft.tags, tag) != draft.tags.end()) continue;
        if (draft.tags.size() < most_tags && text_problem(tag, 1, 64, Shape::line).empty()) {
          draft.tags.emplace_back(tag);
        } else {
          keep[column] = true;
          ++draft.adjustments.tags_in_metadata;
        }
      }
    }
  }

  void read_project() {
    auto word = profile.project_fixed;
    if (mapper.project_column_) {
      const auto& whole = cell(*mapper.project_column_);
      word = whole.substr(0, profile.project_before.empty() ? std::string::npos : whole.rfind(profile.project_before));
      word = trimmed(word);
    }
    const auto column = mapper.project_column_.value_or(mapper.key_);
    project_id = fmt::format("{}:{}", profile.name, word);
    project_name = filled(profile.project_name, word);
    for (const auto* text : {&word, &project_name, &project_id}) {
      auto reason = text_problem(*text, 1, 200, Shape::line);
      if (!reason.empty()) return refuse(first, column, "a project's name " + reason);
    }
  }

  // The word for a person in this cell; empty when it names no one.
  std::string person_word(const Row& row, std::size_t column) {
    const auto word = trimmed(row.cells[column]);
    if (word.empty()) return {};
    if (std::ranges::find(profile.nobody, word) != profile.nobody.end()) {
      keep[column] = true;
      return {};
    }
    for (const auto& pattern : {profile.first_name, profile.last_name}) {
      const auto reason = text_problem(filled(pattern, word), 1, 100, Shape::line);
      if (reason.empty()) continue;
      refuse(row, column, "a person's name " + reason);
      return {};
    }
    return std::string(word);
  }
  void read_people() {
    const auto add = [&](const Row& row, std::size_t column) {
      auto word = person_word(row, column);
      if (!word.empty()) names.push_back(std::move(word));
    };
    for (const auto& row : rows) {
      for (const auto column : mapper.people_columns_) add(row, column);
      for (const auto column : {mapper.assigned_to_, mapper.created_by_}) {
        if (column) add(row, *column);
      }
    }
  }

  // What the task's own fields do not hold, row by row and cell by cell.
  void write_metadata() {
    for (std::size_t column = 0; column < mapper.columns_.size(); ++column) {
      const bool wanted = !mapper.stored_[column] || keep[column];
      if (!wanted || cell(column).empty() || is_exact_hours(column) || is_exact_word(column)) continue;
      if (mapper.is_date_[column]) {
        const auto date = read_date(column);
        if (date) add_member(metadata, mapper.metadata_names_[column], json_text(date->shortest));
      } else {
        add_member(metadata, mapper.metadata_names_[column], json_value(cell(column)));
      }
    }
    write_repeats();
    write_other_values();
    if (metadata.empty()) metadata = "{";
    metadata += '}';
    if (metadata.size() > longest_metadata) {
      refuse(first, mapper.key_,
             fmt::format("what would be kept in metadata has {} bytes, at most {} fit", metadata.size(),
                         longest_metadata));
    }
    draft.metadata = std::move(metadata);
  }
  bool is_exact_hours(std::size_t column) const {
    return (mapper.estimated_hours_ == column || mapper.actual_hours_ == column) && !keep[column];
  }
  bool is_exact_word(std::size_t column) const {
    return (mapper.status_ == column || mapper.priority_ == column) && !keep[column];
  }

  void write_repeats() {
    if (mapper.repeat_.empty()) return;
    std::string array = "[";
    for (const auto& row : rows) {
      std::string object;
      for (const auto& [member, column] : mapper.repeat_) {
        if (!row.cells[column].empty()) add_member(object, member, json_value(row.cells[column]));
      }
      if (object.empty()) object = "{";
      array += array.size() > 1 ? ", " : "";
      array += object + '}';
    }
    add_member(metadata, profile.repeat_into, array + ']');
  }

  void write_other_values() {
    std::map<std::size_t, std::vector<std::string_view>> others;
    const auto add = [&](std::size_t column, const std::string& value) {
      auto& known = others[column];
      if (value == cell(column) || std::ranges::find(known, value) != known.end()) return;
      known.push_back(value);
      ++draft.adjustments.values_differing;
    };
    for (const auto& row : rows) {
      for (std::size_t column = 0; column < mapper.columns_.size(); ++column) {
        if (!mapper.is_repeat_[column]) add(column, row.cells[column]);
      }
      for (const auto& [column, value] : row.others) add(column, value);
    }
    std::string object;
    for (const auto& [column, values] : others) {
      if (values.empty()) continue;
      std::string array = "[";
      for (const auto value : values) {
        if (array.size() > 1) array += ", ";
        array += json_value(value);
      }
      add_member(object, mapper.columns_[column], array + ']');
    }
    if (!object.empty()) add_member(metadata, other_values, object + '}');
  }

  std::optional<Draft> run() {
    keep.assign(mapper.columns_.size(), false);
    draft.line = first.line;
    draft.rows = rows.size();
    for (const auto& row : rows) draft.adjustments.fields_reencoded += row.reencoded;
    read_key();
    read_texts();
    draft.status = read_word(mapper.status_, profile.status_values, task_statuses, profile.default_status);
    draft.priority = read_word(mapper.priority_, profile.priority_values, task_priorities, profile.default_priority);
    draft.due_date = read_instant(mapper.due_date_);
    draft.created_at = read_instant(mapper.created_at_);
    draft.estimated_hours = read_hours(mapper.estimated_hours_);
    draft.actual_hours = read_hours(mapper.actual_hours_);
    read_tags();
    read_project();
    read_people();
    write_metadata();
    if (problems > 0) return std::nullopt;

    draft.project = mapper.project(std::move(project_id), std::move(project_name));
    for (const auto& name : names) draft.people.push_back(mapper.person(name));
    const auto one = [&](std::optional<std::size_t> column) -> std::optional<std::size_t> {
      if (!column) return std::nullopt;
      const auto word = person_word(first, *column);
      return word.empty() ? std::nullopt : std::optional(mapper.person(word));
    };
    draft.assigned_to = one(mapper.assigned_to_);
    draft.created_by = one(mapper.created_by_);
    return std::move(draft);
  }
};

std::optional<Draft> Mapper::map(const std::vector<Row>& rows, std::vector<BadRow>& bad) {
  return Attempt{*this, rows, bad}.run();
}

}  // namespace cairn::importer
