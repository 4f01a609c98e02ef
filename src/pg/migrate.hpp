#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::pg {

struct Migration {
  Migration() = default;
  Migration(int n, std::string called, std::string sql) : number(n), name(std::move(called)), text(std::move(sql)) {}
  int number = 0;
  std::string name, text;
};
// db/migrations, compiled in, in order of number.
const std::vector<Migration>& migrations();

struct MigrationStatus {
  MigrationStatus() = default;
  int applied = 0;                   // the newest number the database has; 0: none
  int newest = 0;                    // the newest number this program has
  std::vector<std::string> pending;  // "3 tenancy"
  std::string refusal;               // why this program must not touch the database (edited or newer); empty: it may
  bool current() const { return pending.empty() && refusal.empty(); }
};

// Blocking; for start-up and commands. Both throw a Problem with the cause when the server cannot be used.
MigrationStatus status(const std::string& conninfo, std::span<const Migration> known = migrations());
// Applies what is pending, each migration in a transaction of its own with app.system = 'migration', recorded in
// public.schema_migrations. Processes that migrate at the same time wait for each other (advisory lock); every
// migration runs once. Throws a conflict Problem when an applied migration was edited since or the database is newer.
void migrate(const std::string& conninfo, const std::function<void(std::string_view)>& log = {},
             std::span<const Migration> known = migrations());

}  // namespace cairn::pg
