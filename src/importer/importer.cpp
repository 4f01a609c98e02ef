#include "importer/importer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <tuple>
#include <unordered_map>

#include "importer/csv.hpp"
#include "importer/encoding.hpp"
#include "importer/mapper.hpp"
#include "importer/profile.hpp"
#include "importer/progress.hpp"
#include "importer/store.hpp"

namespace cairn::importer {
namespace {

constexpr std::size_t batch_size = 2'000;

// A CSV file with a header.
class Table {
 public:
  Table(const std::filesystem::path& path, const Profile& profile)
      : profile_(profile),
        name_(path.filename().string()),
        in_(path, std::ios::binary),
        reader_(opened(path), profile.delimiter) {
    CsvRecord header;
    if (!reader_.next(header)) throw std::runtime_error(fmt::format("{} is empty", name_));
    if (header.problem) throw std::runtime_error(fmt::format("{}:{}: {}", name_, header.line, header.problem->reason));
    for (const auto field : header.fields) {
      const auto name = decode(field, profile_.encoding);
      if (!name)
        throw std::runtime_error(
            fmt::format("{}:{}: the header is no text in the profile's encoding", name_, header.line));
      columns_.push_back(name->text);
    }
  }

  const std::string& name() const { return name_; }
  const std::vector<std::string>& columns() const { return columns_; }
  std::size_t column(const std::string& name) const {
    const auto found = std::ranges::find(columns_, name);
    if (found == columns_.end()) {
      throw std::runtime_error(fmt::format("{} has no column \"{}\", which profile \"{}\" names; it has: {}", name_,
                                           name, profile_.name, fmt::join(columns_, ", ")));
    }
    return static_cast<std::size_t>(found - columns_.begin());
  }

  // The next row that is not blank. A wrong number of fields is a problem of the record.
  bool next(CsvRecord& record) {
    do {
      if (!reader_.next(record)) return false;
      blank_lines_ += record.blank ? 1 : 0;
    } while (record.blank);
    if (!record.problem && record.fields.size() != columns_.size()) {
      record.problem = CsvProblem{std::min(record.fields.size(), columns_.size()) - 1, ""};
      record.problem->reason = fmt::format("{} fields, the header has {}", record.fields.size(), columns_.size());
    }
    return true;
  }
  std::uint64_t blank_lines() const { return blank_lines_; }

  // The cell as UTF-8, if the record got that far and the bytes are text.
  std::optional<std::string> cell(const CsvRecord& record, std::size_t column) const {
    if (column >= record.fields.size()) return std::nullopt;
    auto decoded = decode(record.fields[column], profile_.encoding);
    return decoded ? std::optional(std::move(decoded->text)) : std::nullopt;
  }

  // nullopt: the reasons are in `bad`.
  std::optional<Row> row(const CsvRecord& record, std::vector<BadRow>& bad) const {
    if (record.problem) {
      const auto field = record.problem->field;
      bad.emplace_back(name_, record.line, field < columns_.size() ? columns_[field] : "", record.problem->reason);
      return std::nullopt;
    }
    Row row;
    row.line = record.line;
    row.cells.reserve(columns_.size());
    bool good = true;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      auto decoded = decode(record.fields[i], profile_.encoding);
      if (!decoded) {
        bad.emplace_back(name_, record.line, columns_[i], "bytes that are no text in the profile's encoding");
        good = false;
        continue;
      }
      row.reencoded += decoded->converted ? 1 : 0;
      row.cells.push_back(std::move(decoded->text));
    }
    return good ? std::optional(std::move(row)) : std::nullopt;
  }

 private:
  std::istream& opened(const std::filesystem::path& path) {
    if (!in_ || !std::filesystem::is_regular_file(path)) {
      throw std::runtime_error(fmt::format("cannot read the file {}", path.string()));
    }
    return in_;
  }

  const Profile& profile_;
  std::string name_;
  std::ifstream in_;
  CsvReader reader_;
  std::vector<std::string> columns_;
  std::uint64_t blank_lines_ = 0;
};

// A joined file, whole, by key.
class JoinedTable {
 public:
  JoinedTable(const Join& join, const std::filesystem::path& path, const Profile& profile, std::vector<BadRow>& bad) {
    Table table(path, profile);
    report_.name = join.name;
    report_.file = table.name();
    const auto key = table.column(join.key);
    for (std::size_t i = 0; i < table.columns().size(); ++i) {
      if (i != key) columns_.push_back(join.name + '.' + table.columns()[i]);
    }
    for (CsvRecord record; table.next(record);) {
      ++report_.rows;
      const auto word = table.cell(record, key);
      auto row = table.row(record, bad);
      if (!row) {
        ++report_.rows_bad;
        if (word) entries_[*word].bad = true;
        continue;
      }
      row->cells.erase(row->cells.begin() + static_cast<std::ptrdiff_t>(key));
      add(entries_[*word], std::move(*row));
    }
    report_.keys_unused = entries_.size();
  }

