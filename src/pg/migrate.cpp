#include "pg/migrate.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <memory>

#include "base/hash.hpp"
#include "base/problem.hpp"
#include "pg/error.hpp"
#include "pg/result.hpp"

namespace cairn::pg {
namespace {

constexpr const char* lock_key = "4907183525318157";  // any number that nobody else locks in this database

std::string checksum(std::string_view text) { return hex(sha256(text)); }

class Session {
 public:
  explicit Session(const std::string& conninfo) : connection_(PQconnectdb(conninfo.c_str()), PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) throw unavailable(PQerrorMessage(connection_.get()));
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
  }

  // One statement or several; `what` names them when they fail.
  Result run(const char* sql, std::string_view what) { return check(Result(PQexec(connection_.get(), sql)), what); }
  Result run(const char* sql, std::initializer_list<std::string> values, std::string_view what) {
    std::vector<const char*> pointers;
    for (const auto& value : values) pointers.push_back(value.c_str());
    return check(Result(PQexecParams(connection_.get(), sql, static_cast<int>(pointers.size()), nullptr,
                                     pointers.data(), nullptr, nullptr, 0)),
                 what);
  }

 private:
  Result check(Result result, std::string_view what) {
    const auto status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) return result;
    throw Problem(Kind::internal).because(fmt::format("{}: {}", what, PQresultErrorMessage(result.get())));
  }

  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

std::string label(const Migration& migration) { return fmt::format("{} {}", migration.number, migration.name); }

// Compares what the database has with what this program knows.
MigrationStatus compare(Session& session, std::span<const Migration> known) {
  MigrationStatus status;
  if (!known.empty()) status.newest = known.back().number;

  std::map<int, std::string> applied;
  if (!session.run("select to_regclass('public.schema_migrations')", "status").field(0, 0).null()) {
    const auto rows = session.run("select number, checksum from public.schema_migrations", "status");
    for (std::size_t row = 0; row < rows.rows(); ++row)
      applied.emplace(std::stoi(std::string(rows.field(row, 0).bytes())), rows.field(row, 1).bytes());
  }
  if (!applied.empty()) status.applied = applied.rbegin()->first;

  for (const auto& migration : known) {
    const auto found = applied.find(migration.number);
    if (found == applied.end()) {
      status.pending.push_back(label(migration));
      if (migration.number < status.applied)
        status.refusal = fmt::format("Migration {} was never applied, but later ones were.", label(migration));
    } else if (found->second != checksum(migration.text)) {
      status.refusal = fmt::format("Migration {} was changed after it had been applied.", label(migration));
    }
    applied.erase(migration.number);
  }
  if (!applied.empty())
    status.refusal =
        fmt::format("The database is newer than this program: it has migration {}, this program ends with {}.",
                    applied.rbegin()->first, status.newest);
  return status;
}

}  // namespace

const std::vector<Migration>& migrations() {
  static const std::vector<Migration> all{
#include "migrations.inc"
  };
  return all;
}

MigrationStatus status(const std::string& conninfo, std::span<const Migration> known) {
  Session session(conninfo);
  return compare(session, known);
}

void migrate(const std::string& conninfo, const std::function<void(std::string_view)>& log,
             std::span<const Migration> known) {
  Session session(conninfo);
  // Building an index or waiting for another process may take longer than a request may.
  session.run("set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0",
              "settings");
  session.run("select pg_advisory_lock($1::bigint)", {lock_key}, "lock");  // until the session ends
  session.run(R"sql(
    create table if not exists public.schema_migrations (
      number integer primary key, name text not null, checksum text not null,
      applied_at timestamptz not null default now()))sql",
              "schema_migrations");

  const auto status = compare(session, known);
  if (!status.refusal.empty()) throw Problem(Kind::conflict, status.refusal);
  for (const auto& migration : known) {
    if (migration.number <= status.applied) continue;
    const auto what = "migration " + label(migration);
    session.run("begin; set local app.system = 'migration'", what);
    session.run(migration.text.c_str(), what);
    session.run("insert into public.schema_migrations (number, name, checksum) values ($1::int, $2, $3)",
                {std::to_string(migration.number), migration.name, checksum(migration.text)}, what);
    session.run("commit", what);
    if (log) log(what);
  }
}

}  // namespace cairn::pg
