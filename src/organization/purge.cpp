#include "organization/organization.hpp"

namespace cairn::organization {
namespace {

const pg::Sql<std::string()> enter{"purge.enter", R"sql(select set_config('app.system', 'purge', true))sql"};
const pg::Sql<OrganizationId()> due{"purge.due", R"sql(select o as id from app.organizations_to_purge() o)sql"};
const pg::Sql<bool(OrganizationId)> step{"purge.step", R"sql(select app.purge_organization($1))sql"};

}  // namespace

async<> purge(pg::Pool& database) {
  pg::ReadTx reading = database.read(pg::prelude(enter));
  const auto organizations = co_await reading.all(due);
  for (const auto& organization : organizations) {
    bool gone = false;
    while (!gone) {
      pg::Tx tx = database.write(pg::prelude(enter));
      gone = co_await tx.finish(step, organization);
    }
  }
}

}  // namespace cairn::organization
