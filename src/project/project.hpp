#pragma once
#include "api/as_of.hpp"
#include "api/paging.hpp"
#include "organization/organization.hpp"

namespace cairn::project {

using account::AccountId;
using organization::OrganizationId;

// The specification's project_status and project_priority.
BOOST_DEFINE_ENUM_CLASS(Status, draft, active, on_hold, completed, cancelled)
BOOST_DEFINE_ENUM_CLASS(Priority, low, medium, high, critical)

// Who sees a project: its organization, or its members and whoever sees all private ones. Described by hand, because
// "private" cannot be a name in C++.
enum class Visibility { organization, private_ };
template<Visibility V>
struct VisibilityDescriptor {
  static constexpr Visibility value = V;
  static constexpr const char* name = V == Visibility::organization ? "organization" : "private";
};
inline boost::mp11::mp_list<VisibilityDescriptor<Visibility::organization>, VisibilityDescriptor<Visibility::private_>>
boost_enum_descriptor_fn(Visibility**) {
  return {};
}

struct Project;
using ProjectId = Id<Project>;
using Name = Text<1, 200>;
using Money = Decimal<12, 2>;
using ExternalId = Text<1, 200>;

struct Project : json::Read {
  Project() = default;
  ProjectId id;
  OrganizationId organization_id;
  Name name;
  std::optional<Markdown> description;
  Status status = Status::active;
  Priority priority = Priority::medium;
  Visibility visibility = Visibility::organization;
  std::optional<Date> start_date, end_date;
  std::optional<Money> budget;
  JsonObject metadata;
  std::optional<ExternalId> external_id;
  AccountId created_by;
  Instant created_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Project, (),
                      (id, organization_id, name, description, status, priority, visibility, start_date, end_date,
                       budget, metadata, external_id, created_by, created_at, updated_at, version))

struct Draft : json::Written {
  Draft() = default;
  Name name;
  std::optional<Markdown> description;
  std::optional<Status> status;
  std::optional<Priority> priority;
  std::optional<Visibility> visibility;
  std::optional<Date> start_date, end_date;
  std::optional<Money> budget;
  std::optional<JsonObject> metadata;
  std::optional<ExternalId> external_id;
};
BOOST_DESCRIBE_STRUCT(Draft, (),
                      (name, description, status, priority, visibility, start_date, end_date, budget, metadata,
                       external_id))

struct Edit : json::Written {
  Edit() = default;
  Change<Name> name;
  Change<std::optional<Markdown>> description;
  Change<Status> status;
  Change<Priority> priority;
  Change<Visibility> visibility;
  Change<std::optional<Date>> start_date, end_date;
  Change<std::optional<Money>> budget;
  Change<JsonObject> metadata;
  Change<std::optional<ExternalId>> external_id;
};
BOOST_DESCRIBE_STRUCT(Edit, (),
                      (name, description, status, priority, visibility, start_date, end_date, budget, metadata,
                       external_id))

struct Filter : api::PageQuery {
  Filter() = default;
  std::optional<std::vector<Status>> status;
  std::optional<std::vector<Priority>> priority;
  std::optional<ExternalId> external_id;
  std::optional<api::AsOf> as_of;
};
BOOST_DESCRIBE_STRUCT(Filter, (api::PageQuery), (status, priority, external_id, as_of))

// How many tasks a project has in each status.
struct Counts : json::Read {
  Counts() = default;
  ProjectId project_id;
  std::int64_t todo = 0, in_progress = 0, review = 0, done = 0, cancelled = 0, total = 0;
};
BOOST_DESCRIBE_STRUCT(Counts, (), (project_id, todo, in_progress, review, done, cancelled, total))

// A project as it was, and whose it is or was, also when it is gone.
extern const pg::Sql<Project(ProjectId, std::optional<Instant>, std::optional<std::string>)> by_id_as_of;
extern const pg::Sql<OrganizationId(ProjectId)> organization_of;

void mount(api::Api& api);
void mount_members(api::Api& api);

}  // namespace cairn::project

namespace cairn::json {
template<>
inline constexpr auto member_docs<project::Project> = std::to_array<MemberDoc>(
    {{"external_id", "The key of this project in the system it came from; unique in its organization."},
     {"budget", "In the organization's own currency."},
     {"visibility", "private: seen by its members, and by who may see all private projects."}});
}  // namespace cairn::json
