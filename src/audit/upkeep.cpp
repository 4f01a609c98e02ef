#include "audit/audit.hpp"
#include "pg/pool.hpp"

namespace cairn::audit {
namespace {

const pg::Sql<std::string()> enter{"trash.enter", R"sql(select set_config('app.system', 'trash', true))sql"};
const pg::Sql<void()> note_moment{"as_of.note_moment", "select app.note_moment()"};
const pg::Sql<bool()> empty_some{"trash.empty", "select app.empty_trash()"};

}  // namespace

async<> keep_up(pg::Pool& database) {
  pg::Tx noting = database.write(pg::prelude(enter));
  co_await noting.finish(note_moment);
  for (bool more = true; more;) {
    pg::Tx tx = database.write(pg::prelude(enter));
    more = co_await tx.finish(empty_some);
  }
}

}  // namespace cairn::audit
