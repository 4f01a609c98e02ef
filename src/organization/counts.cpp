#include "api/recall.hpp"
#include "organization/organization.hpp"
#include "redis/keys.hpp"

namespace cairn::organization {
namespace {

struct MemberCountsRow : MemberCounts {
  MemberCountsRow() = default;
  std::string seen;
  void give(MemberCounts& counts) const { counts = *this; }
};
BOOST_DESCRIBE_STRUCT(MemberCountsRow, (MemberCounts), (seen))

const pg::Sql<std::optional<std::string>(OrganizationId, std::string)> counts_hold{"organization.counts_hold", R"sql(
  select app.holds_as_of($2, o.id, null, '{user_organizations}') from organizations o where o.id = $1)sql",
                                                                                   pg::Reply::one};

const pg::Sql<MemberCountsRow(OrganizationId)> members_by_role{"organization.counts", R"sql(
  with sight as materialized (select o.id from organizations o where o.id = $1)
  select s.id as organization_id, app.seen_until(200000000000000000) as seen,
         count(m.id) as members,
         count(m.id) filter (where m.role = 'owner') as owners, count(m.id) filter (where m.role = 'admin') as admins,
         count(m.id) filter (where m.role = 'manager') as managers
  from sight s left join user_organizations m on m.organization_id = s.id
  group by s.id)sql"};

async<api::Encoded<MemberCounts>> counts(api::Call& call, pg::ReadTx& tx, OrganizationId id) {
  return api::remembered<MemberCounts>(call, tx, counts_hold, members_by_role, id,
                                       redis::keys::org_member_count(id.value), redis::ttl::counts);
}

}  // namespace

void mount_counts(api::Api& api) {
  api.get("/organizations/{organization}/counts", counts,
          {.id = "organization.counts", .summary = "Count an organization's members", .allow = api::Access::member});
}

}  // namespace cairn::organization
