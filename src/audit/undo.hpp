#pragma once
#include "audit/audit.hpp"

// Taking back: the trash, and the undoing of changes by changes that go the other way.
namespace cairn::audit {

struct Undo : json::Written {
  Undo() = default;
  std::optional<EntryId> change;
  std::optional<std::string> request;
  std::optional<Uuid> actor, token;
  std::optional<Instant> since;
  std::optional<bool> force, dry_run;
};
BOOST_DESCRIBE_STRUCT(Undo, (), (change, request, actor, token, since, force, dry_run))

struct Undone : json::Read {
  Undone() = default;
  bool dry_run = false;
  std::string request_id;
  std::int64_t created = 0, changed = 0, deleted = 0, conflict_count = 0;
  RawJson changes, conflicts;
};
BOOST_DESCRIBE_STRUCT(Undone, (), (dry_run, request_id, created, changed, deleted, conflict_count, changes, conflicts))

// What can be brought back.
struct Trashed : json::Read {
  Trashed() = default;
  EntryId id;
  std::string entity_type;
  Uuid entity_id;
  std::string name;
  std::optional<project::ProjectId> project_id;
  Instant deleted_at;
  std::optional<Uuid> deleted_by;
  std::optional<std::string> deleted_by_name, request_id;
  Instant purged_at;
};
BOOST_DESCRIBE_STRUCT(Trashed, (),
                      (id, entity_type, entity_id, name, project_id, deleted_at, deleted_by, deleted_by_name,
                       request_id, purged_at))

BOOST_DEFINE_ENUM_CLASS(TrashedType, projects, tasks)

struct TrashFilter : api::PageQuery {
  TrashFilter() = default;
  std::optional<TrashedType> entity_type;
  std::optional<project::ProjectId> project_id;
};
BOOST_DESCRIBE_STRUCT(TrashFilter, (api::PageQuery), (entity_type, project_id))

void mount_undo(api::Api& api);

}  // namespace cairn::audit

namespace cairn::json {
template<>
inline constexpr auto member_docs<audit::Undo> =
    std::to_array<MemberDoc>({{"change", "The id of one entry on the record."},
                              {"request", "The id of a request: an import, a bulk edit, or another undo."},
                              {"actor", "Everything that this person did since `since`."},
                              {"token", "Everything that was done with this API token since `since`."},
                              {"force", "Also what somebody else has changed since."},
                              {"dry_run", "Only says what it would do, exactly, and does nothing."}});
template<>
inline constexpr auto member_docs<audit::Undone> = std::to_array<MemberDoc>(
    {{"request_id", "Under which this is on the record, and can be undone."},
     {"conflict_count", "Of fields and things that were left alone, or forced."},
     {"changes", "The first 100: objects with action, entity_type, entity_id, name and changes."},
     {"conflicts",
      "The first 100: objects with action, entity_type, entity_id, name, reason (changed, in_use, exists, gone, "
      "forbidden, not_a_member, taken), field, wanted, expected and found."}});
template<>
inline constexpr auto member_docs<audit::Trashed> =
    std::to_array<MemberDoc>({{"id", "Of the entry on the record."},
                              {"name", "Of a task, its title."},
                              {"project_id", "Of a task."},
                              {"purged_at", "From then on it cannot be brought back."}});
}  // namespace cairn::json
