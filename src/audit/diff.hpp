#pragma once
#include "api/as_of.hpp"
#include "audit/audit.hpp"

// What has become of a project between two points of the past.
namespace cairn::audit {

struct Difference : json::Read {
  Difference() = default;
  Uuid id;
  std::string entity_type;
  Action action = Action::update;
  std::optional<std::string> name;
  RawJson changes;
};
BOOST_DESCRIBE_STRUCT(Difference, (), (id, entity_type, action, name, changes))

BOOST_DEFINE_ENUM_CLASS(DifferentType, projects, project_members, tasks)

struct DiffFilter : api::PageQuery {
  DiffFilter() = default;
  api::AsOf from;
  std::optional<api::AsOf> to;
  std::optional<DifferentType> entity_type;
  std::optional<std::vector<Action>> action;
};
BOOST_DESCRIBE_STRUCT(DiffFilter, (api::PageQuery), (from, to, entity_type, action))

void mount_diff(api::Api& api);

}  // namespace cairn::audit

namespace cairn::json {
template<>
inline constexpr auto member_docs<audit::Difference> =
    std::to_array<MemberDoc>({{"id", "Of the thing."},
                              {"action", "create, update or delete: what all changes in between come to."},
                              {"name", "Of a task its title, of a member the person's id."},
                              {"changes", "The fields that differ, each an object with field, old and new."}});
template<>
inline constexpr auto member_docs<audit::DiffFilter> = std::to_array<MemberDoc>(
    {{"sort", "position, the order in which things first changed, or -position."}, {"to", "now when it is left out."}});
}  // namespace cairn::json