  const std::vector<std::string>& columns() const { return columns_; }
  const JoinReport& report() const { return report_; }

  // Adds this file's columns to the row. False: what this file has for that key is bad.
  bool extend(Row& row, const std::string& key) {
    const auto found = entries_.find(key);
    const auto begin = row.cells.size();
    if (found == entries_.end()) {
      ++report_.rows_without;
      row.cells.resize(begin + columns_.size());
      return true;
    }
    auto& entry = found->second;
    if (!std::exchange(entry.used, true)) {
      --report_.keys_unused;
      row.reencoded += entry.reencoded;
    }
    if (entry.bad) return false;
    row.cells.insert(row.cells.end(), entry.cells.begin(), entry.cells.end());
    for (const auto& [column, value] : entry.others) row.others.emplace_back(begin + column, value);
    return true;
  }

 private:
  struct Entry {
    Entry() = default;
    std::vector<std::string> cells;
    std::vector<std::pair<std::size_t, std::string>> others;
    std::uint64_t reencoded = 0;
    bool bad = false, used = false;
  };

  void add(Entry& entry, Row row) {
    entry.reencoded += row.reencoded;
    if (entry.cells.empty()) {
      entry.cells = std::move(row.cells);
      return;
    }
    ++report_.rows_repeated;
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      if (row.cells[i] != entry.cells[i]) entry.others.emplace_back(i, std::move(row.cells[i]));
    }
  }

  JoinReport report_;
  std::vector<std::string> columns_;
  std::unordered_map<std::string, Entry> entries_;
};

class Import {
 public:
  Import(const Options& options, std::ostream& progress)
      : options_(options),
        profile_(load_profile(options.profile)),
        progress_(progress, options.progress || (&progress == &std::cerr && isatty(STDERR_FILENO) == 1)) {
    report_.file = options.file.filename().string();
    report_.profile = profile_.name;
    report_.dry_run = options.dry_run;
    report_.atomic = options.atomic;
  }

  Report run() {
    open_joins();
    count_rows();
    write_rows();
    for (const auto& join : joins_) report_.joins.push_back(join.report());
    std::ranges::stable_sort(report_.bad_rows, {}, [](const BadRow& row) { return std::tie(row.file, row.line); });
    return std::move(report_);
  }

 private:
  // Rows of one task need not be neighbours; the first pass tells when the last of them has been read.
  struct Group {
    Group() = default;
    std::uint64_t to_come = 0;
    bool has_bad_row = false;
    std::vector<Row> rows;
  };

  void open_joins() {
    for (const auto& [name, path] : options_.joins) {
      const auto known = std::ranges::any_of(profile_.joins, [&](const Join& join) { return join.name == name; });
      if (!known) throw std::runtime_error(fmt::format("profile \"{}\" has no join \"{}\"", profile_.name, name));
    }
    joins_.reserve(profile_.joins.size());
    for (const auto& join : profile_.joins) {
      const auto given = options_.joins.find(join.name);
      const auto path = given == options_.joins.end() ? options_.file.parent_path() / join.file : given->second;
      if (!std::filesystem::is_regular_file(path)) {
        throw std::runtime_error(
            fmt::format("the file {} to join is missing; --join {}=FILE names another", path.string(), join.name));
      }
      joins_.emplace_back(join, path, profile_, report_.bad_rows);
    }
  }

  void count_rows() {
    Table table(options_.file, profile_);
    key_ = table.column(profile_.key);
    columns_ = table.columns();
    for (const auto& join : joins_) columns_.insert(columns_.end(), join.columns().begin(), join.columns().end());
    std::uint64_t total = 0;
    for (CsvRecord record; table.next(record); ++total) {
      const auto key = table.cell(record, key_);
      if (!key) continue;
      auto& group = groups_[*key];
      if (record.problem)
        group.has_bad_row = true;
      else
        ++group.to_come;
    }
    progress_.total(total);
  }

