#include "support/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "support/stack.hpp"

namespace cairn::support {

std::string Row::text(std::string_view member) const { return text_of(known, member); }

Rows Model::tasks_of(const std::string& project) const {
  Rows found;
  for (const auto& task : tasks)
    if (task.second.text("project_id") == project) found.insert(task);
  return found;
}

void Model::forget() {
  constexpr std::size_t kept = 60;
  if (lost_tasks.size() < 2 * kept) return;
  std::vector<std::string> requests;
  for (const auto& task : lost_tasks) requests.push_back(task.second.request);
  std::nth_element(requests.begin(), requests.begin() + kept, requests.end(), std::greater<>());
  // A project is kept with all tasks that went with it, by the same request.
  const auto old = [&](const auto& row) { return row.second.request < requests[kept]; };
  std::erase_if(lost_tasks, old);
  std::erase_if(lost_projects, old);
}

std::string entry_of(std::string_view action, std::string_view kind, std::string_view id) {
  return fmt::format("{} {} {}", action, kind, kind == "user_organizations" ? "" : id);
}

// -- the model

void Step::note(std::string_view action, std::string_view kind, std::string_view id) {
  entries.push_back(entry_of(action, kind, id));
}

void Step::create(const std::string& kind, const std::string& id, boost::json::object fields) {
  note("create", kind, id);
  auto& row = next.rows(kind)[id] = Row(std::move(fields));
  row.request = request_;
}

void Step::edit(const std::string& kind, const std::string& id, const boost::json::object& fields) {
  note("update", kind, id);
  auto& row = next.rows(kind).at(id);
  const auto version = row.version() + 1;
  for (const auto& field : fields) row.known[field.key()] = field.value();
  row.known["version"] = version;
  row.known.erase("updated_at");
  row.request = request_;
}

void Step::lose(const std::string& kind, Rows& lost, const std::string& id) {
  note("delete", kind, id);
  auto& row = lost[id] = next.rows(kind).at(id);
  row.request = request_;
  next.rows(kind).erase(id);
}

void Step::remove_project(const std::string& id) {
  for (const auto& task : next.tasks_of(id)) remove_task(task.first);
  lose("projects", next.lost_projects, id);
}

void Step::remove_member(const std::string& user) {
  note("delete", "user_organizations", user);
  next.members.erase(user);
  for (const auto& [id, row] : Rows(next.tasks))
    if (row.text("assigned_to") == user) edit("tasks", id, {{"assigned_to", nullptr}});
}

void Step::restore_task(const std::string& id) {
  auto fields = next.lost_tasks.at(id).known;
  // As it was, but for who has left: then it is another version.
  if (const auto assignee = text_of(fields, "assigned_to"); assignee != "null" && !next.members.contains(assignee)) {
    fields["assigned_to"] = nullptr;
    fields["version"] = fields.at("version").as_int64() + 1;
    fields.erase("updated_at");
  }
  next.lost_tasks.erase(id);
  create("tasks", id, std::move(fields));
}

void Step::restore_project(const std::string& id) {
  const auto project = next.lost_projects.at(id);
  next.lost_projects.erase(id);
  create("projects", id, project.known);
  for (const auto& [task, row] : Rows(next.lost_tasks))
    if (row.text("project_id") == id && row.request == project.request) restore_task(task);
}

void Step::undo(Model before) {
  for (const std::string kind : {"tasks", "projects", "user_organizations"}) {
    const auto was = before.rows(kind), is = next.rows(kind);
    for (const auto& [id, row] : is) {
      if (was.contains(id)) continue;
      if (kind != "user_organizations") {
        lose(kind, kind == "tasks" ? next.lost_tasks : next.lost_projects, id);
        continue;
      }
      note("delete", kind, id);
      next.members.erase(id);
    }
    for (const auto& [id, row] : was) {
      const auto found = is.find(id);
      if (found == is.end()) {
        next.lost_tasks.erase(id);
        next.lost_projects.erase(id);
        create(kind, id, row.known);
        continue;
      }
      boost::json::object fields;
      for (const auto* member :
           {"title", "description", "status", "priority", "assigned_to", "project_id", "name", "role"})
        if (row.known.contains(member) && row.known.at(member) != found->second.known.at(member))
          fields[member] = row.known.at(member);
      if (!fields.empty()) edit(kind, id, fields);
    }
  }
}

// -- what several people change

void Commons::add(const std::string& kind, const std::string& id, bool passing) {
  const std::lock_guard lock(mutex_);
  (kind == "tasks" ? tasks_ : passing_).push_back(id);
  if (passing) ++bounds_[id].endings;
}

std::string Commons::any(const std::string& kind, std::uint64_t die) const {
  constexpr std::size_t newer = 60;
  const std::lock_guard lock(mutex_);
  const auto& them = kind == "tasks" ? tasks_ : passing_;
  return them.empty() ? std::string() : them[them.size() - 1 - die % std::min(them.size(), newer)];
}

Commons::Bound Commons::of(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = bounds_.find(id);
  return found == bounds_.end() ? Bound() : found->second;
}

std::map<std::string, Commons::Bound> Commons::newer() const {
  constexpr std::size_t newer = 300;
  const std::lock_guard lock(mutex_);
  std::map<std::string, Bound> found;
  for (const auto* ids : {&tasks_, &passing_, &lasting})
    for (auto id = ids->end() - static_cast<std::ptrdiff_t>(std::min(ids->size(), newer)); id != ids->end(); ++id)
      if (const auto bound = bounds_.find(*id); bound != bounds_.end()) found.insert(*bound);
  return found;
}

void Commons::seen(const std::string& id, std::int64_t version) {
  const std::lock_guard lock(mutex_);
  auto& least = bounds_[id].least;
  least = std::max(least, version);
}

unsigned Commons::ends(const std::string& id) {
  const std::lock_guard lock(mutex_);
  auto& bound = bounds_[id];
  ++bound.endings;
  return bound.revivals;
}

void Commons::ended(const std::string& id, unsigned revivals) {
  const std::lock_guard lock(mutex_);
  auto& bound = bounds_[id];
  if (bound.reviving == 0 && bound.revivals == revivals) bound.gone_at = revivals;
}

void Commons::revives(const std::string& id) {
  const std::lock_guard lock(mutex_);
  auto& bound = bounds_[id];
  ++bound.endings;  // what undoes may take away as well
  ++bound.revivals;
  ++bound.reviving;
}

void Commons::revived(const std::string& id) {
  const std::lock_guard lock(mutex_);
  --bounds_[id].reviving;
}

void Commons::did(Deed deed) {
  constexpr std::size_t kept = 30;
  const std::lock_guard lock(mutex_);
  deeds_.push_back(std::move(deed));
  if (deeds_.size() > kept) deeds_.erase(deeds_.begin());
}

Commons::Deed Commons::deed(std::uint64_t die) const {
  const std::lock_guard lock(mutex_);
  return deeds_.empty() ? Deed() : deeds_[die % deeds_.size()];
}

}  // namespace cairn::support
