#pragma once
#include <cstddef>
#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::importer {

struct CsvProblem {
  std::size_t field = 0;  // index of the field it was met in
  std::string reason;
};

struct CsvRecord {
  CsvRecord() = default;
  std::uint64_t line = 0;                // of the record's first character, from 1
  std::vector<std::string_view> fields;  // unquoted; valid until the next read. With a problem: what came before it
  std::optional<CsvProblem> problem;
  bool blank = false;  // an empty line
};

// RFC 4180 with any one-byte delimiter, LF or CRLF, and an optional UTF-8 byte order mark. Reads as it goes: memory is
// bounded by the longest record (16 MiB). A quote inside an unquoted field is an ordinary character.
// After a record that cannot be read, reading goes on at the next line of the file, so that one stray quote does not
// swallow what follows.
class CsvReader {
 public:
  CsvReader(std::istream& in, char delimiter);

  bool next(CsvRecord& record);  // false at the end of the input

 private:
  enum class Step { done, need_more };
  Step parse(CsvRecord& record);
  Step quoted(std::size_t& at, CsvRecord& record);
  void resume_at_next_line(CsvRecord& record);
  bool fill();

  std::istream& in_;
  char delimiter_;
  bool end_ = false;
  std::string buffer_;
  std::size_t start_ = 0;  // of the next record in buffer_
  std::uint64_t line_ = 1;
  std::string text_;               // the fields of the current record, one after the other
  std::vector<std::size_t> ends_;  // where each of them ends in text_
};

}  // namespace cairn::importer
