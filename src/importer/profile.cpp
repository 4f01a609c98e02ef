#include "importer/profile.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <span>
#include <stdexcept>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "base/text.hpp"

namespace cairn::importer {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view origin) : origin_(origin) {}

  [[noreturn]] void fail(const toml::source_region& at, std::string_view reason) const {
    throw std::runtime_error(fmt::format("{}:{}:{}: {}", origin_, at.begin.line, at.begin.column, reason));
  }

  // The tables and values a profile may hold are few: a misspelt one is an error, not a column that goes missing.
  void allow(const toml::table& table, std::string_view where, std::initializer_list<std::string_view> names) const {
    for (const auto& [key, node] : table) {
      if (std::ranges::find(names, key.str()) != names.end()) continue;
      fail(node.source(), fmt::format("{} has no \"{}\"; it may have: {}", where, key.str(), fmt::join(names, ", ")));
    }
  }

  const toml::table* table(const toml::table& parent, std::string_view name) const {
    const auto* node = parent.get(name);
    if (!node) return nullptr;
    if (!node->is_table()) fail(node->source(), fmt::format("\"{}\" must be a table", name));
    return node->as_table();
  }

  std::string text(const toml::node& node, std::string_view name) const {
    if (const auto* value = node.as_string()) return value->get();
    fail(node.source(), fmt::format("\"{}\" must be a string", name));
  }
  void text(const toml::table& parent, std::string_view name, std::string& into) const {
    if (const auto* node = parent.get(name)) into = text(*node, name);
  }
  void texts(const toml::table& parent, std::string_view name, std::vector<std::string>& into) const {
    const auto* node = parent.get(name);
    if (!node) return;
    into.clear();
    if (const auto* array = node->as_array()) {
      for (const auto& element : *array) into.push_back(text(element, name));
    } else {
      into.push_back(text(*node, name));
    }
  }

 private:
  std::string_view origin_;
};

void read_source(const Reader& read, const toml::table& root, Profile& profile) {
  const auto* source = read.table(root, "source");
  if (!source) read.fail(root.source(), "a profile needs a [source] table with name and key");
  read.allow(*source, "[source]", {"name", "encoding", "delimiter", "key"});
  read.text(*source, "name", profile.name);
  if (profile.name.empty() || profile.name.size() > 32 || !Slug::parse(profile.name + "-x")) {
    read.fail(source->source(), "[source] name must be 1 to 32 characters a-z, 0-9 and single dashes");
  }
  read.text(*source, "key", profile.key);
  if (profile.key.empty()) read.fail(source->source(), "[source] key must name the column that identifies a task");
  if (const auto* node = source->get("encoding")) {
    const auto encoding = encoding_named(read.text(*node, "encoding"));
    if (!encoding) {
      read.fail(node->source(), "encoding is one of: utf-8, latin-1, windows-1252, utf-8 else windows-1252");
    }
    profile.encoding = *encoding;
  }
  if (const auto* node = source->get("delimiter")) {
    const auto delimiter = read.text(*node, "delimiter");
    if (delimiter.size() != 1 || delimiter == "\"" || delimiter == "\n" || delimiter == "\r") {
      read.fail(node->source(), "delimiter must be one ASCII character other than a quote or a line break");
    }
    profile.delimiter = delimiter.front();
  }
}

void read_columns(const Reader& read, const toml::table& root, Profile& profile) {
  const auto* columns = read.table(root, "columns");
  if (!columns || !columns->contains("title")) {
    read.fail(columns ? columns->source() : root.source(),
              "a profile needs a [columns] table that maps at least title");
  }
  read.allow(*columns, "[columns]",
             {"title", "description", "status", "priority", "due_date", "created_at", "estimated_hours", "actual_hours",
              "assigned_to", "created_by", "tags", "tag_separator"});
  read.text(*columns, "title", profile.title);
  read.text(*columns, "description", profile.description);
  read.text(*columns, "status", profile.status);
  read.text(*columns, "priority", profile.priority);
  read.text(*columns, "due_date", profile.due_date);
  read.text(*columns, "created_at", profile.created_at);
  read.text(*columns, "estimated_hours", profile.estimated_hours);
  read.text(*columns, "actual_hours", profile.actual_hours);
  read.text(*columns, "assigned_to", profile.assigned_to);
  read.text(*columns, "created_by", profile.created_by);
  read.texts(*columns, "tags", profile.tags);
  read.text(*columns, "tag_separator", profile.tag_separator);
}

std::string one_of(const Reader& read, const toml::node& node, std::string_view name,
                   std::span<const std::string_view> known) {
  auto value = read.text(node, name);
  if (std::ranges::find(known, value) == known.end()) {
    read.fail(node.source(), fmt::format("\"{}\" is none of: {}", value, fmt::join(known, ", ")));
  }
  return value;
}

