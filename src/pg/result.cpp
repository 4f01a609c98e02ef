#include "pg/result.hpp"

#include <libpq-fe.h>

#include <charconv>
#include <cstring>

namespace cairn::pg {

void Result::Clear::operator()(pg_result* result) const noexcept { PQclear(result); }

std::size_t Result::rows() const { return static_cast<std::size_t>(PQntuples(result_.get())); }
std::size_t Result::columns() const { return static_cast<std::size_t>(PQnfields(result_.get())); }

std::string_view Result::column_name(std::size_t column) const {
  const char* name = PQfname(result_.get(), static_cast<int>(column));
  return name == nullptr ? std::string_view{} : name;
}

Field Result::field(std::size_t row, std::size_t column) const {
  const auto r = static_cast<int>(row), c = static_cast<int>(column);
  // A NULL has no bytes, so only empty values need the second question.
  const auto length = PQgetlength(result_.get(), r, c);
  if (length == 0 && PQgetisnull(result_.get(), r, c) != 0) return {};
  return Field({PQgetvalue(result_.get(), r, c), static_cast<std::size_t>(length)});
}

std::int64_t Result::affected() const {
  const char* text = result_ ? PQcmdTuples(result_.get()) : "";
  std::int64_t rows = 0;
  std::from_chars(text, text + std::strlen(text), rows);
  return rows;
}

}  // namespace cairn::pg
