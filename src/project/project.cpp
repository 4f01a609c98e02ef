#include "project/project.hpp"

#include "project/stats.hpp"

#include "pg/error.hpp"

namespace cairn::project {

const pg::Sql<Project(ProjectId, std::optional<Instant>, std::optional<std::string>)> by_id_as_of{"project.by_id_as_of",
                                                                                                  R"sql(
  select t.id, t.organization_id, t.name, t.description, t.status, t.priority, t.visibility, t.start_date, t.end_date, t.budget, t.metadata,
         t.external_id, t.created_by, t.created_at, t.updated_at, t.version
  from app.state_of('projects', $1, (select to_jsonb(c) from projects c where c.id = $1),
                    coalesce($2::timestamptz, '-infinity'), coalesce($3::text, '1:1:')::pg_snapshot) s
  cross join lateral jsonb_populate_record(null::projects, s) t where s is not null and app.belongs_to(t.organization_id))sql"};

const pg::Sql<OrganizationId(ProjectId)> organization_of{"project.organization_of", R"sql(
  select o from app.organization_of($1) o where app.belongs_to(o))sql"};

namespace {

namespace permission = organization::permission;
using organization::refuse;
using organization::Standing;

const pg::Constraint external_id_taken{"projects_external_id_key", Kind::conflict, "external_id_taken", "/external_id",
                                       "belongs to another project of this organization"};
const pg::Constraint dates_in_order{"projects_end_date_order", Kind::invalid, "out_of_range", "/end_date",
                                    "must not be before start_date"};
const pg::Constraint budget_range{"projects_budget_range", Kind::invalid, "out_of_range", "/budget",
                                  "must be 0 or more"};

const pg::Sql<Project(ProjectId)> by_id{"project.by_id", R"sql(
  select p.id, p.organization_id, p.name, p.description, p.status, p.priority, p.visibility, p.start_date, p.end_date, p.budget,
         p.metadata, p.external_id, p.created_by, p.created_at, p.updated_at, p.version
  from projects p where p.id = $1 and app.belongs_to(p.organization_id))sql"};

const pg::Sql<Project(OrganizationId, Name, std::optional<Markdown>, std::optional<Status>, std::optional<Priority>,
                      std::optional<Date>, std::optional<Date>, std::optional<Money>, std::optional<JsonObject>,
                      std::optional<ExternalId>, std::int64_t, std::optional<Visibility>)>
    insert_project{"project.insert", R"sql(
  insert into projects (organization_id, name, description, status, priority, start_date, end_date, budget, metadata,
                        external_id, created_by, visibility)
  select $1, $2, $3, coalesce($4, 'active'::project_status), coalesce($5, 'medium'::project_priority), $6, $7, $8,
         coalesce($9, '{}'::jsonb), $10, app.actor(), coalesce($12, 'organization'::project_visibility)
  where app.rights_in($1) & $11 <> 0
  returning id, organization_id, name, description, status, priority, visibility, start_date, end_date, budget, metadata, external_id,
            created_by, created_at, updated_at, version)sql"};

const pg::Sql<Project(ProjectId, Change<Name>, Change<std::optional<Markdown>>, Change<Status>, Change<Priority>,
                      Change<std::optional<Date>>, Change<std::optional<Date>>, Change<std::optional<Money>>,
                      Change<JsonObject>, Change<std::optional<ExternalId>>, std::optional<std::int64_t>, std::int64_t,
                      Change<Visibility>)>
    update_project{"project.update", R"sql(
  update projects p set
    name = case when $2 then $3 else name end, description = case when $4 then $5 else description end,
    status = case when $6 then $7 else status end, priority = case when $8 then $9 else priority end,
    start_date = case when $10 then $11 else start_date end, end_date = case when $12 then $13 else end_date end,
    budget = case when $14 then $15 else budget end, metadata = case when $16 then $17 else metadata end,
    external_id = case when $18 then $19 else external_id end, visibility = case when $22 then $23 else visibility end
  where p.id = $1 and app.rights_in(p.organization_id, p.id) & $21 <> 0 and ($20::bigint is null or p.version = $20)
  returning p.id, p.organization_id, p.name, p.description, p.status, p.priority, p.visibility, p.start_date, p.end_date, p.budget,
            p.metadata, p.external_id, p.created_by, p.created_at, p.updated_at, p.version)sql"};

const pg::Sql<void(ProjectId, std::optional<std::int64_t>, std::int64_t)> delete_project{"project.delete", R"sql(
  delete from projects p
  where p.id = $1 and app.rights_in(p.organization_id, p.id) & $3 <> 0 and ($2::bigint is null or p.version = $2))sql"};

const pg::Sql<Standing(ProjectId)> standing{"project.standing", R"sql(
  select app.rights_in(organization_id, id) as rights, version from projects
  where id = $1 and app.belongs_to(organization_id))sql"};

const pg::Sql<Standing(OrganizationId)> standing_in{"project.standing_in_organization", R"sql(
  select app.rights_in($1) as rights, 0::bigint as version where app.belongs_to($1))sql"};

const pg::Family<Project> in_organization{
    "project.in_organization",
    R"sql(
  select t.id, t.organization_id, t.name, t.description, t.status, t.priority, t.visibility, t.start_date, t.end_date, t.budget, t.metadata,
         t.external_id, t.created_by, t.created_at, t.updated_at, t.version
  from projects t where t.organization_id = {} and (select app.belongs_to({})))sql",
    {pg::filter<std::vector<Status>>("t.status = any({})"), pg::filter<std::vector<Priority>>("t.priority = any({})"),
     pg::filter<ExternalId>("t.external_id = {}")},
    {{"name", "t.name"}, {"created_at", "t.created_at"}, {"updated_at", "t.updated_at"}}};

const pg::Family<Project> in_organization_as_of{
    "project.in_organization_as_of",
    R"sql(
  select t.id, t.organization_id, t.name, t.description, t.status, t.priority, t.visibility, t.start_date, t.end_date, t.budget, t.metadata,
         t.external_id, t.created_by, t.created_at, t.updated_at, t.version
  from app.projects_as_of({}, coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot) t
  where (select app.belongs_to({})))sql",
    {pg::filter<std::vector<Status>>("t.status = any({})"), pg::filter<std::vector<Priority>>("t.priority = any({})"),
     pg::filter<ExternalId>("t.external_id = {}")},
    {{"name", "t.name"}, {"created_at", "t.created_at"}, {"updated_at", "t.updated_at"}}};