void read_values(const Reader& read, const toml::table& root, Profile& profile) {
  const auto read_map = [&](const toml::table& values, std::string_view name, std::span<const std::string_view> known,
                            auto& into) {
    const auto* table = read.table(values, name);
    if (!table) return;
    for (const auto& [key, node] : *table) into.emplace(key.str(), one_of(read, node, name, known));
  };
  if (const auto* values = read.table(root, "values")) {
    read.allow(*values, "[values]", {"status", "priority"});
    read_map(*values, "status", task_statuses, profile.status_values);
    read_map(*values, "priority", task_priorities, profile.priority_values);
  }
  if (const auto* defaults = read.table(root, "defaults")) {
    read.allow(*defaults, "[defaults]", {"status", "priority"});
    if (const auto* node = defaults->get("status")) {
      profile.default_status = one_of(read, *node, "status", task_statuses);
    }
    if (const auto* node = defaults->get("priority")) {
      profile.default_priority = one_of(read, *node, "priority", task_priorities);
    }
  }
}

void read_dates(const Reader& read, const toml::table& root, Profile& profile) {
  const auto* dates = read.table(root, "dates");
  if (!dates) return;
  read.allow(*dates, "[dates]", {"formats", "pivot", "columns"});
  read.texts(*dates, "formats", profile.date_formats);
  read.texts(*dates, "columns", profile.date_columns);
  if (const auto* node = dates->get("pivot")) {
    const auto pivot = node->value<std::int64_t>();
    if (!node->is_integer() || !pivot || *pivot < 0 || *pivot > 100) read.fail(node->source(), "pivot is 0 to 100");
    profile.pivot = static_cast<int>(*pivot);
  }
}

void read_people(const Reader& read, const toml::table& root, Profile& profile) {
  const auto* people = read.table(root, "people");
  if (!people) return;
  read.allow(*people, "[people]", {"columns", "nobody", "first_name", "last_name"});
  read.texts(*people, "columns", profile.people_columns);
  read.texts(*people, "nobody", profile.nobody);
  read.text(*people, "first_name", profile.first_name);
  read.text(*people, "last_name", profile.last_name);
}

void read_projects(const Reader& read, const toml::table& root, Profile& profile) {
  const auto* projects = read.table(root, "projects");
  if (!projects) read.fail(root.source(), "a profile needs a [projects] table with column or fixed");
  read.allow(*projects, "[projects]", {"column", "before", "name", "fixed"});
  read.text(*projects, "column", profile.project_column);
  read.text(*projects, "before", profile.project_before);
  read.text(*projects, "name", profile.project_name);
  read.text(*projects, "fixed", profile.project_fixed);
  if (profile.project_column.empty() == profile.project_fixed.empty()) {
    read.fail(projects->source(), "[projects] has either column or fixed");
  }
}

void read_joins(const Reader& read, const toml::table& root, Profile& profile) {
  const auto* joins = read.table(root, "joins");
  if (!joins) return;
  for (const auto& [name, node] : *joins) {
    const auto* table = node.as_table();
    if (!table) read.fail(node.source(), fmt::format("[joins.{}] must be a table", name.str()));
    read.allow(*table, fmt::format("[joins.{}]", name.str()), {"file", "key"});
    Join join;
    join.name = name.str();
    read.text(*table, "file", join.file);
    read.text(*table, "key", join.key);
    if (join.file.empty() || join.key.empty()) {
      read.fail(node.source(), fmt::format("[joins.{}] needs file and key", join.name));
    }
    profile.joins.push_back(std::move(join));
  }
}

void read_extras(const Reader& read, const toml::table& root, Profile& profile) {
  if (const auto* repeat = read.table(root, "repeat")) {
    read.allow(*repeat, "[repeat]", {"into", "columns"});
    read.text(*repeat, "into", profile.repeat_into);
    if (const auto* columns = read.table(*repeat, "columns")) {
      for (const auto& [member, node] : *columns) {
        profile.repeat.emplace_back(member.str(), read.text(node, member.str()));
      }
    }
    if (profile.repeat_into.empty() || profile.repeat.empty()) {
      read.fail(repeat->source(), "[repeat] needs into and a [repeat.columns] table");
    }
  }
  if (const auto* metadata = read.table(root, "metadata")) {
    for (const auto& [column, node] : *metadata) profile.metadata.emplace(column.str(), read.text(node, column.str()));
  }
}

}  // namespace

Profile parse_profile(std::string_view text, std::string_view origin) {
  const Reader read(origin);
  toml::table root;
  try {
    root = toml::parse(text, origin);
  } catch (const toml::parse_error& error) { read.fail(error.source(), error.description()); }
  read.allow(root, "a profile",
             {"source", "columns", "values", "defaults", "dates", "people", "projects", "joins", "repeat", "metadata"});
  Profile profile;
  read_source(read, root, profile);
  read_columns(read, root, profile);
  read_values(read, root, profile);
  read_dates(read, root, profile);
  read_people(read, root, profile);
  read_projects(read, root, profile);
  read_joins(read, root, profile);
  read_extras(read, root, profile);
  return profile;
}

Profile load_profile(const std::string& path_or_name) {
  struct Shipped {
    std::string_view name;
    std::string text;
  };
  static const std::vector<Shipped> shipped{
#include "profiles.inc"
  };
  for (const auto& profile : shipped)
    if (profile.name == path_or_name) return parse_profile(profile.text, path_or_name);

  const std::filesystem::path path(path_or_name);
  std::ifstream file(path, std::ios::binary);
  if (!file || !std::filesystem::is_regular_file(path)) {
    throw std::runtime_error(fmt::format("no import profile \"{}\": neither a file nor a shipped one", path_or_name));
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_profile(text, path.string());
}

}  // namespace cairn::importer
