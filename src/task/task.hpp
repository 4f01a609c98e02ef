#pragma once
#include "api/as_of.hpp"
#include "project/project.hpp"

namespace cairn::task {

using account::AccountId;
using organization::OrganizationId;
using project::ExternalId;
using project::ProjectId;

// The specification's task_status and task_priority.
BOOST_DEFINE_ENUM_CLASS(Status, todo, in_progress, review, done, cancelled)
BOOST_DEFINE_ENUM_CLASS(Priority, low, medium, high, urgent)

struct Task;
using TaskId = Id<Task>;
using Title = Text<1, 200>;
using Tag = Text<1, 64>;
using Hours = Bounded<0, 1'000'000>;

// In the order of the table's columns: pg::Reply::one.
struct Task : json::Read {
  Task() = default;
  TaskId id;
  ProjectId project_id;
  std::optional<AccountId> assigned_to;
  Title title;
  std::optional<Markdown> description;
  Status status = Status::todo;
  Priority priority = Priority::medium;
  std::optional<Instant> due_date;
  std::optional<Hours> estimated_hours, actual_hours;
  std::vector<Tag> tags;
  JsonObject metadata;
  AccountId created_by;
  Instant created_at, updated_at;
  std::optional<ExternalId> external_id;
  std::int64_t version = 0;
  OrganizationId organization_id;
};
BOOST_DESCRIBE_STRUCT(Task, (),
                      (id, project_id, assigned_to, title, description, status, priority, due_date, estimated_hours,
                       actual_hours, tags, metadata, created_by, created_at, updated_at, external_id, version,
                       organization_id))

struct Draft : json::Written {
  Draft() = default;
  Title title;
  std::optional<Markdown> description;
  std::optional<Status> status;
  std::optional<Priority> priority;
  std::optional<AccountId> assigned_to;
  std::optional<Instant> due_date;
  std::optional<Hours> estimated_hours, actual_hours;
  std::optional<std::vector<Tag>> tags;
  std::optional<JsonObject> metadata;
  std::optional<ExternalId> external_id;
};
BOOST_DESCRIBE_STRUCT(Draft, (),
                      (title, description, status, priority, assigned_to, due_date, estimated_hours, actual_hours, tags,
                       metadata, external_id))

struct Edit : json::Written {
  Edit() = default;
  Change<Title> title;
  Change<std::optional<Markdown>> description;
  Change<Status> status;
  Change<Priority> priority;
  Change<std::optional<AccountId>> assigned_to;
  Change<std::optional<Instant>> due_date;
  Change<std::optional<Hours>> estimated_hours, actual_hours;
  Change<std::vector<Tag>> tags;
  Change<JsonObject> metadata;
  Change<std::optional<ExternalId>> external_id;
};
BOOST_DESCRIBE_STRUCT(Edit, (),
                      (title, description, status, priority, assigned_to, due_date, estimated_hours, actual_hours, tags,
                       metadata, external_id))

struct Filter : api::PageQuery {
  Filter() = default;
  std::optional<std::vector<Status>> status;
  std::optional<std::vector<Priority>> priority;
  std::optional<AccountId> assigned_to;
  std::optional<bool> unassigned;
  std::optional<std::vector<Tag>> tags_any, tags_all;
  std::optional<Instant> due_from, due_before;
  std::optional<ExternalId> external_id;
  std::optional<api::AsOf> as_of;
};
BOOST_DESCRIBE_STRUCT(Filter, (api::PageQuery),
                      (status, priority, assigned_to, unassigned, tags_any, tags_all, due_from, due_before, external_id,
                       as_of))

void mount(api::Api& api);

}  // namespace cairn::task

namespace cairn::json {
template<>
inline constexpr auto member_docs<task::Task> = std::to_array<MemberDoc>(
    {{"assigned_to", "Somebody who sees the project; null when they cease to."},
     {"external_id", "The key of this task in the system it came from; unique in its organization."}});
template<>
inline constexpr auto member_docs<task::Draft> = std::to_array<MemberDoc>(
    {{"tags", "At most 50, none twice."}, {"metadata", "At most 16 KiB of JSON, 256 members, 32 levels."}});
template<>
inline constexpr auto member_docs<task::Filter> = std::to_array<MemberDoc>(
    {{"sort", "due_date (tasks without one come last), created_at or updated_at; a leading - turns the order round."},
     {"status", "Any of these."},
     {"priority", "Any of these."},
     {"unassigned", "true: only tasks that nobody is assigned to; false: only tasks that somebody is assigned to."},
     {"tags_any", "With at least one of these tags."},
     {"tags_all", "With all of these tags."},
     {"due_from", "Due then or later."},
     {"due_before", "Due earlier than that."}});
}  // namespace cairn::json