  void write_rows() {
    Table table(options_.file, profile_);
    Mapper mapper(profile_, table.name(), columns_);
    Store store(options_.database_url, options_.organization, options_.as);
    mapper_ = &mapper;
    store_ = &store;
    report_.organization = store.organization();
    report_.actor = store.actor();
    report_.request_id = store.request_id();
    try {
      if (is_one_transaction()) store.begin();
      for (CsvRecord record; table.next(record);) {
        ++report_.rows;
        take(table, record);
        progress_.at(report_.rows);
      }
      // Only a file that shrank between the passes leaves any.
      for (auto& [key, group] : groups_) finish(std::move(group));
      flush();
      end_transaction();
    } catch (const DatabaseError& error) {
      throw std::runtime_error(
          fmt::format("the database stopped the import: {}{}", error.what(),
                      is_one_transaction() ? "; nothing was written" : "; run it again to add what is missing"));
    }
    report_.blank_lines = table.blank_lines();
    report_.projects_named = mapper.projects().size();
    report_.projects_created = store.projects_created();
    report_.people_named = mapper.people().size();
    report_.people_created = store.people_created();
    report_.people_assigned = static_cast<std::uint64_t>(std::ranges::count(assigned_, true));
  }

  bool is_one_transaction() const { return options_.atomic || options_.dry_run; }

  void end_transaction() {
    report_.committed = !options_.dry_run && (report_.ok() || !options_.atomic);
    if (!is_one_transaction()) return;
    if (report_.committed)
      store_->commit();
    else
      store_->rollback();
  }

  void take(const Table& table, const CsvRecord& record) {
    auto row = table.row(record, report_.bad_rows);
    const auto key = table.cell(record, key_);
    const auto found = key ? groups_.find(*key) : groups_.end();
    if (row) {
      bool joined = true;
      for (auto& join : joins_) joined = joined && join.extend(*row, row->cells[key_]);
      if (joined && found != groups_.end()) {
        found->second.rows.push_back(std::move(*row));
      } else {
        report_.bad_rows.emplace_back(table.name(), record.line, table.columns()[key_],
                                      "its row in a joined file is bad");
        row.reset();
      }
    }
    if (!row) {
      ++report_.rows_bad;
      if (found != groups_.end()) found->second.has_bad_row = true;
    }
    if (found == groups_.end() || record.problem || --found->second.to_come > 0) return;
    finish(std::move(found->second));
    groups_.erase(found);
  }

  void finish(Group group) {
    if (group.rows.empty()) return;
    std::vector<BadRow> bad;
    auto draft = mapper_->map(group.rows, bad);
    if (draft && !group.has_bad_row) {
      drafts_.push_back(std::move(*draft));
      if (drafts_.size() == batch_size) flush();
      return;
    }
    for (const auto& row : group.rows) {
      const bool is_bad = std::ranges::any_of(bad, [&](const BadRow& entry) { return entry.line == row.line; });
      ++(is_bad ? report_.rows_bad : report_.rows_held_back);
      if (!is_bad) hold_back(row.line);
    }
    report_.bad_rows.insert(report_.bad_rows.end(), bad.begin(), bad.end());
  }

  void hold_back(std::uint64_t line) {
    report_.bad_rows.emplace_back(report_.file, line, "", "held back: another row of its task is bad");
  }

  void flush() {
    if (drafts_.empty()) return;
    if (!is_one_transaction()) store_->begin();
    const auto written = store_->write(drafts_, *mapper_);
    if (!is_one_transaction()) store_->commit();
    for (std::size_t i = 0; i < drafts_.size(); ++i) account(drafts_[i], written[i]);
    drafts_.clear();
  }

  void account(const Draft& draft, const Written& written) {
    if (draft.assigned_to) {
      assigned_.resize(std::max(assigned_.size(), *draft.assigned_to + 1));
      assigned_[*draft.assigned_to] = true;
    }
    switch (written.outcome) {
      case Outcome::created:
        ++report_.tasks_created;
        report_.rows_merged += draft.rows - 1;
        report_.adjustments += draft.adjustments;
        return;
      case Outcome::present:
        ++report_.tasks_present;
        report_.rows_present += draft.rows;
        return;
      case Outcome::refused:
        ++report_.rows_bad;
        report_.rows_held_back += draft.rows - 1;
        report_.bad_rows.emplace_back(report_.file, draft.line, "", written.reason);
    }
  }

  const Options& options_;
  Profile profile_;
  Progress progress_;
  Report report_;
  std::vector<JoinedTable> joins_;
  std::vector<std::string> columns_;
  std::size_t key_ = 0;
  std::unordered_map<std::string, Group> groups_;
  Mapper* mapper_ = nullptr;
  Store* store_ = nullptr;
  std::vector<Draft> drafts_;
  std::vector<bool> assigned_;
};

}  // namespace

Report run(const Options& options, std::ostream& progress) {
  const auto start = std::chrono::steady_clock::now();
  auto report = Import(options, progress).run();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace cairn::importer
