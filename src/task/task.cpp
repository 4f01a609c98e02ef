#include "task/task.hpp"

#include "pg/error.hpp"

namespace cairn::task {
namespace {

namespace permission = organization::permission;
using organization::refuse;
using organization::Standing;

const pg::Constraint external_id_taken{"tasks_external_id_key", Kind::conflict, "external_id_taken", "/external_id",
                                       "belongs to another task of this organization"};
const pg::Constraint assignee_is_member{"tasks_assignee_is_member", Kind::invalid, "not_a_member", "/assigned_to",
                                        "is not a member of this project or organization"};
const pg::Constraint assignee_exists{"tasks_assigned_to_fkey", Kind::invalid, "not_a_member", "/assigned_to",
                                     "is not a member of this project or organization"};
const pg::Constraint assignee_sees_project{"tasks_assignee_sees_project", Kind::invalid, "not_a_member", "/assigned_to",
                                           "is not a member of this project or organization"};
const pg::Constraint tags_valid{"tasks_tags_valid", Kind::invalid, "invalid", "/tags",
                                "must be at most 50 different tags of 1 to 64 characters"};

const pg::Sql<Task(TaskId)> by_id{"task.by_id", "select t from tasks t where t.id = $1", pg::Reply::one};

const pg::Sql<Task(TaskId, std::optional<Instant>, std::optional<std::string>)> by_id_as_of{"task.by_id_as_of", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from app.state_of('tasks', $1, (select to_jsonb(c) from tasks c where c.id = $1),
                    coalesce($2::timestamptz, '-infinity'), coalesce($3::text, '1:1:')::pg_snapshot) s
  cross join lateral jsonb_populate_record(null::tasks, s) t where s is not null and app.belongs_to(t.organization_id))sql"};

// Ids are made here, ordered by time: new rows then meet at the end of the index of ids instead of all over it.
const pg::Sql<Task(TaskId, ProjectId, Title, std::optional<Markdown>, std::optional<Status>, std::optional<Priority>,
                   std::optional<AccountId>, std::optional<Instant>, std::optional<Hours>, std::optional<Hours>,
                   std::optional<std::vector<Tag>>, std::optional<JsonObject>, std::optional<ExternalId>, std::int64_t)>
    insert_task{"task.insert", R"sql(
  insert into tasks (id, project_id, organization_id, title, description, status, priority, assigned_to, due_date,
                     estimated_hours, actual_hours, tags, metadata, external_id, created_by)
  select $1, p.id, p.organization_id, $3, $4, coalesce($5, 'todo'::task_status), coalesce($6, 'medium'::task_priority), $7,
         $8, $9, $10, coalesce($11, '{}'::text[]), coalesce($12, '{}'::jsonb), $13, app.actor()
  from projects p where p.id = $2 and app.rights_in(p.organization_id, p.id) & $14 <> 0
    and ($7::uuid is null or p.visibility = 'organization' or app.sees_project($7, p.id))
  returning id, organization_id, project_id, title, description, status, priority, assigned_to, due_date, estimated_hours,
            actual_hours, tags, metadata, external_id, created_by, created_at, updated_at, version)sql"};

const pg::Sql<Task(TaskId, Change<Title>, Change<std::optional<Markdown>>, Change<Status>, Change<Priority>,
                   Change<std::optional<AccountId>>, Change<std::optional<Instant>>, Change<std::optional<Hours>>,
                   Change<std::optional<Hours>>, Change<std::vector<Tag>>, Change<JsonObject>,
                   Change<std::optional<ExternalId>>, std::optional<std::int64_t>, std::int64_t)>
    update_task{"task.update", R"sql(
  update tasks t set
    title = case when $2 then $3 else title end, description = case when $4 then $5 else description end,
    status = case when $6 then $7 else status end, priority = case when $8 then $9 else priority end,
    assigned_to = case when $10 then $11 else assigned_to end, due_date = case when $12 then $13 else due_date end,
    estimated_hours = case when $14 then $15 else estimated_hours end,
    actual_hours = case when $16 then $17 else actual_hours end, tags = case when $18 then $19 else tags end,
    metadata = case when $20 then $21 else metadata end, external_id = case when $22 then $23 else external_id end
  where t.id = $1 and app.rights_in(t.organization_id, t.project_id) & $25 <> 0 and ($24::bigint is null or t.version = $24)
    and ($11::uuid is null or app.sees_project($11, t.project_id))
  returning t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
            t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
            t.version)sql"};

// Who made a task and may change it may take it back; everybody else's need the permission.
const pg::Sql<void(TaskId, std::optional<std::int64_t>, std::int64_t, std::int64_t)> delete_task{"task.delete", R"sql(
  delete from tasks t
  where t.id = $1 and ($2::bigint is null or t.version = $2)
    and app.rights_in(t.organization_id, t.project_id) & case when t.created_by = app.actor() then $3::bigint | $4::bigint else $3 end <> 0)sql"};

const pg::Sql<Standing(TaskId)> standing{"task.standing", R"sql(
  select app.rights_in(organization_id, project_id) as rights, version from tasks
  where id = $1 and app.belongs_to(organization_id))sql"};

const pg::Sql<Standing(ProjectId)> standing_in_project{"task.standing_in_project", R"sql(
  select app.rights_in(organization_id, id) as rights, version from projects
  where id = $1 and app.belongs_to(organization_id))sql"};

const pg::Sql<Standing(OrganizationId)> standing_in_organization{"task.standing_in_organization", R"sql(
  select app.rights_in($1) as rights, 0::bigint as version where app.belongs_to($1))sql"};

// Whether somebody sees the project of a task that is to be theirs.
const pg::Sql<bool(ProjectId, AccountId)> sees_project{"task.sees_project", R"sql(select app.sees_project($2, $1))sql"};
const pg::Sql<bool(TaskId, AccountId)> sees_task{"task.sees_task", R"sql(
  select app.sees_project($2, project_id) from tasks where id = $1)sql"};

[[noreturn]] void refuse_assignee() {
  std::vector<FieldError> errors;
  errors.emplace_back("/assigned_to", "not_a_member", "is not a member of this project or organization");
  throw Problem(Kind::invalid, "not_a_member", "assigned_to is not a member of this project or organization.")
      .with(std::move(errors));
}

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
    and (select app.belongs_to(p.organization_id) from projects p where p.id = {}))sql",
                                  CAIRN_TASK_FILTERS, CAIRN_TASK_SORTS};

