#include "pg/contract.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/problem.hpp"
#include "pg/family.hpp"

namespace cairn::pg {
namespace {

struct ServerType {
  ServerType() = default;
  std::string name;
  std::vector<std::string> labels;  // of the enum, or of the array's elements
  bool array = false;
};

class Server {
 public:
  explicit Server(pg_conn* connection) : connection_(connection) {}

  // The statement's description; nullopt text in `error` when the server refuses it.
  Result describe(const Statement& statement, std::string& error) {
    const Result prepared(PQprepare(connection_, "", statement.text().c_str(), 0, nullptr));
    if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK) {
      error = PQresultErrorMessage(prepared.get());
      return {};
    }
    return Result(PQdescribePrepared(connection_, ""));
  }

  using Columns = std::vector<std::pair<std::string, Oid>>;
  static Columns columns_of(const Result& described) {
    Columns columns;
    for (int i = 0; i < PQnfields(described.get()); ++i)
      columns.emplace_back(PQfname(described.get(), i), PQftype(described.get(), i));
    return columns;
  }
  // Of the table whose rows have this type.
  Columns columns_of(Oid row_type) {
    const auto id = std::to_string(row_type);
    const std::array values{id.c_str()};
    const Result answer(PQexecParams(connection_, R"sql(
      select a.attname, a.atttypid from pg_type t join pg_attribute a on a.attrelid = t.typrelid
      where t.oid = $1::oid and a.attnum > 0 and not a.attisdropped order by a.attnum)sql",
                                     1, nullptr, values.data(), nullptr, nullptr, 0));
    Columns columns;
    for (std::size_t row = 0; row < answer.rows(); ++row)
      columns.emplace_back(answer.field(row, 0).bytes(), std::stoul(std::string(answer.field(row, 1).bytes())));
    return columns;
  }

  const ServerType& type(Oid oid) {
    auto& found = types_[oid];
    if (found.name.empty()) found = ask(oid);
    return found;
  }

 private:
  ServerType ask(Oid oid) {
    const auto id = std::to_string(oid);
    const std::array values{id.c_str()};
    const Result answer(PQexecParams(connection_, R"sql(
      select format_type(t.oid, null), t.typelem <> 0 and t.typcategory = 'A', e.enumlabel
      from pg_type t left join pg_enum e on e.enumtypid in (t.oid, t.typelem)
      where t.oid = $1::oid order by e.enumsortorder)sql",
                                     1, nullptr, values.data(), nullptr, nullptr, 0));
    ServerType type;
    for (std::size_t row = 0; row < answer.rows(); ++row) {
      type.name = answer.field(row, 0).bytes();
      type.array = answer.field(row, 1).bytes() == "t";
      if (const auto label = answer.field(row, 2); !label.null()) type.labels.emplace_back(label.bytes());
    }
    return type;
  }

  pg_conn* connection_;
  std::map<Oid, ServerType> types_;
};

// Empty when the types agree.
std::string difference(const SqlType& expected, const ServerType& actual) {
  if (!expected.labels.empty()) {
    auto ours = expected.labels, theirs = actual.labels;
    std::ranges::sort(ours);
    std::ranges::sort(theirs);
    if (expected.array == actual.array && ours == theirs) return {};
    return fmt::format("{}enum of ({}) expected, the server has {} ({})", expected.array ? "array of an " : "",
                       fmt::join(expected.labels, ", "), actual.name, fmt::join(actual.labels, ", "));
  }
  if (expected.names.empty() || std::ranges::find(expected.names, actual.name) != expected.names.end()) return {};
  return fmt::format("{} expected, the server has {}", fmt::join(expected.names, " or "), actual.name);
}

void compare(Server& server, const Statement& statement, std::vector<std::string>& differences) {
  const auto differ = [&](std::string what) { differences.push_back(statement.name() + ": " + std::move(what)); };
  std::string error;
  const auto described = server.describe(statement, error);
  if (!described) return differ(std::move(error));

  const auto params = static_cast<std::size_t>(PQnparams(described.get()));
  if (params != statement.placeholders())
    return differ(fmt::format("{} parameters bound, the server has {}", statement.placeholders(), params));
  if (const auto& expected = statement.expectations().params) {
    const auto types = expected();
    for (std::size_t i = 0; i < types.size(); ++i)
      if (auto text = difference(types[i], server.type(PQparamtype(described.get(), static_cast<int>(i))));
          !text.empty())
        differ(fmt::format("parameter ${}: {}", i + 1, text));
  }

  const auto expected = statement.expectations().columns ? statement.expectations().columns() : std::vector<Column>{};
  // A statement run for its effect may still return something nobody reads.
  if (expected.empty()) return;
  auto actual = Server::columns_of(described);
  const bool whole = statement.one() && !expected.front().name.empty();
  if (whole) actual = actual.size() == 1 ? server.columns_of(actual.front().second) : Server::Columns();
  std::vector<bool> wanted(actual.size());
  for (const auto& column : expected) {
    std::size_t at = 0;
    while (at < actual.size() && (wanted[at] || (!column.name.empty() && actual[at].first != column.name))) ++at;
    if (at == actual.size()) {
      differ(fmt::format("column {}: missing", column.name));
      continue;
    }
    wanted[at] = true;
    if (whole && at != static_cast<std::size_t>(&column - expected.data()))
      differ(fmt::format("column {}: not where its member is, and a whole row's columns have no names", column.name));
    if (auto text = difference(column.type, server.type(actual[at].second)); !text.empty())
      differ(fmt::format("column {}: {}", actual[at].first, text));
  }
  for (std::size_t at = 0; at < actual.size(); ++at)
    if (!wanted[at]) differ(fmt::format("column {}: no member takes it", actual[at].first));
}

}  // namespace

Described describe(pg_conn* connection, const Statement& statement) {
  Server server(connection);
  std::string error;
  const auto description = server.describe(statement, error);
  if (!description) throw Problem(Kind::internal).because(statement.name() + ": " + error);
  Described described;
  for (int i = 0; i < PQnparams(description.get()); ++i)
    described.param_types.push_back(server.type(PQparamtype(description.get(), i)).name);
  for (const auto& [name, type] : Server::columns_of(description))
    described.columns.emplace_back(name, server.type(type).name);
  return described;
}

std::vector<std::string> mismatches(pg_conn* connection) {
  for (const auto* family : families()) family->make_all();
  Server server(connection);
  std::vector<std::string> differences;
  for (const auto* statement : statements()) compare(server, *statement, differences);
  return differences;
}

}  // namespace cairn::pg
