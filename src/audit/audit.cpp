#include "audit/audit.hpp"

namespace cairn::audit {
namespace {

namespace permission = organization::permission;
using organization::OrganizationId;
using organization::refuse;
using organization::Standing;

#define CAIRN_ENTRY_COLUMNS                                                                                            \
  "select t.id, t.created_at, t.action::text as action, t.entity_type, t.entity_id, t.user_id, "                       \
  "(t.metadata->>'token')::uuid as token_id, t.metadata->>'actor' as actor, t.organization_id, "                       \
  "t.metadata->>'request_id' as request_id, "                                                                          \
  "host(t.ip_address) as ip_address, t.user_agent, t.metadata->>'event' as event, t.metadata->>'outcome' as outcome, " \
  "t.old_values, t.new_values from audit_logs t "
#define CAIRN_ENTRY_FILTERS                                                                            \
  {                                                                                                    \
    pg::filter<std::string>("t.entity_type = {}"), pg::filter<Uuid>("t.entity_id = {}"),               \
        pg::filter<Uuid>("t.user_id = {}"), pg::filter<std::string>("t.metadata->>'request_id' = {}"), \
        pg::filter<Instant>("t.created_at >= {}"), pg::filter<Instant>("t.created_at < {}")            \
  }
#define CAIRN_ENTRY_SORTS            \
  {                                  \
    { "created_at", "t.created_at" } \
  }

const pg::Family<Entry> of_organization{
    "audit.of_organization",
    CAIRN_ENTRY_COLUMNS "where t.organization_id = {} and (select app.rights_in({}) & 8192 <> 0)",  // audit.view
    CAIRN_ENTRY_FILTERS, CAIRN_ENTRY_SORTS};

// Also of things that are gone: the record knows whose they were.
const pg::Family<Entry> of_entity{"audit.of_entity",
                                  CAIRN_ENTRY_COLUMNS
                                  "where t.entity_type = {} and t.entity_id = {} and app.belongs_to(t.organization_id)",
                                  CAIRN_ENTRY_FILTERS, CAIRN_ENTRY_SORTS};

const pg::Family<Entry> of_self{
    "audit.of_self",
    CAIRN_ENTRY_COLUMNS "where (t.user_id = app.actor() or (t.entity_type = 'users' and t.entity_id = app.actor()))",
    CAIRN_ENTRY_FILTERS, CAIRN_ENTRY_SORTS};

#undef CAIRN_ENTRY_COLUMNS
#undef CAIRN_ENTRY_FILTERS
#undef CAIRN_ENTRY_SORTS

const pg::Sql<Standing(OrganizationId)> standing{"audit.standing", R"sql(
  select app.rights_in($1) as rights, 0::bigint as version where app.belongs_to($1))sql"};

async<api::Page<Entry>> read_page(pg::ReadTx& tx, const pg::Family<Entry>& family, api::Selection selection,
                                  Filter filter) {
  std::optional<std::string> type;
  if (filter.entity_type) type = json::Codec<EntityType>::name(*filter.entity_type);
  selection.when(0, type)
      .when(1, filter.entity_id)
      .when(2, filter.user_id)
      .when(3, filter.request_id)
      .when(4, filter.from)
      .when(5, filter.before);
  const auto key_of = [](const Entry& row, unsigned, api::Cursor& cursor) {
    cursor.id = row.id.value;
    cursor.key = row.created_at.micros;
  };
  const auto bind_key = [](pg::Params& params, unsigned, const api::Cursor& cursor) {
    params.add(Instant{cursor.key});
  };
  return api::read_page(tx, family, std::move(selection), std::move(filter), "-created_at", key_of, bind_key);
}

async<api::Page<Entry>> list(pg::ReadTx& tx, OrganizationId organization, Filter filter) {
  api::Selection selection;
  selection.always(organization).always(organization);
  auto page = co_await read_page(tx, of_organization, std::move(selection), std::move(filter));
  if (page.data.empty()) {
    const auto own = co_await tx.maybe(standing, organization);
    if (!own || (own->rights & permission::audit_view) == 0) refuse(own, permission::audit_view);
  }
  co_return page;
}

async<api::Page<Entry>> list_of(pg::ReadTx& tx, std::string type, Uuid id, Filter filter) {
  const bool whole =
      !filter.cursor && !filter.entity_id && !filter.user_id && !filter.request_id && !filter.from && !filter.before;
  api::Selection selection;
  selection.always(type).always(id);
  auto page = co_await read_page(tx, of_entity, std::move(selection), std::move(filter));
  if (!page.data.empty()) co_return page;
  // Whatever exists was created on the record, so nothing at all means that there is no such thing, or none to see.
  if (!whole) {
    api::Selection any;
    any.always(type).always(id);
    const auto first = co_await read_page(tx, of_entity, std::move(any), Filter());
    if (!first.data.empty()) co_return page;
  }
  throw Problem(Kind::not_found);
}

async<api::Page<Entry>> list_of_task(pg::ReadTx& tx, task::TaskId id, Filter filter) {
  return list_of(tx, "tasks", id.value, std::move(filter));
}
async<api::Page<Entry>> list_of_project(pg::ReadTx& tx, project::ProjectId id, Filter filter) {
  return list_of(tx, "projects", id.value, std::move(filter));
}
async<api::Page<Entry>> list_of_self(pg::ReadTx& tx, Filter filter) {
  return read_page(tx, of_self, api::Selection(), std::move(filter));
}

}  // namespace

void mount(api::Api& api) {
  using api::Access;
  api.get("/organizations/{organization}/audit", list,
          {.id = "audit.list", .summary = "An organization's record", .allow = Access::admin});
  api.get("/projects/{project}/audit", list_of_project,
          {.id = "audit.list_project",
           .summary = "A project's record",
           .description = "Also after the project was deleted.",
           .allow = Access::member});
  api.get("/tasks/{task}/audit", list_of_task,
          {.id = "audit.list_task",
           .summary = "A task's record",
           .description = "Also after the task was deleted.",
           .allow = Access::member});
  api.get("/me/audit", list_of_self,
          {.id = "audit.list_self", .summary = "The record of my account and of what I did", .allow = Access::user});
}

}  // namespace cairn::audit
