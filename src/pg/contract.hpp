#pragma once
#include <string>
#include <utility>
#include <vector>

#include "pg/sql.hpp"

struct pg_conn;  // libpq's PGconn

namespace cairn::pg {

// What the server makes of a statement; types as format_type() spells them.
struct Described {
  Described() = default;
  std::vector<std::string> param_types;
  std::vector<std::pair<std::string, std::string>> columns;  // name, type
};
// Blocking. Throws an internal Problem when the server refuses the statement.
Described describe(pg_conn* connection, const Statement& statement);

// Prepares every registered statement and every family's variants; one line for each thing that differs from what the
// C++ side expects: refused text, parameter and column types, column names, labels of enums. Empty: all agree.
std::vector<std::string> mismatches(pg_conn* connection);

}  // namespace cairn::pg
