#include "importer/csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace cairn::importer {
namespace {
constexpr std::size_t first_read = std::size_t{1} << 18, longest_record = std::size_t{1} << 24;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
}  // namespace

CsvReader::CsvReader(std::istream& in, char delimiter) : in_(in), delimiter_(delimiter) {
  fill();
  if (std::string_view(buffer_).starts_with(byte_order_mark)) start_ = byte_order_mark.size();
}

bool CsvReader::fill() {
  if (end_) return false;
  buffer_.erase(0, start_);
  start_ = 0;
  // A record that does not fit is parsed again from its start: doubling keeps that linear.
  const auto held = buffer_.size();
  buffer_.resize(std::min(held + std::max(first_read, held), longest_record + 1));
  in_.read(buffer_.data() + held, static_cast<std::streamsize>(buffer_.size() - held));
  buffer_.resize(held + static_cast<std::size_t>(in_.gcount()));
  if (in_.bad()) throw std::runtime_error("cannot read on");
  end_ = !in_;
  return true;
}

bool CsvReader::next(CsvRecord& record) {
  for (;;) {
    if (start_ == buffer_.size()) {
      if (!fill()) return false;
      continue;
    }
    record.line = line_;
    record.blank = false;
    record.problem.reset();
    text_.clear();
    ends_.clear();
    if (parse(record) == Step::done) break;
    if (buffer_.size() - start_ > longest_record) {
      record.problem = CsvProblem{ends_.size(), fmt::format("the row is longer than {} MiB", longest_record >> 20)};
      resume_at_next_line(record);
      break;
    }
    fill();
  }
  record.fields.clear();
  for (std::size_t from = 0; const auto to : ends_) {
    record.fields.emplace_back(text_.data() + from, to - from);
    from = to;
  }
  return true;
}

CsvReader::Step CsvReader::parse(CsvRecord& record) {
  for (auto at = start_;;) {
    const bool is_quoted = at < buffer_.size() && buffer_[at] == '"';
    if (is_quoted) {
      if (quoted(at, record) == Step::need_more) return Step::need_more;
      if (record.problem) {
        resume_at_next_line(record);
        return Step::done;
      }
    } else {
      const auto from = at;
      while (at < buffer_.size() && buffer_[at] != delimiter_ && buffer_[at] != '\n') ++at;
      if (at == buffer_.size() && !end_) return Step::need_more;
      const bool ends_line = at == buffer_.size() || buffer_[at] == '\n';
      const bool has_return = ends_line && at > from && buffer_[at - 1] == '\r';
      text_.append(buffer_, from, at - from - (has_return ? 1 : 0));
    }
    const auto begin = ends_.empty() ? 0 : ends_.back();
    if (!record.problem && text_.find('\0', begin) != std::string::npos) {
      record.problem = CsvProblem{ends_.size(), "a NUL byte"};
    }
    ends_.push_back(text_.size());
    if (at < buffer_.size() && buffer_[at] == delimiter_) {
      ++at;
      if (at == buffer_.size() && !end_) return Step::need_more;
      continue;
    }
    at = std::min(at + 1, buffer_.size());
    record.blank = ends_.size() == 1 && text_.empty() && !is_quoted;
    line_ += static_cast<std::uint64_t>(std::count(buffer_.begin() + static_cast<std::ptrdiff_t>(start_),
                                                   buffer_.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    start_ = at;
    return Step::done;
  }
}

// From the opening quote to the delimiter or line end behind the closing one.
CsvReader::Step CsvReader::quoted(std::size_t& at, CsvRecord& record) {
  const auto opening = at++;
  for (;;) {
    const auto quote = buffer_.find('"', at);
    if (quote == std::string::npos) {
      if (!end_) return Step::need_more;
      record.problem = CsvProblem{
          ends_.size(), fmt::format("the quote opened at character {} is never closed", opening - start_ + 1)};
      return Step::done;
    }
    text_.append(buffer_, at, quote - at);
    at = quote + 1;
    if (at == buffer_.size() && !end_) return Step::need_more;
    if (at == buffer_.size() || buffer_[at] != '"') break;
    text_ += '"';
    ++at;
  }
  if (at < buffer_.size() && buffer_[at] == '\r') {
    if (at + 1 == buffer_.size() && !end_) return Step::need_more;
    if (at + 1 == buffer_.size() || buffer_[at + 1] == '\n') ++at;
  }
  if (at < buffer_.size() && buffer_[at] != delimiter_ && buffer_[at] != '\n') {
    record.problem = CsvProblem{ends_.size(), fmt::format("text after a closing quote, character {}", at - start_ + 1)};
  }
  return Step::done;
}

void CsvReader::resume_at_next_line(CsvRecord& record) {
  text_.resize(ends_.empty() ? 0 : ends_.back());
  auto newline = buffer_.find('\n', start_);
  while (newline == std::string::npos) {
    start_ = buffer_.size();
    if (!fill()) return;
    newline = buffer_.find('\n');
  }
  start_ = newline + 1;
  line_ = record.line + 1;
}

}  // namespace cairn::importer