async<api::Created<Project>> create(pg::Tx& tx, OrganizationId organization, Draft draft) {
  auto project = co_await tx.maybe_finish(
      insert_project, organization, draft.name, draft.description, draft.status, draft.priority, draft.start_date,
      draft.end_date, draft.budget, draft.metadata, draft.external_id, permission::project_create, draft.visibility);
  if (!project) refuse(co_await tx.maybe(standing_in, organization), permission::project_create);
  co_return std::move(*project);
}

async<api::Page<Project>> list(api::Call& call, pg::ReadTx& tx, OrganizationId organization, Filter filter) {
  api::Selection selection;
  selection.always(organization);
  const auto* family = &in_organization;
  if (filter.as_of) {
    const auto past = co_await api::settle(call, tx, *filter.as_of);
    selection.always(past.at()).always(past.seen());
    family = &in_organization_as_of;
  }
  selection.always(organization).when(0, filter.status).when(1, filter.priority).when(2, filter.external_id);
  const auto key_of = [](const Project& row, unsigned sort, api::Cursor& cursor) {
    cursor.id = row.id.value;
    if (sort == 0)
      cursor.text_key = row.name.str();
    else
      cursor.key = (sort == 1 ? row.created_at : row.updated_at).micros;
  };
  const auto bind_key = [](pg::Params& params, unsigned sort, const api::Cursor& cursor) {
    if (sort == 0)
      params.add(cursor.text_key);
    else
      params.add(Instant{cursor.key});
  };
  auto page = co_await api::read_page(tx, *family, std::move(selection), std::move(filter), "name", key_of, bind_key);
  if (page.data.empty()) co_await tx.one(standing_in, organization);
  co_return page;
}

async<Project> show(api::Call& call, pg::ReadTx& tx, ProjectId id, api::AsOfQuery query) {
  if (!query.as_of) {
    Project project = co_await tx.one(by_id, id);
    co_return project;
  }
  const auto past = co_await api::settle(call, tx, *query.as_of);
  Project project = co_await tx.one(by_id_as_of, id, past.at(), past.seen());
  co_return project;
}

async<Project> edit(pg::Tx& tx, ProjectId id, api::IfMatch match, Edit edit) {
  auto project = co_await tx.maybe_finish(update_project, id, edit.name, edit.description, edit.status, edit.priority,
                                          edit.start_date, edit.end_date, edit.budget, edit.metadata, edit.external_id,
                                          match.version, permission::project_edit, edit.visibility);
  if (!project) refuse(co_await tx.maybe(standing, id), permission::project_edit, match);
  co_return std::move(*project);
}

async<> remove(pg::Tx& tx, ProjectId id, api::IfMatch match) {
  const auto changed = co_await tx.run(delete_project, id, match.version, permission::project_delete);
  if (changed == 0) refuse(co_await tx.maybe(standing, id), permission::project_delete, match);
}

}  // namespace

void mount(api::Api& api) {
  using api::Access;
  api.post("/organizations/{organization}/projects", create,
           {.id = "project.create",
            .summary = "Create a project",
            .description = "Who creates a private one is its lead.",
            .allow = Access::manager,
            .location = "/projects/{id}",
            .problems = "external_id_taken"});
  api.get("/organizations/{organization}/projects", list,
          {.id = "project.list", .summary = "List projects", .allow = Access::member});
  api.get("/projects/{project}", show, {.id = "project.show", .summary = "Show a project", .allow = Access::member});
  api.patch("/projects/{project}", edit,
            {.id = "project.edit",
             .summary = "Change a project",
             .allow = Access::manager,
             .problems = "external_id_taken,stale"});
  api.del("/projects/{project}", remove,
          {.id = "project.remove",
           .summary = "Delete a project and its tasks",
           .description = "Every task deleted with it is on the record, whole.",
           .allow = Access::admin,
           .problems = "stale"});

  mount_members(api);
  mount_stats(api);
}

}  // namespace cairn::project
