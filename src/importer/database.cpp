#include "importer/database.hpp"

#include <fmt/format.h>

#include <vector>

namespace cairn::importer {
namespace {

std::string without_line_end(std::string_view message) {
  return std::string(message.substr(0, message.find_last_not_of("\r\n") + 1));
}

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text ? text : "";
}

}  // namespace

Database::Database(const std::string& url) : connection_(PQconnectdb(url.c_str())) {
  if (!connection_ || PQstatus(connection_.get()) != CONNECTION_OK) fail_connection();
  // Notices ("relation already exists, skipping") are for people at a psql prompt.
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  PQsetClientEncoding(connection_.get(), "UTF8");
}

void Database::fail_connection() {
  throw DatabaseError("", connection_ ? without_line_end(PQerrorMessage(connection_.get())) : "out of memory");
}

Result Database::checked(PGresult* raw) {
  Result result(raw);
  switch (PQresultStatus(raw)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_COPY_IN: return result;
    default: break;
  }
  auto state = raw ? field(raw, PG_DIAG_SQLSTATE) : "";
  if (state.empty()) fail_connection();
  const auto constraint = field(raw, PG_DIAG_CONSTRAINT_NAME), detail = field(raw, PG_DIAG_MESSAGE_DETAIL);
  auto message = field(raw, PG_DIAG_MESSAGE_PRIMARY);
  // The detail of a refused check is the whole row.
  if (!detail.empty() && constraint.empty()) message += fmt::format(" ({})", detail);
  throw DatabaseError(std::move(state), message);
}

Result Database::query(const char* sql, std::initializer_list<std::optional<std::string_view>> parameters) {
  std::vector<std::string> texts;
  std::vector<const char*> values;
  texts.reserve(parameters.size());
  for (const auto& parameter : parameters) {
    values.push_back(parameter ? texts.emplace_back(*parameter).c_str() : nullptr);
  }
  return checked(PQexecParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                              nullptr, 0));
}

void Database::copy(const char* sql, std::string_view data) {
  checked(PQexec(connection_.get(), sql));
  constexpr std::size_t piece = std::size_t{1} << 20;  // PQputCopyData takes an int
  for (std::size_t at = 0; at < data.size(); at += piece) {
    const auto part = data.substr(at, piece);
    if (PQputCopyData(connection_.get(), part.data(), static_cast<int>(part.size())) != 1) fail_connection();
  }
  if (PQputCopyEnd(connection_.get(), nullptr) != 1) fail_connection();
  checked(PQgetResult(connection_.get()));
  while (auto* rest = PQgetResult(connection_.get())) PQclear(rest);
}

CopyText& CopyText::field(std::optional<std::string_view> value) {
  if (row_begun_) text_ += '\t';
  row_begun_ = true;
  if (!value) {
    text_ += "\\N";
    return *this;
  }
  for (const char c : *value) {
    switch (c) {
      case '\\': text_ += "\\\\"; break;
      case '\n': text_ += "\\n"; break;
      case '\r': text_ += "\\r"; break;
      case '\t': text_ += "\\t"; break;
      default: text_ += c;
    }
  }
  return *this;
}

void CopyText::end_row() {
  text_ += '\n';
  row_begun_ = false;
}

void append_array_element(std::string& array, std::string_view value) {
  array += array.size() == 1 ? "\"" : ",\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') array += '\\';
    array += c;
  }
  array += '"';
}

}  // namespace cairn::importer
