#include "importer/report.hpp"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

namespace cairn::importer {

Adjustments& Adjustments::operator+=(const Adjustments& other) {
  titles_shortened += other.titles_shortened;
  titles_tidied += other.titles_tidied;
  hours_rounded += other.hours_rounded;
  fields_reencoded += other.fields_reencoded;
  controls_shown += other.controls_shown;
  values_defaulted += other.values_defaulted;
  values_differing += other.values_differing;
  tags_in_metadata += other.tags_in_metadata;
  return *this;
}

BadRow::BadRow(std::string in_file, std::uint64_t at_line, std::string in_column, std::string why)
    : file(std::move(in_file)), line(at_line), column(std::move(in_column)), reason(std::move(why)) {}

namespace {

namespace json = boost::json;

std::string json_report(const Report& report) {
  const auto& made = report.adjustments;
  json::array bad, joins;
  for (const auto& row : report.bad_rows) {
    bad.push_back(json::object{{"file", row.file}, {"line", row.line}, {"column", row.column}, {"reason", row.reason}});
  }
  for (const auto& join : report.joins) {
    joins.push_back(json::object{{"name", join.name},
                                 {"file", join.file},
                                 {"rows", join.rows},
                                 {"rows_repeated", join.rows_repeated},
                                 {"rows_bad", join.rows_bad},
                                 {"keys_unused", join.keys_unused},
                                 {"rows_without", join.rows_without}});
  }
  return json::serialize(json::object{
      {"file", report.file},
      {"profile", report.profile},
      {"organization", report.organization},
      {"actor", report.actor},
      {"request_id", report.request_id},
      {"dry_run", report.dry_run},
      {"atomic", report.atomic},
      {"committed", report.committed},
      {"ok", report.ok()},
      {"seconds", report.seconds},
      {"rows", json::object{{"read", report.rows},
                            {"merged", report.rows_merged},
                            {"present", report.rows_present},
                            {"bad", report.rows_bad},
                            {"held_back", report.rows_held_back},
                            {"blank_lines", report.blank_lines}}},
      {"tasks", json::object{{"created", report.tasks_created}, {"present", report.tasks_present}}},
      {"projects", json::object{{"named", report.projects_named}, {"created", report.projects_created}}},
      {"people",
       json::object{
           {"named", report.people_named}, {"assigned", report.people_assigned}, {"created", report.people_created}}},
      {"adjustments", json::object{{"titles_shortened", made.titles_shortened},
                                   {"titles_tidied", made.titles_tidied},
                                   {"hours_rounded", made.hours_rounded},
                                   {"fields_reencoded", made.fields_reencoded},
                                   {"controls_shown", made.controls_shown},
                                   {"values_defaulted", made.values_defaulted},
                                   {"values_differing", made.values_differing},
                                   {"tags_in_metadata", made.tags_in_metadata}}},
      {"joins", std::move(joins)},
      {"bad_rows", std::move(bad)}});
}

void print_count(std::ostream& out, std::uint64_t count, std::string_view what) {
  if (count > 0) out << fmt::format("  {:>9}  {}\n", count, what);
}

void print_text(const Report& report, std::ostream& out) {
  out << fmt::format("{} into {} as {}, profile {}, {:.2f} s\n", report.file, report.organization, report.actor,
                     report.profile, report.seconds);
  if (report.dry_run)
    out << "A dry run: nothing was written; what follows would have been.\n";
  else if (!report.committed)
    out << "Nothing was written, because rows are bad; what follows would have been.\n";

  out << fmt::format("{} rows\n", report.rows);
  print_count(out, report.tasks_created, "became tasks");
  print_count(out, report.rows_merged, "are further rows of those tasks");
  print_count(out, report.rows_present, "belong to tasks that were here already, left unchanged");
  print_count(out, report.rows_bad, "are bad");
  print_count(out, report.rows_held_back, "are held back with a bad row of the same task");
  out << fmt::format("{} tasks created, {} here already\n", report.tasks_created, report.tasks_present);
  out << fmt::format("{} projects named, {} created\n", report.projects_named, report.projects_created);
  out << fmt::format("{} people named, {} of them assignees, {} created\n", report.people_named, report.people_assigned,
                     report.people_created);
  for (const auto& join : report.joins) {
    out << fmt::format("{} ({}): {} rows, {} of them repeated and {} bad; {} keys unused, {} rows without a partner\n",
                       join.file, join.name, join.rows, join.rows_repeated, join.rows_bad, join.keys_unused,
                       join.rows_without);
  }

  const auto& made = report.adjustments;
  print_count(out, made.titles_shortened, "titles shortened; the whole title is on top of the description");
  print_count(out, made.titles_tidied, "titles freed of spaces around them or line breaks inside");
  print_count(out, made.hours_rounded, "hours rounded; the exact number is in metadata");
  print_count(out, made.fields_reencoded, "fields converted to UTF-8");
  print_count(out, made.controls_shown, "control characters replaced by their visible pictures");
  print_count(out, made.values_defaulted, "unknown words read as the profile's default; the word is in metadata");
  print_count(out, made.values_differing, "values differ between rows of one task; the others are in metadata");
  print_count(out, made.tags_in_metadata, "tags too long or too many; they are in metadata");
  print_count(out, report.blank_lines, "blank lines skipped");

  for (const auto& row : report.bad_rows) {
    out << fmt::format("{}:{}: {}{}{}\n", row.file, row.line, row.column, row.column.empty() ? "" : ": ", row.reason);
  }
}

}  // namespace

void print(const Report& report, std::ostream& out, bool json) {
  if (json)
    out << json_report(report) << '\n';
  else
    print_text(report, out);
}

}  // namespace cairn::importer
