#pragma once
#include <libpq-fe.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cairn::importer {

// What PostgreSQL refused. `state` is the SQLSTATE; empty when the connection itself failed.
class DatabaseError : public std::runtime_error {
 public:
  DatabaseError(std::string sqlstate, const std::string& message)
      : std::runtime_error(message), state_(std::move(sqlstate)) {}
  const std::string& state() const { return state_; }

 private:
  std::string state_;
};

class Result {
 public:
  explicit Result(PGresult* result) : result_(result) {}
  int rows() const { return PQntuples(result_.get()); }
  bool null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  std::string_view at(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
  }
  PGresult* raw() const { return result_.get(); }

 private:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

// One blocking connection for a command that has the process to itself; requests use pg::Pipeline. Not thread-safe.
// Every call throws DatabaseError on failure.
class Database {
 public:
  explicit Database(const std::string& url);

  Result query(const char* sql, std::initializer_list<std::optional<std::string_view>> parameters = {});
  // `sql` is a COPY ... FROM STDIN in text format, `data` its whole input.
  void copy(const char* sql, std::string_view data);

 private:
  Result checked(PGresult* result);
  [[noreturn]] void fail_connection();

  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
};

// Input of COPY in text format.
class CopyText {
 public:
  CopyText& field(std::optional<std::string_view> value);
  void end_row();
  std::string_view text() const { return text_; }

 private:
  std::string text_;
  bool row_begun_ = false;
};

void append_array_element(std::string& array, std::string_view value);

// PostgreSQL's text of a one-dimensional array of strings.
template<class Range>
std::string array_text(const Range& values) {
  std::string array = "{";
  for (const auto& value : values) append_array_element(array, value);
  return array + '}';
}

}  // namespace cairn::importer
