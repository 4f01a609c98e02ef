#include "audit/diff.hpp"

#include "api/recall.hpp"
#include "redis/keys.hpp"

namespace cairn::audit {
namespace {

using project::ProjectId;

struct Row : Difference {
  Row() = default;
  std::int64_t seq = 0;
};
BOOST_DESCRIBE_STRUCT(Row, (Difference), (seq))

const pg::Family<Row> in_project{
    "diff.in_project",
    R"sql(
  select t.id, t.entity_type, t.action, t.name, t.changes, t.seq
  from app.project_diff({}, coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot,
                        coalesce({}::timestamptz, '-infinity'), coalesce({}::text, '1:1:')::pg_snapshot) t
  where true)sql",
    {pg::filter<std::string>("t.entity_type = {}"), pg::filter<std::vector<Action>>("t.action = any({})")},
    {{"position", "t.seq"}}};

// Whoever sees all of the organization gets the same answer as everybody else who does, so only theirs is remembered.
struct Sight {
  Sight() = default;
  bool whole = false, holds = false;
  std::string seen;
};
BOOST_DESCRIBE_STRUCT(Sight, (), (whole, holds, seen))
const pg::Sql<Sight(ProjectId, std::string)> sight_of{"diff.sight", R"sql(
  select s.whole, s.whole and app.holds_as_of($2, s.organization_id, null, '{projects,project_members,tasks}') is not null as holds,
         app.seen_until(200000000000000000) as seen
  from (select o as organization_id, coalesce(o = any (app.uuids('app.open')), false) as whole
        from app.organization_of($1) o where app.belongs_to(o)) as s)sql"};

async<api::Encoded<api::Page<Difference>>> diff(api::Call& call, pg::ReadTx& tx, ProjectId project, DiffFilter filter) {
  const auto key =
      redis::keys::api_cache(call.endpoint->spec.id, api::params_hash({call.path_values[0], call.request.query}));
  auto known = co_await api::recall(call.core, key);
  auto to = api::AsOf::parse("now");
  if (filter.to) to = filter.to;
  const bool up_to_now = to->now();
  const auto until = co_await api::settle(call, tx, *to);
  auto since = filter.from;
  if (since.now()) since = until;
  std::string known_as_of = known ? known->seen : "";
  auto sight = co_await tx.one(sight_of, project, known_as_of);
  const bool asks_further = known && sight.whole && !sight.holds;
  if (asks_further) known = co_await api::recall_newer(call.core, key, *known);
  if (asks_further && known) {
    known_as_of = known->seen;
    sight = co_await tx.one(sight_of, project, known_as_of);
  }
  api::Encoded<api::Page<Difference>> answer;
  if (sight.holds) {
    answer.json = known->content;
    co_await api::renew(call.core, key, *known, std::move(sight.seen), redis::ttl::api_cache);
    co_return answer;
  }
  api::Selection selection;
  std::optional<std::string> type;
  if (filter.entity_type) type = json::Codec<DifferentType>::name(*filter.entity_type);
  selection.always(project)
      .always(since.at())
      .always(since.seen())
      .always(until.at())
      .always(until.seen())
      .when(0, type)
      .when(1, filter.action);
  const auto key_of = [](const Row& row, unsigned, api::Cursor& cursor) {
    cursor.id = row.id;
    cursor.key = row.seq;
  };
  const auto bind_key = [](pg::Params& params, unsigned, const api::Cursor& cursor) { params.add(cursor.key); };
  auto rows =
      co_await api::read_page(tx, in_project, std::move(selection), std::move(filter), "position", key_of, bind_key);
  if (rows.data.empty()) {
    const auto then = co_await tx.maybe(project::by_id_as_of, project, since.at(), since.seen());
    if (!then) co_await tx.one(project::by_id_as_of, project, until.at(), until.seen());
  }
  api::Page<Difference> page;
  page.data.assign(std::make_move_iterator(rows.data.begin()), std::make_move_iterator(rows.data.end()));
  page.next_cursor = std::move(rows.next_cursor);
  api::encode(answer.json, page);
  if (sight.whole) {
    // What was committed after `until` was settled is not in the answer, though it was seen a statement later.
    auto seen = std::move(sight.seen);
    if (up_to_now) seen.replace(0, seen.find('@'), *until.seen());
    co_await api::remember(call.core, key, std::move(seen), answer.json, redis::ttl::api_cache);
  }
  co_return answer;
}

}  // namespace

void mount_diff(api::Api& api) {
  api.get("/projects/{project}/diff", diff,
          {.id = "diff.project",
           .summary = "What changed in a project between two points of time",
           .description = "The project, its members and its tasks: what was made, changed and deleted in all.",
           .allow = api::Access::member});
}

}  // namespace cairn::audit
