#include "support/record.hpp"

#include <fmt/format.h>

namespace cairn::support {

std::vector<std::string> record_problems(Database& database) {
  std::vector<std::string> problems;
  // A life begins with a create entry and ends with a delete entry, if it does; what is brought back begins another, at
  // the version where it ended or later.
  constexpr auto lives = R"sql(
    with lives as (
      select entity_type, entity_id, life, count(*) as entries, min(version) filter (where action = 'create') as first,
             max(version) as last, count(*) filter (where action = 'create') as creates,
             count(*) filter (where action = 'delete') as deletes,
             row_number() over (partition by entity_type, entity_id order by life desc) = 1 as newest
      from (select entity_type, entity_id, action, (coalesce(new_values, old_values)->>'version')::bigint as version,
                   count(*) filter (where action = 'create') over (partition by entity_type, entity_id order by seq) as life
            from audit_logs where coalesce(new_values, old_values) is not null) e
      group by entity_type, entity_id, life) )sql";
  for (const auto& row :
       database.rows(std::string(lives) + "select entity_type, entity_id, life, first, last, entries from lives where "
                                          "creates <> 1 or deletes > 1 or entries <> last - first + 1 + deletes or "
                                          "deletes = 0 and not newest"))
    problems.push_back(fmt::format("{} {}, life {}, from version {} to {}, has {} entries", row[0], row[1], row[2],
                                   row[3], row[4], row[5]));
  for (const auto& table : database.rows("select c.oid::regclass, c.relname from pg_trigger t join pg_class c on "
                                         "c.oid = t.tgrelid where t.tgfoid = 'audit_trigger_function'::regproc"))
    for (const auto& row : database.rows(fmt::format("{} select coalesce(t.id, l.entity_id), t.version, l.last, "
                                                     "l.deletes from {} t full join (select * from lives "
                                                     "where newest and entity_type = '{}') l on l.entity_id = t.id "
                                                     "where case when t.id is null then l.deletes = 0 else l.deletes "
                                                     "is distinct from 0 or t.version <> l.last end",
                                                     lives, table[0], table[1])))
      problems.push_back(fmt::format("{} {} is at version {}, on the record at {}, deleted {} times", table[1], row[0],
                                     row[1], row[2], row[3]));
  return problems;
}

}  // namespace cairn::support
