#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// What must be there, worked out beside the server.
namespace cairn::support {

// What is known of a row: all of it, or less after a change whose answer did not come.
struct Row {
  Row() = default;
  explicit Row(boost::json::object fields) : known(std::move(fields)) {}
  std::int64_t version() const { return known.at("version").as_int64(); }
  std::string text(std::string_view member) const;

  boost::json::object known;
  std::string request;  // the last that changed it, or deleted it
};
using Rows = std::map<std::string, Row>;

// An organization in which only one person changes anything, one thing after the other.
struct Model {
  Model() = default;
  Rows& rows(std::string_view kind) { return kind == "tasks" ? tasks : kind == "projects" ? projects : members; }
  Rows tasks_of(const std::string& project) const;
  // What was deleted by all but the latest requests is nothing to choose from any more: a model is copied with each
  // request, and must not grow with what has been.
  void forget();

  std::string id;
  Rows tasks, projects, members;  // by id; members by that of the user
  Rows lost_tasks, lost_projects;
};

// A model after one more request, and the entries that the request must have on the record, as entry_of() writes them.
class Step {
 public:
  Step(const Model& before, std::string request) : next(before), request_(std::move(request)) {}

  void create(const std::string& kind, const std::string& id, boost::json::object fields);
  void edit(const std::string& kind, const std::string& id, const boost::json::object& fields);
  void remove_task(const std::string& id) { lose("tasks", next.lost_tasks, id); }
  void remove_project(const std::string& id);
  void remove_member(const std::string& user);
  void restore_task(const std::string& id);
  void restore_project(const std::string& id);
  // Back to what it was before the last request.
  void undo(Model before);

  Model next;
  std::vector<std::string> entries;

 private:
  void lose(const std::string& kind, Rows& lost, const std::string& id);
  void note(std::string_view action, std::string_view kind, std::string_view id);

  std::string request_;
};

// An entry of audit_logs in SQL and as text. A membership's id is left out: the API does not show it.
inline constexpr std::string_view entry_in_sql =
    "concat_ws(' ', action, entity_type, case entity_type when 'user_organizations' then '' else entity_id::text end)";
std::string entry_of(std::string_view action, std::string_view kind, std::string_view id);

// Of things that several people change: the least that must be shown of each from now on.
class Commons {
 public:
  struct Bound {
    Bound() = default;
    std::int64_t least = 0;                            // version
    unsigned endings = 0, revivals = 0, reviving = 0;  // that were begun, and that are under way
    std::optional<unsigned> gone_at;                   // the revivals when it was certainly deleted
  };
  // A request that can be undone, with the ids of what it may bring back or take away by that.
  struct Deed {
    Deed() = default;
    std::string request;
    std::vector<std::string> ids;
  };

  std::string organization;
  std::vector<std::string> lasting;  // projects that nobody deletes

  // Tasks, and projects that do not last. What is in one of those may go at any time.
  void add(const std::string& kind, const std::string& id, bool passing);
  // One of the newer ones; empty while there is none.
  std::string any(const std::string& kind, std::uint64_t die) const;
  Bound of(const std::string& id) const;
  // Of the newer ones and the lasting projects.
  std::map<std::string, Bound> newer() const;

  void seen(const std::string& id, std::int64_t version);
  // The result belongs to ended(), which is called when it was acknowledged.
  unsigned ends(const std::string& id);
  void ended(const std::string& id, unsigned revivals);
  void revives(const std::string& id);
  void revived(const std::string& id);

  void did(Deed deed);
  Deed deed(std::uint64_t die) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Bound> bounds_;
  std::vector<std::string> tasks_, passing_;
  std::vector<Deed> deeds_;
};

// What one operation draws before it looks at anything, so that the next draws the same whatever this one finds.
class Dice {
 public:
  explicit Dice(std::mt19937_64& random) {
    for (auto& one : drawn_) one = random();
  }
  std::uint64_t next() { return drawn_[at_++ % drawn_.size()]; }
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template<class Container>
  const auto& of(const Container& all) {
    return *std::next(all.begin(), static_cast<std::ptrdiff_t>(below(all.size())));
  }

 private:
  std::array<std::uint64_t, 24> drawn_;
  std::size_t at_ = 0;
};

}  // namespace cairn::support
