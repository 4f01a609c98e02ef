#include "project/stats.hpp"

#include "api/recall.hpp"
#include "redis/keys.hpp"

namespace cairn::project {
namespace {

struct CountsRow : Counts {
  CountsRow() = default;
  std::string seen;
  void give(Counts& counts) const { counts = *this; }
};
BOOST_DESCRIBE_STRUCT(CountsRow, (Counts), (seen))

struct StatsRow : Figures {
  StatsRow() = default;
  Date first_week;
  // Of the weeks since then in which there were any, counted from 0.
  std::vector<std::int64_t> created_in, created, completed_in, completed;
  std::string seen;
  void give(Stats& stats) const {
    static_cast<Figures&>(stats) = *this;
    for (std::int32_t week = 0; week < 12; ++week) stats.weeks.emplace_back().week.days = first_week.days + 7 * week;
    for (std::size_t i = 0; i < created.size(); ++i)
      stats.weeks.at(static_cast<std::size_t>(created_in.at(i))).created = created[i];
    for (std::size_t i = 0; i < completed.size(); ++i)
      stats.weeks.at(static_cast<std::size_t>(completed_in.at(i))).completed = completed[i];
  }
};
BOOST_DESCRIBE_STRUCT(StatsRow, (Figures), (first_week, created_in, created, completed_in, completed, seen))

const pg::Sql<std::optional<std::string>(ProjectId, std::string)> tasks_hold{"project.tasks_hold", R"sql(
  select app.holds_as_of($2, p.organization_id, p.id, '{tasks}')
  from projects p where p.id = $1)sql",
                                                                             pg::Reply::one};

// Reads no task: the index tasks_project_status_due_idx holds all that is asked for. Nothing of it changes by time
// alone.
const pg::Sql<CountsRow(ProjectId)> counts_by_status{"project.counts", R"sql(
  with sight as materialized (
    select p.id from projects p where p.id = $1 and app.belongs_to(p.organization_id))
  select s.id as project_id,
         app.seen_until(200000000000000000) as seen,
         coalesce(sum(c.n) filter (where c.status = 'todo'), 0)::bigint as todo,
         coalesce(sum(c.n) filter (where c.status = 'in_progress'), 0)::bigint as in_progress,
         coalesce(sum(c.n) filter (where c.status = 'review'), 0)::bigint as review,
         coalesce(sum(c.n) filter (where c.status = 'done'), 0)::bigint as done,
         coalesce(sum(c.n) filter (where c.status = 'cancelled'), 0)::bigint as cancelled,
         coalesce(sum(c.n), 0)::bigint as total
  from sight s
  left join lateral (select t.status, count(*) as n from tasks t where t.project_id = s.id
                     group by t.status) c on true
  group by s.id)sql"};

// A task is done since the last entry that says so. Until the next task is due or the week is over, only an entry of
// the record can change the answer. The tasks are read from the same index, but for those that are done.
const pg::Sql<StatsRow(ProjectId)> stats_of{"project.stats", R"sql(
  with sight as materialized (
    select p.id from projects p where p.id = $1 and app.belongs_to(p.organization_id)),
  span as materialized (
    select date_trunc('week', now(), 'UTC') - interval '11 weeks' as first,
           date_trunc('week', now(), 'UTC') + interval '1 week' as after),
  counted as (
    select count(*) as total,
           count(*) filter (where t.status = 'todo') as todo,
           count(*) filter (where t.status = 'in_progress') as in_progress,
           count(*) filter (where t.status = 'review') as review,
           count(*) filter (where t.status = 'done') as done,
           count(*) filter (where t.status = 'cancelled') as cancelled,
           count(*) filter (where t.priority = 'low') as low,
           count(*) filter (where t.priority = 'medium') as medium,
           count(*) filter (where t.priority = 'high') as high,
           count(*) filter (where t.priority = 'urgent') as urgent,
           count(*) filter (where t.due_date < now() and t.status not in ('done', 'cancelled')) as overdue,
           min(t.due_date) filter (where t.due_date >= now() and t.status not in ('done', 'cancelled')) as next_due,
           coalesce(sum(t.estimated_hours), 0)::bigint as estimated_hours,
           coalesce(sum(t.actual_hours), 0)::bigint as actual_hours
    from sight s join tasks t on t.project_id = s.id),
  created as (
    select coalesce(array_agg(w.week), '{}') as weeks, coalesce(array_agg(w.n), '{}') as numbers
    from (select floor(date_part('epoch', t.created_at - (select first from span)) / 604800)::bigint as week, count(*) as n
          from sight s join tasks t on t.project_id = s.id
          where t.created_at >= (select first from span) and t.created_at < (select after from span) group by 1) as w),
  completed as (
    select coalesce(array_agg(w.week), '{}') as weeks, coalesce(array_agg(w.n), '{}') as numbers
    from (select floor(date_part('epoch', d.at - (select first from span)) / 604800)::bigint as week, count(*) as n
          from sight s join tasks t on t.project_id = s.id
          cross join lateral (select max(a.created_at) as at from audit_logs a
                              where a.entity_type = 'tasks' and a.entity_id = t.id
                                and a.new_values->>'status' = 'done') as d
          where t.status = 'done' and t.updated_at >= (select first from span)
            and d.at >= (select first from span) and d.at < (select after from span)
          group by 1) as w)
  select s.id as project_id, c.total, c.todo, c.in_progress, c.review, c.done, c.cancelled, c.low, c.medium,
         c.high, c.urgent, c.overdue, c.estimated_hours, c.actual_hours,
         100 * c.done / nullif(c.total - c.cancelled, 0) as completion,
         app.seen_until((extract(epoch from least(c.next_due, w.after)) * 1000000)::bigint) as seen,
         (w.first at time zone 'UTC')::date as first_week,
         m.weeks as created_in, m.numbers as created, d.weeks as completed_in, d.numbers as completed
  from sight s cross join span w cross join counted c cross join created m cross join completed d)sql"};

async<api::Encoded<Counts>> counts(api::Call& call, pg::ReadTx& tx, ProjectId id) {
  return api::remembered<Counts>(call, tx, tasks_hold, counts_by_status, id, redis::keys::task_counts(id.value),
                                 redis::ttl::counts);
}

async<api::Encoded<Stats>> stats(api::Call& call, pg::ReadTx& tx, ProjectId id) {
  return api::remembered<Stats>(call, tx, tasks_hold, stats_of, id, redis::keys::project_stats(id.value),
                                redis::ttl::stats);
}

}  // namespace

void mount_stats(api::Api& api) {
  using api::Access;
  api.get("/projects/{project}/counts", counts,
          {.id = "project.counts", .summary = "Count a project's tasks by status", .allow = Access::member});
  api.get("/projects/{project}/stats", stats,
          {.id = "project.stats",
           .summary = "A project's figures",
           .description = "Tasks by status and priority, overdue, hours, completion and the last twelve weeks.",
           .allow = Access::member});
}

}  // namespace cairn::project
