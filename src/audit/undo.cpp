#include "audit/undo.hpp"

#include "pg/error.hpp"

namespace cairn::audit {
namespace {

namespace permission = organization::permission;
using organization::OrganizationId;
using organization::refuse;
using organization::Standing;

// An import of ten thousand tasks takes a few seconds to undo, longer than any other request may.
constexpr std::chrono::seconds patience{60};

const pg::Constraint undo_size{"undo_size", Kind::invalid, "too_large", "",
                               "These are more than 100,000 changes: undo a part of them."};

struct Outcome {
  Outcome() = default;
  std::int64_t created = 0, changed = 0, deleted = 0, conflict_count = 0, forbidden = 0;
  RawJson changes, conflicts;
  bool found = false;
};
BOOST_DESCRIBE_STRUCT(Outcome, (), (created, changed, deleted, conflict_count, forbidden, changes, conflicts, found))

const pg::Sql<std::string()> take_time{"undo.take_time", R"sql(
  select set_config('statement_timeout', '60s', true))sql"};

const pg::Sql<Outcome(OrganizationId, std::optional<EntryId>, std::optional<std::string>, std::optional<Uuid>,
                      std::optional<Uuid>, std::optional<Instant>, bool, bool, bool)>
    undo_changes{"undo.run", R"sql(
  select created, changed, deleted, conflict_count, forbidden, changes, conflicts, found
  from app.undo($1, $2, $3, $4, $5, $6, $7, $8, $9) where found is not null)sql"};

// Entries that were the last of their thing; what was deleted with its project comes back with its project.
const pg::Family<Trashed> trashed{"trash.of_organization",
                                  R"sql(
  select t.id, t.entity_type, t.entity_id, coalesce(t.old_values->>'title', t.old_values->>'name') as name,
         (t.old_values->>'project_id')::uuid as project_id, t.created_at as deleted_at, t.user_id as deleted_by,
         app.name_of(t.user_id) as deleted_by_name, t.metadata->>'request_id' as request_id,
         t.created_at + app.deletion_grace() as purged_at
  from audit_logs t
  where t.organization_id = {} and (select app.belongs_to({})) and t.action = 'delete'
    and t.entity_type in ('projects', 'tasks') and not t.metadata ? 'redacted'
    and t.created_at > now() - app.deletion_grace()
    and not exists (select from audit_logs l where l.entity_type = t.entity_type and l.entity_id = t.entity_id and l.seq > t.seq)
    and not (t.entity_type = 'tasks' and exists (
      select from audit_logs p where p.entity_type = 'projects' and p.entity_id = (t.old_values->>'project_id')::uuid
        and p.action = 'delete' and p.xid = t.xid
        and p.metadata->>'request_id' is not distinct from t.metadata->>'request_id')))sql",
                                  {pg::filter<std::string>("t.entity_type = {}"),
                                   pg::filter<project::ProjectId>("t.old_values->>'project_id' = {}::uuid::text")},
                                  {{"deleted_at", "t.created_at"}}};

// The entry that took it away, if it is in the trash.
const pg::Sql<EntryId(OrganizationId, Uuid)> last_deletion{"trash.last_deletion", R"sql(
  select a.id from audit_logs a
  where a.organization_id = $1 and app.belongs_to($1) and a.entity_id = $2 and a.entity_type in ('projects', 'tasks')
    and a.action = 'delete' and not a.metadata ? 'redacted' and a.created_at > now() - app.deletion_grace()
    and not exists (select from audit_logs l where l.entity_type = a.entity_type and l.entity_id = $2 and l.seq > a.seq))sql"};

const pg::Sql<Standing(OrganizationId)> standing{"undo.standing", R"sql(
  select app.rights_in($1) as rights, 0::bigint as version where app.belongs_to($1))sql"};

void check(const Undo& undo) {
  const auto selectors = unsigned{undo.change.has_value()} + unsigned{undo.request.has_value()} +
                         unsigned{undo.actor.has_value() || undo.token.has_value()};
  std::vector<FieldError> errors;
  if (selectors != 1)
    errors.emplace_back("", "invalid", "needs one of change, request, or actor or token with since");
  else if (undo.since.has_value() != (undo.actor.has_value() || undo.token.has_value()))
    errors.emplace_back("/since", undo.since ? "invalid" : "required", "belongs to actor and token, and they need it");
  if (!errors.empty()) throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
}

Undone undone_of(Outcome outcome, const api::Call& call, bool dry_run) {
  if (!outcome.found) throw Problem(Kind::not_found);
  const bool nothing = outcome.created + outcome.changed + outcome.deleted == 0;
  if (nothing && outcome.forbidden > 0)
    throw Problem(Kind::forbidden, "What you may do here does not include these changes.");
  Undone undone;
  undone.dry_run = dry_run;
  undone.request_id = call.request_id;
  undone.created = outcome.created;
  undone.changed = outcome.changed;
  undone.deleted = outcome.deleted;
  undone.conflict_count = outcome.conflict_count;
  undone.changes = std::move(outcome.changes);
  undone.conflicts = std::move(outcome.conflicts);
  return undone;
}

// `trashed_id`: what to bring back, instead of a choice of changes.
async<Outcome> run(api::Call& call, OrganizationId organization, Undo undo, std::optional<Uuid> trashed_id) {
  pg::Tx tx = call.core.database.write(call.identity.write, std::chrono::steady_clock::now() + patience);
  co_await tx.one(take_time);
  if (trashed_id) {
    const EntryId deletion = co_await tx.one(last_deletion, organization, *trashed_id);
    undo.change = deletion;
  }
  auto outcome =
      co_await tx.maybe(undo_changes, organization, undo.change, undo.request, undo.actor, undo.token, undo.since,
                        trashed_id.has_value(), undo.force.value_or(false), undo.dry_run.value_or(false));
  if (!outcome) throw Problem(Kind::not_found);
  co_await tx.commit();
  api::announce(call);
  co_return std::move(*outcome);
}

async<Undone> undo(api::Call& call, OrganizationId organization, Undo undo) {
  check(undo);
  auto outcome = co_await run(call, organization, undo, std::nullopt);
  // Somebody who did nothing is no reason to complain.
  if (undo.since) outcome.found = true;
  co_return undone_of(std::move(outcome), call, undo.dry_run.value_or(false));
}

async<Undone> restore(api::Call& call, OrganizationId organization, Id<Trashed> entity) {
  auto outcome = co_await run(call, organization, Undo(), entity.value);
  const bool nothing = outcome.created == 0;
  auto undone = undone_of(std::move(outcome), call, false);
  if (nothing)
    throw Problem(Kind::conflict, "not_restorable",
                  "It cannot come back: what it belongs to is gone, or it is there again.");
  co_return undone;
}

async<api::Page<Trashed>> list_trash(pg::ReadTx& tx, OrganizationId organization, TrashFilter filter) {
  api::Selection selection;
  std::optional<std::string> type;
  if (filter.entity_type) type = json::Codec<TrashedType>::name(*filter.entity_type);
  selection.always(organization).always(organization).when(0, type).when(1, filter.project_id);
  const auto key_of = [](const Trashed& row, unsigned, api::Cursor& cursor) {
    cursor.id = row.id.value;
    cursor.key = row.deleted_at.micros;
  };
  const auto bind_key = [](pg::Params& params, unsigned, const api::Cursor& cursor) {
    params.add(Instant{cursor.key});
  };
  auto page =
      co_await api::read_page(tx, trashed, std::move(selection), std::move(filter), "-deleted_at", key_of, bind_key);
  if (page.data.empty()) co_await tx.one(standing, organization);
  co_return page;
}

}  // namespace

void mount_undo(api::Api& api) {
  using api::Access;
  api.post("/organizations/{organization}/undo", undo,
           {.id = "undo.run",
            .summary = "Undo changes",
            .description = "One change, those of a request, or all that a person or a token did since an instant, by "
                           "changes that go the other way, as far as the caller may make them. Fields that have "
                           "changed since are conflicts and stay, unless forced. Without audit.view one undoes one's "
                           "own changes only.",
            .allow = Access::member,
            .problems = "too_large"});
  api.get("/organizations/{organization}/trash", list_trash,
          {.id = "trash.list",
           .summary = "Deleted projects and tasks",
           .description = "For 30 days. Tasks that were deleted with their project come back with it.",
           .allow = Access::member});
  api.post("/organizations/{organization}/trash/{entity}/restore", restore,
           {.id = "trash.restore",
            .summary = "Bring back a deleted project or task",
            .description = "As it was, with what was deleted with it. What it cannot have any more, such as an "
                           "assignee who has left, is left empty and said in conflicts.",
            .allow = Access::member,
            .problems = "not_restorable"});
}

}  // namespace cairn::audit
