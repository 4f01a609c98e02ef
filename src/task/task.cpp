#include "task/task.hpp"

#include "pg/error.hpp"

namespace cairn::task {
namespace {

using organization::manager_rank;
using organization::member_rank;
using organization::refuse;
using organization::Standing;

const pg::Constraint external_id_taken{"tasks_external_id_key", Kind::conflict, "external_id_taken", "/external_id",
                                       "belongs to another task of this organization"};
const pg::Constraint assignee_is_member{"tasks_assignee_is_member", Kind::invalid, "not_a_member", "/assigned_to",
                                        "is not a member of this organization"};
const pg::Constraint assignee_exists{"tasks_assigned_to_fkey", Kind::invalid, "not_a_member", "/assigned_to",
                                     "is not a member of this organization"};
const pg::Constraint tags_valid{"tasks_tags_valid", Kind::invalid, "invalid", "/tags",
                                "must be at most 50 different tags of 1 to 64 characters"};

const pg::Sql<Task(TaskId)> by_id{"task.by_id", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from tasks t join app.memberships m on m.organization_id = t.organization_id where t.id = $1)sql"};

const pg::Sql<Task(ProjectId, Title, std::optional<Markdown>, std::optional<Status>, std::optional<Priority>,
                   std::optional<AccountId>, std::optional<Instant>, std::optional<Hours>, std::optional<Hours>,
                   std::optional<std::vector<Tag>>, std::optional<JsonObject>, std::optional<ExternalId>, std::int32_t)>
    insert_task{"task.insert", R"sql(
  insert into tasks (project_id, organization_id, title, description, status, priority, assigned_to, due_date,
                     estimated_hours, actual_hours, tags, metadata, external_id, created_by)
  select p.id, p.organization_id, $2, $3, coalesce($4, 'todo'::task_status), coalesce($5, 'medium'::task_priority), $6, $7, $8, $9,
         coalesce($10, '{}'::text[]), coalesce($11, '{}'::jsonb), $12, app.actor()
  from projects p join app.memberships m on m.organization_id = p.organization_id where p.id = $1 and m.rank >= $13
  returning id, organization_id, project_id, title, description, status, priority, assigned_to, due_date, estimated_hours,
            actual_hours, tags, metadata, external_id, created_by, created_at, updated_at, version)sql"};

const pg::Sql<Task(TaskId, Change<Title>, Change<std::optional<Markdown>>, Change<Status>, Change<Priority>,
                   Change<std::optional<AccountId>>, Change<std::optional<Instant>>, Change<std::optional<Hours>>,
                   Change<std::optional<Hours>>, Change<std::vector<Tag>>, Change<JsonObject>,
                   Change<std::optional<ExternalId>>, std::optional<std::int64_t>, std::int32_t)>
    update_task{"task.update", R"sql(
  update tasks t set
    title = case when $2 then $3 else title end, description = case when $4 then $5 else description end,
    status = case when $6 then $7 else status end, priority = case when $8 then $9 else priority end,
    assigned_to = case when $10 then $11 else assigned_to end, due_date = case when $12 then $13 else due_date end,
    estimated_hours = case when $14 then $15 else estimated_hours end,
    actual_hours = case when $16 then $17 else actual_hours end, tags = case when $18 then $19 else tags end,
    metadata = case when $20 then $21 else metadata end, external_id = case when $22 then $23 else external_id end
  from app.memberships m
  where t.id = $1 and m.organization_id = t.organization_id and m.rank >= $25 and ($24::bigint is null or t.version = $24)
  returning t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
            t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
            t.version)sql"};

// Who made a task may take it back; everybody else's need a manager.
const pg::Sql<void(TaskId, std::optional<std::int64_t>, std::int32_t)> delete_task{"task.delete", R"sql(
  delete from tasks t using app.memberships m
  where t.id = $1 and m.organization_id = t.organization_id and (m.rank >= $3 or t.created_by = app.actor())
    and ($2::bigint is null or t.version = $2))sql"};

const pg::Sql<Standing(TaskId)> standing{"task.standing", R"sql(
  select case when t.created_by = app.actor() then greatest(m.rank, 2) else m.rank end as rank, t.version
  from tasks t join app.memberships m on m.organization_id = t.organization_id where t.id = $1)sql"};

const pg::Sql<Standing(ProjectId)> standing_in_project{"task.standing_in_project", R"sql(
  select m.rank, p.version from projects p join app.memberships m on m.organization_id = p.organization_id
  where p.id = $1)sql"};

const pg::Sql<Standing(OrganizationId)> standing_in_organization{"task.standing_in_organization", R"sql(
  select rank, 0::bigint as version from app.memberships where organization_id = $1)sql"};

// One status is an equality, so that its place in the index is kept; several are not.
enum FilterIndex : unsigned {
  one_status,
  any_status,
  priority,
  assigned_to,
  unassigned,
  tags_any,
  tags_all,
  due_from,
  due_before,
  external_id
};

#define CAIRN_TASK_FILTERS                                                                                      \
  {                                                                                                             \
    pg::filter<Status>("t.status = {}"), pg::filter<std::vector<Status>>("t.status = any({})"),                 \
        pg::filter<std::vector<Priority>>("t.priority = any({})"), pg::filter<AccountId>("t.assigned_to = {}"), \
        pg::filter<bool>("(t.assigned_to is null) = {}"), pg::filter<std::vector<Tag>>("t.tags && {}"),         \
        pg::filter<std::vector<Tag>>("t.tags @> {}"), pg::filter<Instant>("t.due_date >= {}"),                  \
        pg::filter<Instant>("t.due_date < {}"), pg::filter<ExternalId>("t.external_id = {}")                    \
  }
#define CAIRN_TASK_SORTS                                                                             \
  {                                                                                                  \
    {"due_date", "coalesce(t.due_date, 'infinity'::timestamptz)"}, {"created_at", "t.created_at"}, { \
      "updated_at", "t.updated_at"                                                                   \
    }                                                                                                \
  }

const pg::Family<Task> in_project{"task.in_project", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from tasks t where t.project_id = {}
    and t.organization_id in (select organization_id from app.memberships))sql",
                                  CAIRN_TASK_FILTERS, CAIRN_TASK_SORTS};

const pg::Family<Task> in_organization{"task.in_organization", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from tasks t where t.organization_id = {}
    and t.organization_id in (select organization_id from app.memberships))sql",
                                       CAIRN_TASK_FILTERS, CAIRN_TASK_SORTS};

