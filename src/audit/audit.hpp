#pragma once
#include "api/paging.hpp"
#include "organization/organization.hpp"
#include "project/project.hpp"
#include "task/task.hpp"

namespace cairn::audit {

// The tables whose changes are on the record, and sessions, which end there.
BOOST_DEFINE_ENUM_CLASS(EntityType, users, user_profiles, organizations, user_organizations, projects, project_members,
                        tasks, invitations, sessions, api_tokens)

struct Entry;
using EntryId = Id<Entry>;

// One change, as it was written in the transaction that made it.
struct Entry : json::Read {
  Entry() = default;
  EntryId id;
  Instant created_at;
  std::string action, entity_type;
  Uuid entity_id;
  std::optional<Uuid> user_id, token_id;
  std::optional<std::string> actor;
  std::optional<organization::OrganizationId> organization_id;
  std::optional<std::string> request_id, ip_address, user_agent, event, outcome;
  std::optional<RawJson> old_values, new_values;
};
BOOST_DESCRIBE_STRUCT(Entry, (),
                      (id, created_at, action, entity_type, entity_id, user_id, token_id, actor, organization_id,
                       request_id, ip_address, user_agent, event, outcome, old_values, new_values))

struct Filter : api::PageQuery {
  Filter() = default;
  std::optional<EntityType> entity_type;
  std::optional<Uuid> entity_id, user_id;
  std::optional<std::string> request_id;
  std::optional<Instant> from, before;
};
BOOST_DESCRIBE_STRUCT(Filter, (api::PageQuery), (entity_type, entity_id, user_id, request_id, from, before))

void mount(api::Api& api);

}  // namespace cairn::audit

namespace cairn::json {
template<>
inline constexpr auto member_docs<audit::Entry> = std::to_array<MemberDoc>(
    {{"action", "create, update, delete, login or logout."},
     {"user_id", "Who did it; null when the server or an operator did."},
     {"token_id", "The API token that it was done with; null without one."},
     {"actor", "The name of who did it when it was no person, such as migration."},
     {"request_id", "All changes of one request carry the same."},
     {"event", "What happened to an account beside a change of it, such as second_factor_added."},
     {"outcome", "Of a login that did not succeed: failure, or code_missing after the right password."},
     {"old_values", "Before: of an update the members that changed, of a delete all of them."},
     {"new_values", "After: of an update the members that changed, of a create all of them."}});
}  // namespace cairn::json