const pg::Family<Task> in_organization{"task.in_organization", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from tasks t where t.organization_id = {} and (select app.belongs_to({})))sql",
                                       CAIRN_TASK_FILTERS, CAIRN_TASK_SORTS};

// The same of the past.
const pg::Family<Task> in_project_as_of{"task.in_project_as_of", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from app.tasks_as_of({}, coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot) t
  where t.project_id = {} and app.belongs_to(t.organization_id))sql",
                                        CAIRN_TASK_FILTERS, CAIRN_TASK_SORTS};

const pg::Family<Task> in_organization_as_of{"task.in_organization_as_of", R"sql(
  select t.id, t.organization_id, t.project_id, t.title, t.description, t.status, t.priority, t.assigned_to, t.due_date,
         t.estimated_hours, t.actual_hours, t.tags, t.metadata, t.external_id, t.created_by, t.created_at, t.updated_at,
         t.version
  from app.tasks_as_of({}, coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot) t
  where (select app.belongs_to({})))sql",
                                             CAIRN_TASK_FILTERS, CAIRN_TASK_SORTS};

#undef CAIRN_TASK_FILTERS
#undef CAIRN_TASK_SORTS

// `selection` has what the family always binds.
async<api::Page<Task>> read_page(pg::ReadTx& tx, const pg::Family<Task>& family, api::Selection selection,
                                 Filter filter) {
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
  const auto id = TaskId::make();
  auto task =
      co_await tx.maybe_finish(insert_task, id, project, draft.title, draft.description, draft.status, draft.priority,
                               draft.assigned_to, draft.due_date, draft.estimated_hours, draft.actual_hours, draft.tags,
                               draft.metadata, draft.external_id, permission::task_create);
  if (task) co_return std::move(*task);
  const auto own = co_await tx.maybe(standing_in_project, project);
  if (own && (own->rights & permission::task_create) != 0 && draft.assigned_to) {
    const bool sees = co_await tx.one(sees_project, project, *draft.assigned_to);
    if (!sees) refuse_assignee();
  }
  refuse(own, permission::task_create);
}

async<api::Page<Task>> list_in_project(api::Call& call, pg::ReadTx& tx, ProjectId project, Filter filter) {
  api::Selection selection;
  if (!filter.as_of) {
    selection.always(project).always(project);
    auto page = co_await read_page(tx, in_project, std::move(selection), std::move(filter));
    if (page.data.empty()) co_await tx.one(standing_in_project, project);
    co_return page;
  }
  const auto past = co_await api::settle(call, tx, *filter.as_of);
  const auto organization = co_await tx.one(project::organization_of, project);
  selection.always(organization).always(past.at()).always(past.seen()).always(project);
  auto page = co_await read_page(tx, in_project_as_of, std::move(selection), std::move(filter));
  if (page.data.empty()) co_await tx.one(project::by_id_as_of, project, past.at(), past.seen());
  co_return page;
}

async<api::Page<Task>> list_in_organization(api::Call& call, pg::ReadTx& tx, OrganizationId organization,
                                            Filter filter) {
  api::Selection selection;
  selection.always(organization);
  const auto* family = &in_organization;
  if (filter.as_of) {
    const auto past = co_await api::settle(call, tx, *filter.as_of);
    selection.always(past.at()).always(past.seen());
    family = &in_organization_as_of;
  }
  selection.always(organization);
  auto page = co_await read_page(tx, *family, std::move(selection), std::move(filter));
  if (page.data.empty()) co_await tx.one(standing_in_organization, organization);
  co_return page;
}

async<Task> show(api::Call& call, pg::ReadTx& tx, TaskId id, api::AsOfQuery query) {
  if (!query.as_of) {
    Task task = co_await tx.one(by_id, id);
    co_return task;
  }
  const auto past = co_await api::settle(call, tx, *query.as_of);
  Task task = co_await tx.one(by_id_as_of, id, past.at(), past.seen());
  co_return task;
}

async<Task> edit(pg::Tx& tx, TaskId id, api::IfMatch match, Edit edit) {
  auto task =
      co_await tx.maybe_finish(update_task, id, edit.title, edit.description, edit.status, edit.priority,
                               edit.assigned_to, edit.due_date, edit.estimated_hours, edit.actual_hours, edit.tags,
                               edit.metadata, edit.external_id, match.version, permission::task_edit);
  if (task) co_return std::move(*task);
  const auto own = co_await tx.maybe(standing, id);
  if (own && (own->rights & permission::task_edit) != 0 && edit.assigned_to.given() && edit.assigned_to.value()) {
    const bool sees = co_await tx.one(sees_task, id, *edit.assigned_to.value());
    if (!sees) refuse_assignee();
  }
  refuse(own, permission::task_edit, match);
}

async<> remove(pg::Tx& tx, TaskId id, api::IfMatch match) {
  const auto changed = co_await tx.run(delete_task, id, match.version, permission::task_delete, permission::task_edit);
  if (changed == 0) refuse(co_await tx.maybe(standing, id), permission::task_delete, match);
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
