#include "takeout/takeout.hpp"

namespace cairn::takeout {
namespace {

// What one export holds in memory at most, give or take a page.
constexpr std::size_t most_bytes = 32 * 1024 * 1024;

struct Row {
  Row() = default;
  Uuid id;
  Instant at;
  RawJson row;
};
BOOST_DESCRIBE_STRUCT(Row, (), (id, at, row))

const pg::Sql<profile::Profile()> own_profile{"takeout.profile", R"sql(
  select user_id, avatar_url, bio, phone, company, department, job_title, timezone, preferences, created_at, updated_at,
         version
  from user_profiles where user_id = app.actor())sql"};

const pg::Sql<RawJson()> memberships{"takeout.memberships", R"sql(
  select coalesce(jsonb_agg(jsonb_build_object(
           'organization_id', o.id, 'name', o.name, 'slug', o.slug, 'role', m.role, 'permissions', m.permissions,
           'joined_at', m.joined_at) order by m.joined_at), '[]')
  from user_organizations m join organizations o on o.id = m.organization_id where m.user_id = app.actor())sql"};

const pg::Sql<RawJson()> sessions{"takeout.sessions", R"sql(
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', id, 'created_at', created_at, 'expires_at', expires_at, 'ip_address', host(ip_address),
           'user_agent', user_agent) order by created_at), '[]')
  from app.devices where user_id = app.actor())sql"};

const pg::Sql<RawJson()> api_tokens{"takeout.api_tokens", R"sql(
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', id, 'name', name, 'scopes', scopes, 'organization_id', organization_id, 'created_at', created_at,
           'expires_at', expires_at) order by created_at), '[]')
  from app.api_tokens where user_id = app.actor())sql"};

const pg::Sql<Row(Uuid)> tasks{"takeout.tasks", R"sql(
  select t.id, t.created_at as at, to_jsonb(t) as row
  from tasks t where (t.created_by = app.actor() or t.assigned_to = app.actor()) and t.id > $1
  order by t.id limit 100)sql"};

const pg::Sql<Row(Instant, Uuid)> record{"takeout.record", R"sql(
  select a.id, a.created_at as at, jsonb_build_object(
           'id', a.id, 'created_at', a.created_at, 'action', a.action, 'entity_type', a.entity_type,
           'entity_id', a.entity_id, 'organization_id', a.organization_id, 'ip_address', host(a.ip_address),
           'user_agent', a.user_agent, 'old_values', a.old_values, 'new_values', a.new_values, 'metadata', a.metadata) as row
  from audit_logs a where a.user_id = app.actor() and (a.created_at, a.id) < ($1, $2)
  order by a.created_at desc, a.id desc limit 100)sql"};

// A JSON array that grows by pages, until there is room no more.
struct Rows {
  Rows() = default;
  std::string text = "[";
  Uuid id;
  Instant at;

  void add(const std::vector<Row>& page) {
    for (const auto& row : page) {
      if (text.size() > 1) text.push_back(',');
      text += row.row.str();
    }
    id = page.back().id;
    at = page.back().at;
  }
  RawJson done() { return RawJson(std::move(text) + "]"); }
};

// Each page in a transaction of its own: all of them may take longer than a request may wait for one statement.
async<std::vector<Row>> page_of_tasks(api::Call& call, Uuid after) {
  pg::ReadTx tx = call.read();
  auto page = co_await tx.all(tasks, after);
  co_return page;
}
async<std::vector<Row>> page_of_record(api::Call& call, Instant before, Uuid id) {
  pg::ReadTx tx = call.read();
  auto page = co_await tx.all(record, before, id);
  co_return page;
}

async<Export> make(pg::ReadTx& tx, api::Call& call) {
  Export made;
  made.exported_at = Instant::now();
  made.account = co_await tx.one(account::own_account);
  made.profile = co_await tx.one(own_profile);
  made.memberships = co_await tx.one(memberships);
  made.sessions = co_await tx.one(sessions);
  made.api_tokens = co_await tx.one(api_tokens);

  Rows mine;
  for (;;) {
    const auto page = co_await page_of_tasks(call, mine.id);
    if (page.empty()) break;
    mine.add(page);
    made.complete = mine.text.size() < most_bytes / 2;
    if (!made.complete) break;
  }
  made.tasks = mine.done();

  Rows acts;
  acts.at = Instant::infinity();
  for (;;) {
    const auto page = co_await page_of_record(call, acts.at, acts.id);
    if (page.empty()) break;
    acts.add(page);
    if (acts.text.size() < most_bytes / 2) continue;
    made.complete = false;
    break;
  }
  made.record = acts.done();
  call.response.add_header("Content-Disposition", "attachment; filename=\"cairn-export.json\"");
  co_return made;
}

}  // namespace

void mount(api::Api& api) {
  api.get("/me/export", make,
          {.id = "account.export", .summary = "Everything about me, as one document", .allow = api::Access::user});
}

}  // namespace cairn::takeout
