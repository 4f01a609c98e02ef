#include "support/record.hpp"

#include <fmt/format.h>

namespace cairn::support {

std::vector<std::string> record_problems(Database& database) {
  std::vector<std::string> problems;
  for (const auto& table : database.rows("select c.oid::regclass, c.relname from pg_trigger t join pg_class c on "
                                         "c.oid = t.tgrelid where t.tgfoid = 'audit_trigger_function'::regproc")) {
    const auto counted = database.rows(
        fmt::format("select t.id, t.version, count(a.id) from {} t left join audit_logs a on a.entity_type = '{}' and "
                    "a.entity_id = t.id and coalesce(a.new_values, a.old_values) is not null group by t.id, t.version "
                    "having count(a.id) <> t.version",
                    table[0], table[1]));
    for (const auto& row : counted)
      problems.push_back(fmt::format("{} {}, version {}, has {} entries", table[1], row[0], row[1], row[2]));
  }
  const auto gone = database.rows(
      "select entity_type, entity_id, count(*), max((old_values->>'version')::int) filter (where action = 'delete') "
      "from audit_logs where coalesce(new_values, old_values) is not null group by 1, 2 "
      "having count(*) filter (where action = 'delete') > 1 or "
      "count(*) <> 1 + max((old_values->>'version')::int) filter (where action = 'delete')");
  for (const auto& row : gone)
    problems.push_back(fmt::format("{} {}, deleted at version {}, has {} entries", row[0], row[1], row[3], row[2]));
  return problems;
}

}  // namespace cairn::support