#undef CAIRN_TASK_FILTERS
#undef CAIRN_TASK_SORTS

async<api::Page<Task>> read_page(pg::ReadTx& tx, const pg::Family<Task>& family, Uuid within, Filter filter) {
  api::Selection selection;
  selection.always(within);
  if (filter.status && filter.status->size() == 1) {
    const std::optional<Status> one = filter.status->front();
    selection.when(one_status, one);
  } else {
    selection.when(any_status, filter.status);
  }
  selection.when(priority, filter.priority)
      .when(assigned_to, filter.assigned_to)
      .when(unassigned, filter.unassigned)
      .when(tags_any, filter.tags_any)
      .when(tags_all, filter.tags_all)
      .when(due_from, filter.due_from)
      .when(due_before, filter.due_before)
      .when(external_id, filter.external_id);
  const auto key_of = [](const Task& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id.value;
    cursor.key = (sort == 0   ? row.due_date.value_or(Instant::infinity())
                  : sort == 1 ? row.created_at
                              : row.updated_at)
                     .micros;
  };
  const auto bind_key = [](pg::Params& params, unsigned, const api::Cursor& cursor) {
    params.add(Instant{cursor.key});
  };
  return api::read_page(tx, family, std::move(selection), std::move(filter), "due_date", key_of, bind_key);
}

async<api::Created<Task>> create(pg::Tx& tx, ProjectId project, Draft draft) {
  auto task = co_await tx.maybe_finish(insert_task, project, draft.title, draft.description, draft.status,
                                       draft.priority, draft.assigned_to, draft.due_date, draft.estimated_hours,
                                       draft.actual_hours, draft.tags, draft.metadata, draft.external_id, member_rank);
  if (!task) refuse(co_await tx.maybe(standing_in_project, project), member_rank);
  co_return std::move(*task);
}

async<api::Page<Task>> list_in_project(pg::ReadTx& tx, ProjectId project, Filter filter) {
  auto page = co_await read_page(tx, in_project, project.value, std::move(filter));
  if (page.data.empty()) co_await tx.one(standing_in_project, project);
  co_return page;
}

async<api::Page<Task>> list_in_organization(pg::ReadTx& tx, OrganizationId organization, Filter filter) {
  auto page = co_await read_page(tx, in_organization, organization.value, std::move(filter));
  if (page.data.empty()) co_await tx.one(standing_in_organization, organization);
  co_return page;
}

async<Task> show(pg::ReadTx& tx, TaskId id) { return tx.one(by_id, id); }

async<Task> edit(pg::Tx& tx, TaskId id, api::IfMatch match, Edit edit) {
  auto task = co_await tx.maybe_finish(update_task, id, edit.title, edit.description, edit.status, edit.priority,
                                       edit.assigned_to, edit.due_date, edit.estimated_hours, edit.actual_hours,
                                       edit.tags, edit.metadata, edit.external_id, match.version, member_rank);
  if (!task) refuse(co_await tx.maybe(standing, id), member_rank, match);
  co_return std::move(*task);
}

async<> remove(pg::Tx& tx, TaskId id, api::IfMatch match) {
  const auto changed = co_await tx.run(delete_task, id, match.version, manager_rank);
  if (changed == 0) refuse(co_await tx.maybe(standing, id), manager_rank, match);
}

}  // namespace

void mount(api::Api& api) {
  using api::Access;
  api.post("/projects/{project}/tasks", create,
           {.id = "task.create",
            .summary = "Create a task",
            .allow = Access::member,
            .location = "/tasks/{id}",
            .problems = "external_id_taken,not_a_member"});
  api.get("/projects/{project}/tasks", list_in_project,
          {.id = "task.list", .summary = "List a project's tasks", .allow = Access::member});
  api.get("/organizations/{organization}/tasks", list_in_organization,
          {.id = "task.list_all", .summary = "List the tasks of all projects", .allow = Access::member});
  api.get("/tasks/{task}", show, {.id = "task.show", .summary = "Show a task", .allow = Access::member});
  api.patch("/tasks/{task}", edit,
            {.id = "task.edit",
             .summary = "Change a task",
             .allow = Access::member,
             .problems = "external_id_taken,not_a_member,stale"});
  api.del(
      "/tasks/{task}", remove,
      {.id = "task.remove",
       .summary = "Delete a task",
       .description = "The whole task is kept on the record. Whoever created it may delete it, whatever their role.",
       .allow = Access::manager,
       .problems = "stale"});
}

}  // namespace cairn::task
