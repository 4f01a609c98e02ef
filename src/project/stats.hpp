#pragma once
#include "project/project.hpp"

namespace cairn::project {

// Of one week, which begins on a Monday (UTC).
struct Week : json::Read {
  Week() = default;
  Date week;
  std::int64_t created = 0, completed = 0;
};
BOOST_DESCRIBE_STRUCT(Week, (), (week, created, completed))

struct Figures : json::Read {
  Figures() = default;
  ProjectId project_id;
  std::int64_t total = 0;
  std::int64_t todo = 0, in_progress = 0, review = 0, done = 0, cancelled = 0;
  std::int64_t low = 0, medium = 0, high = 0, urgent = 0;
  std::int64_t overdue = 0, estimated_hours = 0, actual_hours = 0;
  std::optional<std::int64_t> completion;
};
BOOST_DESCRIBE_STRUCT(Figures, (),
                      (project_id, total, todo, in_progress, review, done, cancelled, low, medium, high, urgent,
                       overdue, estimated_hours, actual_hours, completion))

struct Stats : Figures {
  Stats() = default;
  std::vector<Week> weeks;
};
BOOST_DESCRIBE_STRUCT(Stats, (Figures), (weeks))

void mount_stats(api::Api& api);

}  // namespace cairn::project

namespace cairn::json {
template<>
inline constexpr auto member_docs<project::Stats> = std::to_array<MemberDoc>(
    {{"overdue", "Neither done nor cancelled, and due before now."},
     {"completion", "Percent of the tasks that are not cancelled that are done; null when there are none."},
     {"weeks", "The last twelve: tasks that were created, and tasks that are done since then."}});
}  // namespace cairn::json
