#include "audit/audit.hpp"

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <charconv>

#include "audit/checkpoint.hpp"
#include "audit/diff.hpp"
#include "audit/export.hpp"
#include "audit/undo.hpp"

namespace cairn::audit {
namespace {

namespace permission = organization::permission;
using organization::OrganizationId;
using organization::refuse;
using organization::Standing;

// Where from and with what is for oneself and for who may read the whole record.
#define CAIRN_ENTRY_FIELDS                                                                                 \
  "select t.id, to_hex(t.xid::text::bigint) || '-' || to_hex(t.seq) as position, t.created_at, t.action, " \
  "t.entity_type, t.entity_id, "                                                                           \
  "t.user_id, app.name_of(t.user_id) as user_name, "                                                       \
  "(t.metadata->>'token')::uuid as token_id, t.metadata->>'actor' as actor, t.organization_id, "           \
  "t.metadata->>'request_id' as request_id, case when f.shown then host(t.ip_address) end as ip_address, " \
  "case when f.shown then t.user_agent end as user_agent, "                                                \
  "t.metadata->>'event' as event, t.metadata->>'outcome' as outcome, "                                     \
  "t.metadata->>'operation' as operation, t.metadata->>'reason' as reason, "                               \
  "app.changes(t.old_values, t.new_values) as changes, t.old_values, t.new_values "
#define CAIRN_ENTRY_COLUMNS                                                                                            \
  CAIRN_ENTRY_FIELDS                                                                                                   \
  "from audit_logs t cross join lateral (select t.organization_id is null or coalesce(t.user_id = app.actor(), false)" \
  " or app.rights_in(t.organization_id) & 8192 <> 0 as shown) f " /* audit.view */
#define CAIRN_HISTORY_FILTERS                                                                               \
  pg::filter<Uuid>("t.user_id = {}"), pg::filter<std::vector<Action>>("t.action = any({})"),                \
      pg::filter<Text<1, 100>>("coalesce(t.new_values, t.old_values) ? {}"),                                \
      pg::filter<std::string>("t.metadata->>'request_id' = {}"),                                            \
      pg::filter<Instant, Instant>("t.created_at >= {} and t.xid >= (select app.first_later({}, '1:1:'))"), \
      pg::filter<Instant>("t.created_at < {}"),                                                             \
      pg::filter<Text<1, 200, Shape::text>, Text<1, 200, Shape::text>>(                                     \
          "app.mentions(t.old_values, {}) or app.mentions(t.new_values, {})")
#define CAIRN_ENTRY_FILTERS                                                                                   \
  CAIRN_HISTORY_FILTERS, pg::filter<std::string>("t.entity_type = {}"), pg::filter<Uuid>("t.entity_id = {}"), \
      pg::filter<Uuid>("t.metadata->>'token' = {}::uuid::text"),                                              \
      pg::filter<Text<1, 100>>("t.metadata->>'actor' = {}"), pg::filter<Network>("t.ip_address <<= {}::text::inet")

// Rows of a family, with what the cursor needs.
const pg::Family<Entry> of_organization{
    "audit.of_organization",
    CAIRN_ENTRY_COLUMNS "where t.organization_id = {} and (select app.rights_in({}) & 8192 <> 0)",  // audit.view
    {CAIRN_ENTRY_FILTERS},
    {{"position", "t.xid", "t.seq"}}};

const pg::Family<Entry> of_self{
    "audit.of_self",
    CAIRN_ENTRY_COLUMNS "where (t.user_id = app.actor() or (t.entity_type = 'users' and t.entity_id = app.actor()))",
    {CAIRN_ENTRY_FILTERS},
    {{"position", "t.xid", "t.seq"}}};

const pg::Family<Entry> of_account{"audit.of_account",
                                   CAIRN_ENTRY_COLUMNS
                                   "where (t.user_id = app.actor() or (t.entity_type = 'users' and t.entity_id = "
                                   "app.actor())) and t.organization_id is null",
                                   {CAIRN_HISTORY_FILTERS},
                                   {{"position", "t.xid", "t.seq"}}};

// Of one thing: its changes come in the order of seq. Also of things that are gone: the record knows whose they were.
const pg::Family<Entry> of_entity{"audit.of_entity",
                                  CAIRN_ENTRY_COLUMNS
                                  "where t.entity_type = {} and t.entity_id = {} and app.belongs_to(t.organization_id)",
                                  {CAIRN_HISTORY_FILTERS},
                                  {{"position", "t.seq"}}};

// All memberships that a person ever had in the organization.
const pg::Family<Entry> of_member{
    "audit.of_member",
    CAIRN_ENTRY_COLUMNS
    "where t.organization_id = {} and t.entity_type = 'user_organizations' and t.entity_id in ("
    "select c.entity_id from audit_logs c where c.organization_id = {} and c.entity_type = 'user_organizations' and "
    "c.action = 'create' and c.new_values->>'user_id' = {}::uuid::text) and app.belongs_to(t.organization_id)",
    {CAIRN_HISTORY_FILTERS},
    {{"position", "t.seq"}}};

// In the order of time, which has an index that does not begin with the organization.
const pg::Family<Entry> of_server{"audit.of_server",
                                  CAIRN_ENTRY_FIELDS
                                  "from app.server_record t cross join (select true as shown) f where true",
                                  {CAIRN_ENTRY_FILTERS, pg::filter<Uuid>("t.organization_id = {}"),
                                   pg::filter<bool>("(t.organization_id is not null) = {}")},
                                  {{"created_at", "t.created_at", "t.seq"}}};

#undef CAIRN_ENTRY_FIELDS
#undef CAIRN_ENTRY_COLUMNS
#undef CAIRN_HISTORY_FILTERS
#undef CAIRN_ENTRY_FILTERS

const pg::Sql<Standing(OrganizationId)> standing{"audit.standing", R"sql(
  select app.rights_in($1) as rights, 0::bigint as version where app.belongs_to($1))sql"};

// The two numbers of a position; of what is none, the beginning.
std::pair<std::int64_t, std::int64_t> numbers_of(std::string_view position) {
  std::pair<std::int64_t, std::int64_t> numbers;
  const auto *const begin = position.data(), *const end = begin + position.size();
  const auto dash = std::from_chars(begin, end, numbers.first, 16).ptr;
  if (dash != end) std::from_chars(dash + 1, end, numbers.second, 16);
  return numbers;
}

// The start of a selection is what always binds; the filters come in the order of the families' lists.
void select_history(api::Selection& selection, const HistoryFilter& filter) {
  selection.when(0, filter.user_id)
      .when(1, filter.action)
      .when(2, filter.field)
      .when(3, filter.request_id)
      .when(4, filter.from);
  if (filter.from) selection.always(*filter.from);
  selection.when(5, filter.before).when(6, filter.q);
  if (filter.q) selection.always(*filter.q);
}
void select_entries(api::Selection& selection, const Filter& filter) {
  select_history(selection, filter);
  std::optional<std::string> type;
  if (filter.entity_type) type = json::Codec<EntityType>::name(*filter.entity_type);
  selection.when(7, type)
      .when(8, filter.entity_id)
      .when(9, filter.token_id)
      .when(10, filter.actor)
      .when(11, filter.address);
}

async<api::Page<Entry>> read_page(pg::ReadTx& tx, const pg::Family<Entry>& family, api::Selection selection,
                                  api::PageQuery query) {
  const bool by_seq = family.sorts().front().by_id();
  const auto key_of = [](const Entry& row, unsigned, api::Cursor& cursor) {
    cursor.id = row.id.value;
    cursor.text_key = row.position;
  };
  const auto bind_key = [by_seq](pg::Params& params, unsigned, const api::Cursor& cursor) {
    const auto [xid, seq] = numbers_of(cursor.text_key);
    if (!by_seq) params.add(xid);
    params.add(seq);
  };
  return api::read_page(tx, family, std::move(selection), std::move(query), "-position", key_of, bind_key);
}

// Whatever exists was created on the record, so nothing at all means that there is no such thing, or none to see.
async<api::Page<Entry>> history(pg::ReadTx& tx, const pg::Family<Entry>& family, api::Selection whose,
                                HistoryFilter filter) {
  api::Selection selection = whose;
  select_history(selection, filter);
  const bool whole = selection.filters() == 0 && !filter.cursor;
  auto page = co_await read_page(tx, family, std::move(selection), std::move(filter));
  if (!page.data.empty()) co_return page;
  if (!whole) {
    const auto any = co_await read_page(tx, family, std::move(whose), api::PageQuery());
    if (!any.data.empty()) co_return page;
  }
  throw Problem(Kind::not_found);
}

async<api::Page<Entry>> history_of(pg::ReadTx& tx, std::string type, Uuid id, HistoryFilter filter) {
  api::Selection whose;
  whose.always(type).always(id);
  return history(tx, of_entity, std::move(whose), std::move(filter));
}
async<api::Page<Entry>> list_of_task(pg::ReadTx& tx, task::TaskId id, HistoryFilter filter) {
  return history_of(tx, "tasks", id.value, std::move(filter));
}
async<api::Page<Entry>> list_of_project(pg::ReadTx& tx, project::ProjectId id, HistoryFilter filter) {
  return history_of(tx, "projects", id.value, std::move(filter));
}
async<api::Page<Entry>> list_of_organization(pg::ReadTx& tx, OrganizationId id, HistoryFilter filter) {
  return history_of(tx, "organizations", id.value, std::move(filter));
}
async<api::Page<Entry>> list_of_member(pg::ReadTx& tx, OrganizationId organization, account::AccountId user,
                                       HistoryFilter filter) {
  api::Selection whose;
  whose.always(organization).always(organization).always(user);
  return history(tx, of_member, std::move(whose), std::move(filter));
}
async<api::Page<Entry>> list_of_self(pg::ReadTx& tx, Filter filter) {
  api::Selection selection;
  select_entries(selection, filter);
  return read_page(tx, of_self, std::move(selection), std::move(filter));
}
async<api::Page<Entry>> list_of_account(pg::ReadTx& tx, HistoryFilter filter) {
  api::Selection selection;
  select_history(selection, filter);
  return read_page(tx, of_account, std::move(selection), std::move(filter));
}

}  // namespace

async<api::Page<Entry>> read_organization(pg::ReadTx& tx, OrganizationId organization, Filter filter) {
  api::Selection selection;
  selection.always(organization).always(organization);
  select_entries(selection, filter);
  auto page = co_await read_page(tx, of_organization, std::move(selection), std::move(filter));
  if (page.data.empty()) {
    const auto own = co_await tx.maybe(standing, organization);
    if (!own || (own->rights & permission::audit_view) == 0) refuse(own, permission::audit_view);
  }
  co_return page;
}

async<api::Page<Entry>> read_server(pg::ReadTx& tx, ServerFilter filter) {
  api::Selection selection;
  select_entries(selection, filter);
  selection.when(12, filter.organization_id).when(13, filter.in_organization);
  const auto key_of = [](const Entry& row, unsigned, api::Cursor& cursor) {
    cursor.id = row.id.value;
    cursor.key = row.created_at.micros;
    cursor.text_key = row.position;
  };
  const auto bind_key = [](pg::Params& params, unsigned, const api::Cursor& cursor) {
    params.add(Instant{cursor.key});
    params.add(numbers_of(cursor.text_key).second);
  };
  return api::read_page(tx, of_server, std::move(selection), std::move(filter), "-created_at", key_of, bind_key);
}

std::string Network::problem(std::string_view value) {
  return parse(value) ? std::string() : std::string("must be an IP address or a network, such as 192.0.2.0/24");
}

std::optional<Network> Network::parse(std::string_view value) {
  namespace ip = boost::asio::ip;
  if (value.size() > 64 || value.find('%') != std::string_view::npos) return std::nullopt;
  const std::string text(value);
  boost::system::error_code error;
  if (text.find('/') == std::string::npos) {
    const auto address = ip::make_address(text, error);
    if (error) return std::nullopt;
    return trusted(address.to_string());
  }
  const auto four = ip::make_network_v4(text, error);
  if (!error) return trusted(four.canonical().to_string());
  const auto six = ip::make_network_v6(text, error);
  if (error) return std::nullopt;
  return trusted(six.canonical().to_string());
}

void mount(api::Api& api) {
  using api::Access;
  api.get("/organizations/{organization}/audit", read_organization,
          {.id = "audit.list", .summary = "An organization's record", .allow = Access::admin});
  api.get("/organizations/{organization}/history", list_of_organization,
          {.id = "audit.list_organization",
           .summary = "How an organization itself came to be as it is",
           .allow = Access::member});
  api.get("/organizations/{organization}/members/{user}/history", list_of_member,
          {.id = "audit.list_member",
           .summary = "How somebody's membership came to be as it is",
           .description = "All memberships that they had there, also after they left.",
           .allow = Access::member});
  // The older address of each does the same.
  for (const auto* path : {"/projects/{project}/history", "/projects/{project}/audit"})
    api.get(path, list_of_project,
            {.id = std::string_view(path).ends_with("history") ? "audit.list_project" : "audit.list_project_record",
             .summary = "How a project came to be as it is",
             .description = "Also after the project was deleted.",
             .allow = Access::member});
  for (const auto* path : {"/tasks/{task}/history", "/tasks/{task}/audit"})
    api.get(path, list_of_task,
            {.id = std::string_view(path).ends_with("history") ? "audit.list_task" : "audit.list_task_record",
             .summary = "How a task came to be as it is",
             .description = "Also after the task was deleted.",
             .allow = Access::member});
  api.get("/me/audit", list_of_self,
          {.id = "audit.list_self", .summary = "The record of my account and of what I did", .allow = Access::user});
  api.get("/me/history", list_of_account,
          {.id = "audit.list_account", .summary = "How my account came to be as it is", .allow = Access::user});
  api.get(
      "/admin/audit", read_server,
      {.id = "admin_audit.list",
       .summary = "The record of the whole server",
       .description = "What was done in organizations, too: by whom and to what. From what to what only of accounts, "
                      "sessions, API tokens, organizations and memberships.",
       .allow = Access::server_admin});
  mount_checkpoints(api);
  mount_diff(api);
  mount_export(api);
  mount_undo(api);
}

}  // namespace cairn::audit
