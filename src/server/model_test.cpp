// What eight people do at once, on two servers that share a PostgreSQL and a Redis, while any of the four is killed or
// frozen at random, is compared with a model of it: what anybody is shown, what is counted, what the feed tells, what
// the record has and what it gives back of the past.
//   CAIRN_SEED=...       each person draws the same operations in the same order, and the blows are the same. When they
//                        fall, how the operations of several people fall between each other, and so what there is to
//                        operate on, is the machine's.
//   CAIRN_CAMPAIGN=1     a hundred thousand operations and a thousand lists, instead of some 1,500 and 32
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "support/cluster.hpp"
#include "support/events.hpp"
#include "support/model.hpp"
#include "support/record.hpp"
#include "support/redis.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace support;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr unsigned people = 8, extras = 4, watchers = 4;

struct Figures {
  std::atomic<std::uint64_t> operations{0}, acknowledged{0}, refused{0}, unanswered{0}, unanswered_done{0}, reads{0},
      kills{0}, freezes{0}, events{0}, cuts{0}, snapshots{0}, equal{0};
  std::atomic<unsigned> wrong{0};
};

constexpr std::array<const char*, 5> statuses{"todo", "in_progress", "review", "done", "cancelled"};
constexpr std::array<const char*, 4> priorities{"low", "medium", "high", "urgent"};

// -- asking

std::string name_of(const bj::key_value_pair& member) { return {member.key().data(), member.key().size()}; }
bool is_outage(unsigned status) { return status == 503 || status == 504; }

// One person's connections to both nodes.
class Asker {
 public:
  Asker(Cluster& cluster, std::string token, Figures& figures)
      : cluster_(cluster), token_(std::move(token)), figures_(figures) {}

  // One attempt. Throws Unreachable when it was not sent, std::runtime_error when there is no answer.
  Reply ask(unsigned node, std::string_view method, const std::string& path, std::string_view body,
            const std::vector<std::string>& extra) {
    auto& line = lines_[node];
    if (!line.client || line.life != cluster_.life(node)) {
      line.life = cluster_.life(node);
      line.client.emplace(cluster_.port(node), cluster_.contract());
      line.client->token = token_;
      line.client->sends_again = false;
    }
    return line.client->send(method, path, body, extra);
  }
  // Until there is an answer that is not about an outage, from one node or the other.
  Reply read(unsigned node, const std::string& path) {
    ++figures_.reads;
    for (const auto end = Clock::now() + 60s;; node = 1 - node) {
      try {
        auto reply = ask(node, "GET", path, {}, {});
        if (!is_outage(reply.status)) return reply;
      } catch (const std::runtime_error&) {}
      if (Clock::now() > end) throw std::runtime_error("nobody answers " + path);
      std::this_thread::sleep_for(5ms);
    }
  }
  std::vector<bj::value> all(unsigned node, const std::string& list) {
    std::vector<bj::value> rows;
    for (std::string cursor;;) {
      const auto joint = list.find('?') == std::string::npos ? "?" : "&";
      const auto reply = read(node, cursor.empty() ? list : fmt::format("{}{}cursor={}", list, joint, cursor));
      if (reply.status != 200) throw std::runtime_error(list + ": " + reply.body);
      const auto page = reply.json();
      for (const auto& row : page.at("data").as_array()) rows.push_back(row);
      if (page.at("next_cursor").is_null()) return rows;
      cursor = text_of(page, "next_cursor");
    }
  }
  const std::string& token() const { return token_; }

 private:
  struct Line {
    Line() = default;
    unsigned life = 0;
    std::optional<Client> client;
  };

  Cluster& cluster_;
  std::string token_;
  Figures& figures_;
  std::array<Line, Cluster::nodes> lines_;
};

// What came of a request in the end, answered or not.
struct Outcome {
  Outcome() = default;
  std::string request;
  bool done = false, exact = true;   // exact: `entries` are all that it has on the record
  std::vector<std::string> entries;  // sorted
};

// What a request without an answer has come to. Whatever was begun before has ended when this returns: a killed node's
// requests may still be with PostgreSQL, those of one that was frozen in its own hands.
std::vector<std::string> settle(Cluster& cluster, const std::string& organization, const std::string& request) {
  for (const auto end = Clock::now() + 90s;; std::this_thread::sleep_for(20ms)) {
    try {
      auto database = cluster.database();
      for (unsigned round = 0; round < 3; ++round) {
        const auto now = database.value("select clock_timestamp()");
        while (database.value("select count(*) from pg_stat_activity where backend_type = 'client backend' and "
                              "pid <> pg_backend_pid() and xact_start < '" +
                              now + "'") != "0") {
          if (Clock::now() > end) throw std::logic_error("a transaction does not end");
          std::this_thread::sleep_for(10ms);
        }
        std::this_thread::sleep_for(20ms);
      }
      std::vector<std::string> entries;
      for (const auto& row : database.rows(fmt::format(
               "select {} from audit_logs where organization_id = '{}' and metadata->>'request_id' = '{}' and "
               "metadata->>'outcome' is distinct from 'denied'",
               entry_in_sql, organization, request)))
        entries.push_back(row[0]);
      std::sort(entries.begin(), entries.end());
      return entries;
    } catch (const std::runtime_error&) {
      if (Clock::now() > end) throw;
    }
  }
}

// -- the people

struct Snapshot {
  Snapshot() = default;
  std::string path, token, rows;
};

std::string without_times(const bj::value& rows) {
  bj::array bare;
  for (auto row : rows.as_array()) {
    row.as_object().erase("updated_at");
    bare.push_back(std::move(row));
  }
  return bj::serialize(bare);
}

// An organization of one person's as others may look at it: while `changing` is odd something is under way.
struct Published {
  std::mutex mutex;
  std::uint64_t changing = 1;
  Model model;
};

struct Shared {
  explicit Shared(Cluster& the_cluster) : cluster(the_cluster) {}
  void wrong(const std::string& what) {
    if (++figures.wrong <= 20) ADD_FAILURE() << what;
  }
  bool stop() const { return figures.wrong > 0; }

  Cluster& cluster;
  Figures figures;
  Commons commons;
  std::array<Published, people> own;
  std::vector<std::string> extra_users;  // ids and addresses of people who do nothing
  std::atomic<bool> struck{false};       // each kind of blow has fallen
};

class Player {
 public:
  Player(Shared& shared, unsigned number, std::string token, std::string user, Model model, std::uint64_t seed,
         unsigned operations, unsigned lists)
      : all_(shared),
        number_(number),
        asker_(shared.cluster, std::move(token), shared.figures),
        user_(std::move(user)),
        model_(std::move(model)),
        random_(seed * 1000 + number),
        operations_(operations),
        snapshots_wanted_(lists) {
    publish();
  }

  void play() {
    try {
      for (count_ = 1; (count_ <= operations_ || !all_.struck) && !all_.stop(); ++count_) {
        Dice dice(random_);
        ++all_.figures.operations;
        request_ = fmt::format("model-{}-{:06}", number_, count_);
        if (dice.below(10) < 6)
          act(dice);
        else
          act_in_commons(dice);
        for (auto left = dice.below(3); left > 0; --left) look(dice);
        if (count_ * snapshots_wanted_ / operations_ > snapshots.size() && count_ <= operations_) remember(dice);
      }
    } catch (const std::exception& error) { all_.wrong(fmt::format("{}: {}", request_, error.what())); }
  }

  Asker& asker() { return asker_; }
  const Model& model() const { return model_; }
  std::vector<Outcome> outcomes;
  std::vector<Snapshot> snapshots;

 private:
  struct Plan {
    Plan() = default;
    std::string method, path, body, sql;  // sql instead of the others: what goes past the servers
    std::vector<std::string> headers;
    unsigned status = 200;
  };
  struct Answer {
    Answer() = default;
    std::optional<Reply> reply;        // none when it has to be looked up
    std::vector<std::string> entries;  // when it was
    bool done() const { return reply ? reply->status < 300 : !entries.empty(); }
    unsigned status() const { return reply ? reply->status : 0; }
  };

  // Sends it once, and finds out what has come of it.
  Answer perform(Plan plan, Dice& dice, const std::string& organization) {
    Answer answer;
    if (!plan.sql.empty()) return perform_directly(plan, organization);
    plan.headers.push_back("X-Request-Id: " + request_);
    auto node = static_cast<unsigned>(dice.below(2));
    for (const auto end = Clock::now() + 60s;; node = 1 - node) {
      try {
        answer.reply = asker_.ask(node, plan.method, plan.path, plan.body, plan.headers);
        break;
      } catch (const Unreachable&) {
        if (Clock::now() > end) throw;
        std::this_thread::sleep_for(5ms);
      } catch (const std::runtime_error&) { break; }
    }
    if (answer.reply && !is_outage(answer.reply->status)) {
      ++(answer.done() ? all_.figures.acknowledged : all_.figures.refused);
      return answer;
    }
    return look_up(organization);
  }
  Answer look_up(const std::string& organization) {
    Answer answer;
    answer.entries = settle(all_.cluster, organization, request_);
    ++all_.figures.unanswered;
    if (answer.done()) ++all_.figures.unanswered_done;
    return answer;
  }
  Answer perform_directly(const Plan& plan, const std::string& organization) {
    Answer answer;
    try {
      if (!direct_) direct_.emplace(all_.cluster.database());
      direct_->run(fmt::format("begin; select set_config('app.request_id', '{}', true)", request_));
      const auto rows = direct_->rows(plan.sql);
      direct_->run("commit");
      answer.reply.emplace();
      answer.reply->status = rows.empty() ? 404 : 200;
      answer.reply->body = rows.empty() ? "{}" : rows[0][0];
      ++(answer.done() ? all_.figures.acknowledged : all_.figures.refused);
      return answer;
    } catch (const std::runtime_error&) { direct_.reset(); }
    return look_up(organization);
  }

  void note(bool done, bool exact, std::vector<std::string> entries) {
    Outcome outcome;
    outcome.request = request_;
    outcome.done = done;
    outcome.exact = exact;
    outcome.entries = std::move(entries);
    std::sort(outcome.entries.begin(), outcome.entries.end());
    outcomes.push_back(std::move(outcome));
  }

  // -- in the person's own organization, where all is known

  void publish() {
    auto& published = all_.own[number_];
    const std::lock_guard lock(published.mutex);
    published.model = model_;
    ++published.changing;
  }
  void begin() {
    auto& published = all_.own[number_];
    const std::lock_guard lock(published.mutex);
    ++published.changing;
  }

  // `fresh` is the kind of what the request creates, `fields` what is known of it beforehand.
  void change(const Plan& plan, Dice& dice, Step step, const std::string& fresh = {}, bj::object fields = {}) {
    begin();
    const auto answer = perform(plan, dice, model_.id);
    if (!answer.reply && !answer.done()) {
      note(false, true, {});
      return publish();
    }
    if (answer.reply && answer.status() != plan.status) {
      all_.wrong(fmt::format("{} {} {} {}{}: {} instead of {}: {}", request_, plan.method, plan.path, plan.body,
                             plan.sql, answer.status(), plan.status, answer.reply->body));
      return publish();
    }
    if (!answer.done()) {
      note(false, true, {});
      return publish();
    }
    const bool has_row =
        answer.reply && answer.reply->body.starts_with('{') && answer.reply->json().as_object().contains("version");
    if (!fresh.empty()) {
      const auto id = has_row ? text_of(*answer.reply, fresh == "user_organizations" ? "user_id" : "id")
                      : fresh == "user_organizations"
                          ? text_of(fields, "user_id")
                          : answer.entries.front().substr(answer.entries.front().rfind(' ') + 1);
      fields["version"] = 1;
      if (fresh != "user_organizations") fields["id"] = id;
      step.create(fresh, id, std::move(fields));
    }
    if (has_row) {
      const auto row = answer.reply->json();
      const auto id = row.as_object().contains("id") ? text_of(row, "id") : text_of(row, "user_id");
      auto& known = step.next
                        .rows(row.as_object().contains("title")  ? "tasks"
                              : row.as_object().contains("name") ? "projects"
                                                                 : "user_organizations")
                        .at(id);
      if (const auto problem = difference(known.known, row); !problem.empty())
        all_.wrong(fmt::format("{} {} {}: {}", request_, plan.method, plan.path, problem));
      known.known = row.as_object();
    }
    if (answer.reply && plan.path.ends_with("/undo")) {
      const auto undone = answer.reply->json();
      if (text_of(undone, "conflict_count") != "0") all_.wrong(request_ + " " + plan.body + ": " + answer.reply->body);
    }
    std::sort(step.entries.begin(), step.entries.end());
    if (!answer.reply && answer.entries != step.entries)
      all_.wrong(fmt::format("{} {} {} {}, not answered, is on the record as\n{}\nand not as\n{}", request_,
                             plan.method, plan.path, plan.body, fmt::join(answer.entries, "\n"),
                             fmt::join(step.entries, "\n")));
    note(true, true, step.entries);
    before_ = std::exchange(model_, std::move(step.next));
    model_.forget();
    last_ = request_;
    last_entries_ = std::move(step.entries);
    publish();
  }

  static std::string difference(const bj::object& known, const bj::value& shown) {
    for (const auto& field : known) {
      const auto* found = shown.as_object().if_contains(field.key());
      if (!found || *found != field.value())
        return fmt::format("{} is {} and not {}, as in {}", name_of(field), found ? bj::serialize(*found) : "missing",
                           bj::serialize(field.value()), bj::serialize(known));
    }
    return {};
  }

  static std::string tag(std::int64_t version) { return fmt::format("If-Match: \"{}\"", version); }

  std::string any_assignee(Dice& dice) const {
    std::vector<std::string> there;
    for (std::size_t i = 0; i < all_.extra_users.size(); i += 2)
      if (model_.members.contains(all_.extra_users[i])) there.push_back(all_.extra_users[i]);
    return there.empty() ? user_ : dice.of(there);
  }

  void act(Dice& dice) {
    auto die = dice.below(100);
    Step next(model_, request_);
    Plan plan;
    if (model_.projects.empty() || (die >= 90 && die < 93 && model_.projects.size() < 5)) {
      plan.method = "POST";
      plan.path = "/organizations/" + model_.id + "/projects";
      plan.status = 201;
      bj::object fields{{"name", "Project " + request_}, {"description", nullptr}, {"status", "active"}};
      plan.body = bj::serialize(fields);
      return change(plan, dice, std::move(next), "projects", fields);
    }
    const auto& [project, project_row] = dice.of(model_.projects);
    if (die >= 93 && die < 96) {
      plan.method = "PATCH";
      plan.path = "/projects/" + project;
      const bj::object fields{{"name", "Renamed by " + request_}};
      plan.body = bj::serialize(fields);
      if (dice.one_in(2)) plan.headers.push_back(tag(project_row.version()));
      next.edit("projects", project, fields);
      return change(plan, dice, std::move(next));
    }
    if (die >= 96) {
      if (model_.projects.size() < 2 && dice.below(3) > 0) return undo(dice);
      plan.method = "DELETE";
      plan.path = "/projects/" + project;
      plan.status = 204;
      next.remove_project(project);
      return change(plan, dice, std::move(next));
    }
    if (die >= 80 && die < 90) return change_members(dice);
    if (die >= 68 && die < 80) return dice.one_in(2) ? undo(dice) : restore(dice);
    if (model_.tasks.size() > 40) die = 60;
    if (model_.tasks.size() < 3 || die < 20) {
      plan.method = "POST";
      plan.path = "/projects/" + project + "/tasks";
      plan.status = 201;
      bj::object fields{
          {"title", "Task " + request_},     {"status", dice.of(statuses)},
          {"priority", dice.of(priorities)}, {"estimated_hours", static_cast<std::int64_t>(dice.below(20))},
          {"description", nullptr},          {"assigned_to", nullptr}};
      if (dice.one_in(3)) fields["assigned_to"] = any_assignee(dice);
      plan.body = bj::serialize(fields);
      fields["project_id"] = project;
      return change(plan, dice, std::move(next), "tasks", fields);
    }
    const auto& [task, row] = dice.of(model_.tasks);
    plan.method = "PATCH";
    plan.path = "/tasks/" + task;
    if (die >= 58) {
      plan.method = "DELETE";
      plan.status = 204;
      if (dice.one_in(2)) plan.headers.push_back(tag(row.version()));
      next.remove_task(task);
      return change(plan, dice, std::move(next));
    }
    if (die >= 50) {
      const auto to = dice.of(model_.projects).first;
      if (to == row.text("project_id")) return look(dice);
      plan.sql = fmt::format("update tasks set project_id = '{}' where id = '{}' returning 'moved'", to, task);
      next.edit("tasks", task, {{"project_id", to}});
      return change(plan, dice, std::move(next));
    }
    bj::object fields;
    if (die < 34) fields = {{"title", "Edited by " + request_}, {"description", request_}};
    if (die >= 34 && die < 42) {
      const bj::value whom = dice.one_in(3) ? bj::value(nullptr) : bj::value(any_assignee(dice));
      fields["assigned_to"] = whom;
      if (whom == row.known.at("assigned_to")) fields["description"] = request_;
    }
    if (die >= 42) {
      const auto* status = dice.of(statuses);
      fields["status"] = status;
      if (fields["status"] == row.known.at("status")) fields["description"] = request_;
    }
    plan.body = bj::serialize(fields);
    const auto match = dice.below(4);
    if (match == 0 && row.version() > 1) {
      plan.headers.push_back(tag(row.version() - 1));
      plan.status = 412;
      return change(plan, dice, std::move(next));
    }
    if (match == 1) plan.headers.push_back(tag(row.version()));
    next.edit("tasks", task, fields);
    change(plan, dice, std::move(next));
  }

  void change_members(Dice& dice) {
    const auto which = dice.below(all_.extra_users.size() / 2) * 2;
    const auto &user = all_.extra_users[which], &email = all_.extra_users[which + 1];
    const auto members = "/organizations/" + model_.id + "/members";
    Plan plan;
    Step next(model_, request_);
    const auto found = model_.members.find(user);
    if (found == model_.members.end()) {
      plan.method = "POST";
      plan.path = members;
      plan.status = 201;
      const auto* role = dice.one_in(2) ? "member" : "manager";
      plan.body = bj::serialize(bj::object{{"email", email}, {"role", role}});
      return change(plan, dice, std::move(next), "user_organizations", {{"user_id", user}, {"role", role}});
    }
    plan.path = members + "/" + user;
    if (dice.one_in(2)) {
      plan.method = "DELETE";
      plan.status = 204;
      next.remove_member(user);
      return change(plan, dice, std::move(next));
    }
    plan.method = "PATCH";
    const bj::object fields{{"role", found->second.text("role") == "member" ? "manager" : "member"}};
    plan.body = bj::serialize(fields);
    if (dice.one_in(2)) plan.headers.push_back(tag(found->second.version()));
    next.edit("user_organizations", user, fields);
    change(plan, dice, std::move(next));
  }

  void restore(Dice& dice) {
    std::vector<std::string> tasks;
    for (const auto& [id, row] : model_.lost_tasks)
      if (model_.projects.contains(row.text("project_id"))) tasks.push_back(id);
    Plan plan;
    Step next(model_, request_);
    std::string id;
    if (!model_.lost_projects.empty() && (tasks.empty() || dice.one_in(4))) {
      id = dice.of(model_.lost_projects).first;
      next.restore_project(id);
    } else if (!tasks.empty()) {
      id = dice.of(tasks);
      next.restore_task(id);
    } else {
      return look(dice);
    }
    plan.method = "POST";
    plan.path = "/organizations/" + model_.id + "/trash/" + id + "/restore";
    change(plan, dice, std::move(next));
  }

  void undo(Dice& dice) {
    if (last_.empty()) return look(dice);
    Plan plan;
    plan.method = "POST";
    plan.path = "/organizations/" + model_.id + "/undo";
    plan.body = fmt::format(R"({{"request":"{}"}})", last_);
    // One change is all that some requests made.
    if (last_entries_.size() == 1 && last_entries_[0].find(" tasks ") != std::string::npos && dice.one_in(2)) {
      const auto task = last_entries_[0].substr(last_entries_[0].rfind(' ') + 1);
      const auto entry = newest_entry(dice, task);
      if (text_of(entry, "request_id") != last_)
        all_.wrong(
            fmt::format("the newest change of {} is of {} and not of {}", task, text_of(entry, "request_id"), last_));
      plan.body = fmt::format(R"({{"change":"{}"}})", text_of(entry, "id"));
    }
    Step next(model_, request_);
    next.undo(before_);
    change(plan, dice, std::move(next));
  }
  bj::value newest_entry(Dice& dice, const std::string& task) {
    const auto reply = asker_.read(static_cast<unsigned>(dice.below(2)), "/tasks/" + task + "/history?limit=1");
    if (reply.status != 200) throw std::runtime_error("no history of " + task + ": " + reply.body);
    return reply.json().at("data").at(0);
  }

  // -- in the organization that is everybody's

  void act_in_commons(Dice& dice) {
    auto& commons = all_.commons;
    const auto die = dice.below(100);
    const auto root = "/organizations/" + commons.organization;
    Plan plan;
    const auto& lasting = dice.of(commons.lasting);
    const auto task = commons.any("tasks", dice.next()), passing = commons.any("projects", dice.next());
    if (die < 18 || task.empty()) {
      const bool there = die % 6 == 0 && !passing.empty();
      plan.method = "POST";
      plan.path = "/projects/" + (there ? passing : lasting) + "/tasks";
      plan.body = bj::serialize(bj::object{{"title", "Task " + request_}, {"status", dice.of(statuses)}});
      const auto answer = share(plan, dice, {201, there ? 404u : 201u}, "create tasks");
      if (const auto id = made(answer); !id.empty()) {
        commons.add("tasks", id, there);
        commons.seen(id, 1);
        remember_deed({id});
      }
      return;
    }
    if (die < 55) {
      plan.method = "PATCH";
      plan.path = "/tasks/" + task;
      bj::object fields{{"description", request_}};
      if (die >= 35) fields["status"] = dice.of(statuses);
      if (die >= 46) fields["assigned_to"] = all_.extra_users[dice.below(all_.extra_users.size() / 2) * 2];
      plan.body = bj::serialize(fields);
      const auto bound = commons.of(task);
      if (die < 26) plan.headers.push_back(tag(std::max<std::int64_t>(bound.least, 1)));
      const auto answer =
          share(plan, dice, {200, 404, 409, die < 26 ? 412u : 200u, die >= 46 ? 422u : 200u}, "update tasks " + task);
      check_found(task, bound, answer);
      if (answer.done()) remember_deed({task});
      return;
    }
    if (die < 62) {
      plan.method = "DELETE";
      plan.path = "/tasks/" + task;
      const auto revivals = commons.ends(task);
      const auto answer = share(plan, dice, {204, 404, 409}, "delete tasks " + task);
      if (answer.done()) {
        commons.ended(task, revivals);
        remember_deed({task});
      }
      return;
    }
    if (die < 68) {
      const bool is_task = die < 66 || passing.empty();
      const auto& id = is_task ? task : passing;
      plan.method = "POST";
      plan.path = root + "/trash/" + id + "/restore";
      commons.revives(id);
      share(plan, dice, {200, 404, 409}, {});
      commons.revived(id);
      return;
    }
    if (die < 78) {
      const auto deed = commons.deed(dice.next());
      if (deed.request.empty()) return look(dice);
      plan.method = "POST";
      plan.path = root + "/undo";
      plan.body = fmt::format(R"({{"request":"{}","force":{}}})", deed.request, dice.one_in(3));
      for (const auto& id : deed.ids) commons.revives(id);
      const auto answer = share(plan, dice, {200, 404, 409}, {});
      for (const auto& id : deed.ids) commons.revived(id);
      if (answer.done()) remember_deed(deed.ids);
      return;
    }
    if (die < 86) {
      const auto which = dice.below(all_.extra_users.size() / 2) * 2;
      const auto &user = all_.extra_users[which], &email = all_.extra_users[which + 1];
      plan.path = root + "/members/" + user;
      switch (dice.below(3)) {
        case 0:
          plan.method = "POST";
          plan.path = root + "/members";
          plan.body = bj::serialize(bj::object{{"email", email}});
          share(plan, dice, {201, 409}, "create user_organizations");
          return;
        case 1:
          plan.method = "PATCH";
          plan.body = bj::serialize(bj::object{{"role", dice.one_in(2) ? "member" : "manager"}});
          share(plan, dice, {200, 404, 409}, {});  // it may have the role
          return;
        default:
          plan.method = "DELETE";
          share(plan, dice, {204, 404, 409}, "delete user_organizations");
          return;
      }
    }
    if (die < 92) {
      plan.sql = fmt::format(
          "update tasks set project_id = '{}' where id = '{}' and project_id <> '{}' and project_id in ('{}') "
          "returning version",
          lasting, task, lasting, fmt::join(commons.lasting, "','"));
      const auto answer = share(plan, dice, {200, 404}, "update tasks " + task);
      if (answer.done() && answer.reply) commons.seen(task, std::stoll(answer.reply->body));
      return;
    }
    if (die < 95 || passing.empty()) {
      plan.method = "POST";
      plan.path = root + "/projects";
      plan.body = bj::serialize(bj::object{{"name", "Project " + request_}});
      const auto answer = share(plan, dice, {201}, "create projects");
      if (const auto id = made(answer); !id.empty()) commons.add("projects", id, true);
      return;
    }
    plan.path = "/projects/" + (die < 98 ? passing : die == 98 ? lasting : passing);
    if (die < 99) {
      plan.method = "PATCH";
      plan.body = bj::serialize(bj::object{{"description", request_}});
      const auto id = plan.path.substr(10);
      const auto bound = commons.of(id);
      check_found(id, bound, share(plan, dice, {200, 409, die == 98 ? 200u : 404u}, "update projects " + id));
      return;
    }
    plan.method = "DELETE";
    commons.ends(passing);
    share(plan, dice, {204, 404, 409}, {});
  }

  // `entry` is all that it has on the record, when that is known.
  Answer share(const Plan& plan, Dice& dice, std::set<unsigned> statuses_allowed, const std::string& entry) {
    auto answer = perform(plan, dice, all_.commons.organization);
    if (answer.reply && !statuses_allowed.contains(answer.status()))
      all_.wrong(fmt::format("{} {} {} {}{}: {} {}", request_, plan.method, plan.path, plan.body, plan.sql,
                             answer.status(), answer.reply->body));
    std::vector<std::string> entries = answer.entries;
    if (answer.done() && answer.reply && !entry.empty()) {
      entries = {entry.starts_with("create ") && !entry.ends_with("user_organizations") ? entry + " " + made(answer)
                                                                                        : entry};
      if (entry.ends_with("user_organizations")) entries.front() += " ";
    }
    // A member's tasks are nobody's when they go.
    const bool exact = !answer.done() || !answer.reply || (!entry.empty() && !entry.starts_with("delete user"));
    note(answer.done(), exact, std::move(entries));
    return answer;
  }
  std::string made(const Answer& answer) const {
    if (!answer.done()) return {};
    if (answer.reply)
      return answer.reply->body.find("\"id\":") == std::string::npos ? "" : text_of(*answer.reply, "id");
    return answer.entries.front().substr(answer.entries.front().rfind(' ') + 1);
  }
  void remember_deed(std::vector<std::string> ids) {
    Commons::Deed deed;
    deed.request = request_;
    deed.ids = std::move(ids);
    all_.commons.did(std::move(deed));
  }

  // What is shown, or said to be gone, after `before` was known.
  void check_found(const std::string& id, const Commons::Bound& before, const Answer& answer) {
    if (!answer.reply) return;
    const auto after = all_.commons.of(id);
    const bool gone = before.gone_at && after.gone_at == before.gone_at && after.revivals == *before.gone_at;
    if (answer.status() == 200) {
      const auto version = answer.reply->json().at("version").as_int64();
      if (version < before.least)
        all_.wrong(fmt::format("{}: {} is shown at version {}, after {}", request_, id, version, before.least));
      if (gone) all_.wrong(fmt::format("{}: {} was deleted and is shown", request_, id));
      all_.commons.seen(id, version);
    }
    if (answer.status() == 404 && after.endings == 0) all_.wrong(fmt::format("{}: {} is not shown", request_, id));
  }

  // -- looking

  void look(Dice& dice) {
    const auto node = static_cast<unsigned>(dice.below(2));
    const auto die = dice.below(10);
    if (die < 5) {
      if (const auto problem = disagreement(asker_, node, dice, model_, true); !problem.empty())
        all_.wrong(fmt::format("after {} on node {}: {}", request_, node, problem));
      return;
    }
    if (die < 8) return look_at_others(node, dice);
    const auto id = dice.one_in(4) ? dice.of(all_.commons.lasting) : all_.commons.any("tasks", dice.next());
    if (id.empty()) return;
    const auto bound = all_.commons.of(id);
    const auto lasting =
        std::find(all_.commons.lasting.begin(), all_.commons.lasting.end(), id) != all_.commons.lasting.end();
    if (!lasting && dice.one_in(3)) return look_at_list(node, dice);
    Answer answer;
    answer.reply = asker_.read(node, (lasting ? "/projects/" : "/tasks/") + id);
    check_found(id, bound, answer);
  }
  void look_at_list(unsigned node, Dice& dice) {
    const auto bounds = all_.commons.newer();
    const auto path = dice.one_in(2) ? "/organizations/" + all_.commons.organization + "/tasks?limit=100"
                                     : "/organizations/" + all_.commons.organization + "/projects?limit=100";
    const auto page = asker_.read(node, path + "&sort=-created_at").json();
    for (const auto& row : page.at("data").as_array()) {
      const auto id = text_of(row, "id");
      const auto found = bounds.find(id);
      if (found == bounds.end()) continue;
      Answer one;
      one.reply.emplace();
      one.reply->status = 200;
      one.reply->body = bj::serialize(row);
      check_found(id, found->second, one);
    }
  }
  // Somebody else's organization: exactly as published, if nothing was under way meanwhile.
  void look_at_others(unsigned node, Dice& dice) {
    auto& published = all_.own[dice.below(people)];
    Model model;
    std::uint64_t changing = 0;
    {
      const std::lock_guard lock(published.mutex);
      model = published.model;
      changing = published.changing;
    }
    const auto whole = dice.one_in(2);
    std::string problem;
    if (changing % 2 == 0 && whole) {
      try {
        problem = disagreement(asker_, node, dice, model, false);
      } catch (const std::runtime_error& error) { problem = error.what(); }
    } else if (!model.tasks.empty()) {
      const auto& [id, row] = dice.of(model.tasks);
      const auto reply = asker_.read(node, "/tasks/" + id);
      if (reply.status == 200 && reply.json().at("version").as_int64() < row.version())
        all_.wrong(fmt::format("{} looks on node {}: {} is shown at version {}, after {}", request_, node, id,
                               reply.json().at("version").as_int64(), row.version()));
      if (changing % 2 == 0) problem = reply.status == 200 ? difference(row.known, reply.json()) : reply.body;
    }
    const std::lock_guard lock(published.mutex);
    if (published.changing == changing && !problem.empty())
      all_.wrong(fmt::format("{} looks on node {}: {}", request_, node, problem));
  }

  static std::string compare(const Rows& rows, const std::vector<bj::value>& shown, const char* id,
                             const std::string& what) {
    std::set<std::string> ids;
    for (const auto& row : shown) {
      const auto found = rows.find(text_of(row, id));
      if (found == rows.end()) return what + " has " + bj::serialize(row);
      if (!ids.insert(found->first).second) return what + " has twice " + bj::serialize(row);
      if (auto problem = difference(found->second.known, row); !problem.empty())
        return fmt::format("{}: {}", what, problem);
    }
    for (const auto& [key, row] : rows)
      if (!ids.contains(key)) return what + " lacks " + bj::serialize(row.known);
    return {};
  }

 public:
  // Where what a node shows of an organization is not as it is; something chosen by the dice.
  static std::string disagreement(Asker& asker, unsigned node, Dice& dice, const Model& model, bool as_owner) {
    const auto root = "/organizations/" + model.id;
    const auto die = dice.below(as_owner ? 10 : 9);
    if (die == 0)
      return compare(model.members, asker.all(node, root + "/members?limit=5"), "user_id", "the list of members");
    if (die == 1)
      return compare(model.projects, asker.all(node, root + "/projects?limit=3"), "id", "the list of projects");
    if (die == 2)
      return compare(model.tasks, asker.all(node, root + "/tasks?limit=20&sort=created_at"), "id", "the list of tasks");
    if (die == 3) {
      const auto reply = asker.read(node, root + "/counts");
      if (reply.status != 200) return reply.body;
      const bj::object known{{"members", static_cast<std::int64_t>(model.members.size())},
                             {"owners", counted(model.members, "role", "owner")},
                             {"admins", counted(model.members, "role", "admin")},
                             {"managers", counted(model.members, "role", "manager")}};
      return difference(known, reply.json());
    }
    if (die == 4 && !model.lost_tasks.empty()) {
      const auto& id = dice.of(model.lost_tasks).first;
      const auto reply = asker.read(node, "/tasks/" + id);
      return reply.status == 404 ? "" : "deleted, and shown: " + reply.body;
    }
    if (model.projects.empty()) return {};
    const auto& [project, row] = dice.of(model.projects);
    auto tasks = model.tasks_of(project);
    if (die == 5) {
      const auto reply = asker.read(node, "/projects/" + project);
      return reply.status == 200 ? difference(row.known, reply.json()) : reply.body;
    }
    if (die == 6) {
      const auto status = std::string(dice.of(statuses));
      std::erase_if(tasks, [&](const auto& task) { return task.second.text("status") != status; });
      return compare(tasks, asker.all(node, "/projects/" + project + "/tasks?limit=10&status=" + status), "id",
                     "the list of tasks " + status);
    }
    if (die < 9) return numbers_differ(asker, node, project, tasks, die == 7);
    if (model.tasks.empty()) return {};
    const auto& [task, last] = dice.of(model.tasks);
    const auto reply = asker.read(node, "/tasks/" + task + "/history?limit=1");
    if (reply.status != 200) return reply.body;
    const auto newest = reply.json().at("data").at(0);
    return text_of(newest, "request_id") == last.request
               ? ""
               : fmt::format("the newest change of {} is of {} and not of {}", task, text_of(newest, "request_id"),
                             last.request);
  }
  static std::string numbers_differ(Asker& asker, unsigned node, const std::string& project, const Rows& tasks,
                                    bool all) {
    const auto reply = asker.read(node, "/projects/" + project + (all ? "/stats" : "/counts"));
    if (reply.status != 200) return reply.body;
    bj::object known{{"total", static_cast<std::int64_t>(tasks.size())}};
    for (const auto* status : statuses) known[status] = counted(tasks, "status", status);
    if (all) {
      for (const auto* priority : priorities) known[priority] = counted(tasks, "priority", priority);
      std::int64_t hours = 0;
      for (const auto& task : tasks) hours += task.second.known.at("estimated_hours").as_int64();
      known["estimated_hours"] = hours;
    }
    const auto problem = difference(known, reply.json());
    return problem.empty() ? "" : "the numbers of " + project + ": " + problem;
  }

 private:
  static std::int64_t counted(const Rows& rows, std::string_view member, std::string_view value) {
    return std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return row.second.text(member) == value; });
  }

  // A list, to be compared at the end with what it is said to have been.
  void remember(Dice& dice) {
    const auto node = static_cast<unsigned>(dice.below(2));
    Snapshot shot;
    const auto common = dice.one_in(5);
    const auto root = "/organizations/" + (common ? all_.commons.organization : model_.id);
    switch (dice.below(5)) {
      case 0: shot.path = root + "/projects?limit=50"; break;
      case 1: shot.path = root + "/members?limit=50"; break;
      case 2: shot.path = root + "/tasks?limit=50&sort=created_at&status=todo,done"; break;
      default: shot.path = root + "/tasks?limit=50&sort=-created_at";
    }
    if (!common && !model_.projects.empty() && dice.one_in(3))
      shot.path = "/projects/" + dice.of(model_.projects).first + "/tasks?limit=50";
    const auto then = asker_.read(node, shot.path + "&as_of=now");
    if (then.status != 200) throw std::runtime_error(shot.path + ": " + then.body);
    shot.token = then.header("as-of");
    shot.rows = without_times(then.json().at("data"));
    // Nobody else changes it meanwhile: it is what the list is.
    if (!common && without_times(asker_.read(1 - node, shot.path).json().at("data")) != shot.rows)
      all_.wrong(request_ + ": as_of=now differs from " + shot.path);
    snapshots.push_back(std::move(shot));
    ++all_.figures.snapshots;
  }

  Shared& all_;
  unsigned number_;
  Asker asker_;
  std::string user_;
  Model model_, before_;
  std::string last_;  // the last request that changed something here
  std::vector<std::string> last_entries_;
  std::mt19937_64 random_;
  unsigned operations_, snapshots_wanted_, count_ = 0;
  std::string request_;
  std::optional<Database> direct_;
};

// -- the readers of the feed

// Reads an organization's changes from the first one on, by many connections, and folds them.
class Watcher {
 public:
  Watcher(Shared& shared, std::string organization, std::string token, std::uint64_t seed)
      : all_(shared), organization_(std::move(organization)), token_(std::move(token)), random_(seed), thread_([this] {
          watch();
        }) {}
  ~Watcher() {
    give_up();
    join();
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  static std::string end_of(const std::string& organization) { return "model-end-" + organization.substr(0, 36); }
  void give_up() { over_ = true; }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  void check(Database& database) {
    std::vector<std::string> record;
    for (const auto& row :
         database.rows("select id from audit_logs where organization_id = '" + organization_ + "' order by xid, seq"))
      record.push_back(row[0]);
    std::size_t at = 0;
    while (at < std::min(record.size(), seen_.size()) && record[at] == seen_[at]) ++at;
    if (seen_ != record)
      all_.wrong(fmt::format("a reader of {} has {} events, the record {} entries; the first {} agree", organization_,
                             seen_.size(), record.size(), at));
    for (const std::string table : {"organizations", "user_organizations", "projects", "project_members", "tasks"}) {
      std::map<std::string, bj::object> known, there;
      for (const auto& [key, row] : folded_)
        if (key.first == table && row.created > row.deleted)
          for (const auto& [name, field] : row.fields)
            if (field.first > row.deleted) known[key.second][name] = field.second;
      for (const auto& row :
           database.rows(fmt::format("select id, to_jsonb(t) from {} t where {} = '{}'", table,
                                     table == "organizations" ? "id" : "organization_id", organization_)))
        there[row[0]] = bj::parse(row[1]).as_object();
      for (auto* side : {&known, &there})
        for (auto& [id, object] : *side) object.erase("updated_at");
      if (known == there) continue;
      for (const auto& [id, object] : there)
        if (known[id] != object)
          all_.wrong(fmt::format("a reader knows {} {} as {} and not as {}", table, id, bj::serialize(known[id]),
                                 bj::serialize(object)));
      for (const auto& [id, object] : known)
        if (!there.contains(id)) all_.wrong(fmt::format("a reader knows {} {}, which is gone", table, id));
    }
  }

 private:
  struct Folded {
    Folded() = default;
    std::int64_t created = 0, deleted = 0;
    std::map<std::string, std::pair<std::int64_t, bj::value>> fields;
  };

  void watch() {
    for (std::string last = "0-0"; !over_;) {
      try {
        EventStream stream(all_.cluster.port(static_cast<unsigned>(random_() % 2)),
                           "/organizations/" + organization_ + "/events", token_, last);
        ++all_.figures.cuts;
        for (auto left = 1 + random_() % 60; left > 0 && !over_; --left) {
          const auto event = stream.next("change");
          if (!event) break;
          last = event->id;
          fold(*event);
        }
      } catch (const std::exception&) { std::this_thread::sleep_for(10ms); }
    }
  }
  void fold(const EventStream::Event& event) {
    ++all_.figures.events;
    const auto data = bj::parse(event.data);
    seen_.push_back(text_of(data, "id"));
    const auto number = std::stoll(event.id.substr(event.id.find('-') + 1), nullptr, 16);
    auto& row = folded_[{text_of(data, "entity_type"), text_of(data, "entity_id")}];
    const auto action = text_of(data, "action");
    if (action == "create") row.created = std::max<std::int64_t>(row.created, number);
    if (action == "delete") row.deleted = std::max<std::int64_t>(row.deleted, number);
    if (const auto* changed = data.at("new_values").if_object())
      for (const auto& member : *changed)
        if (auto& field = row.fields[name_of(member)]; number > field.first) field = {number, member.value()};
    if (text_of(data, "request_id") == end_of(organization_)) over_ = true;
  }

  Shared& all_;
  std::string organization_, token_;
  std::mt19937_64 random_;
  std::atomic<bool> over_{false};
  std::vector<std::string> seen_;
  std::map<std::pair<std::string, std::string>, Folded> folded_;
  std::thread thread_;
};

// -- the story

class Story {
 public:
  Story(Cluster& cluster, std::uint64_t seed, bool long_form)
      : shared_(cluster), cluster_(cluster), seed_(seed), long_(long_form), random_(seed) {}

  void tell() {
    const auto begun = Clock::now();
    set_up();
    const auto set_up_at = Clock::now();
    std::atomic<unsigned> playing{people};
    std::vector<std::thread> threads;
    for (auto& player : players_)
      threads.emplace_back([&] {
        player->play();
        --playing;
      });
    try {
      strike_while([&] { return playing > 0; });
    } catch (const std::exception& error) {
      shared_.wrong(error.what());
      shared_.struck = true;
    }
    for (auto& thread : threads) thread.join();
    const auto played_at = Clock::now();
    try {
      if (!shared_.stop()) check();
    } catch (const std::exception& error) { shared_.wrong(error.what()); }
    for (auto& watcher : watchers_) watcher->give_up();
    if (shared_.stop()) {
      for (unsigned node = 0; node < Cluster::nodes; ++node) fmt::print("node {}:\n{}\n", node, cluster_.log(node));
      fmt::print("PostgreSQL:\n{}\n", cluster_.postgres_log());
    }
    const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
    const auto& f = shared_.figures;
    fmt::print(
        "seed {}: {} operations in {:.1f} s: {} acknowledged, {} refused, {} without an answer ({} of them done); {} "
        "reads; {} kills, "
        "{} freezes; {} feed events over {} connections; {} of {} lists as they were; set-up {:.1f} s, checks {:.1f} "
        "s\n",
        seed_, f.operations.load(), seconds(played_at - set_up_at), f.acknowledged.load(), f.refused.load(),
        f.unanswered.load(), f.unanswered_done.load(), f.reads.load(), f.kills.load(), f.freezes.load(),
        f.events.load(), f.cuts.load(), f.equal.load(), f.snapshots.load(), seconds(set_up_at - begun),
        seconds(Clock::now() - played_at));
  }

 private:
  std::unique_ptr<Client> person(const std::string& name, std::string* user = nullptr) {
    auto client = std::make_unique<Client>(cluster_.port(0), cluster_.contract());
    const auto id = made(
        client->post("/accounts", fmt::format(R"({{"email":"{}","password":"{}","first_name":"{}","last_name":"E"}})",
                                              Stack::email(name), Stack::password, name)));
    if (user) *user = id;
    client->token = made(client->post("/sessions", fmt::format(R"({{"email":"{}","password":"{}"}})",
                                                               Stack::email(name), Stack::password)),
                         "token");
    return client;
  }

  void set_up() {
    boss_ = person("boss");
    auto& commons = shared_.commons;
    commons.organization = make_organization(*boss_, "commons");
    for (unsigned i = 0; i < 3; ++i) {
      commons.lasting.push_back(
          make_project(*boss_, commons.organization, "organization", fmt::format("Lasting {}", i)));
      commons.seen(commons.lasting.back(), 1);
    }
    for (unsigned i = 0; i < extras; ++i) {
      std::string id;
      person(fmt::format("extra{}", i), &id);
      shared_.extra_users.push_back(id);
      shared_.extra_users.push_back(Stack::email(fmt::format("extra{}", i)));
    }
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<std::string> users(people);
    const auto add = [](Client& by, const std::string& organization, const std::string& name, std::string_view role) {
      made(by.post("/organizations/" + organization + "/members",
                   fmt::format(R"({{"email":"{}","role":"{}"}})", Stack::email(name), role)),
           "user_id");
    };
    for (unsigned i = 0; i < people; ++i) {
      clients.push_back(person(fmt::format("player{}", i), &users[i]));
      add(*boss_, commons.organization, fmt::format("player{}", i), "admin");
    }
    for (unsigned i = 0; i < people; ++i) {
      Model model;
      model.id = make_organization(*clients[i], fmt::format("own-{}", i));
      for (unsigned other = 0; other < people; ++other)
        if (other != i) add(*clients[i], model.id, fmt::format("player{}", other), "member");
      for (const auto& row : clients[i]->all("/organizations/" + model.id + "/members"))
        model.members[text_of(row, "user_id")] = Row(row.as_object());
      players_.push_back(std::make_unique<Player>(shared_, i, clients[i]->token, users[i], model, seed_,
                                                  (long_ ? 100'000 : 1'520) / people, (long_ ? 1000 : 32) / people));
    }
    for (unsigned i = 0; i < watchers; ++i) {
      const bool common = i < 2;
      watchers_.push_back(std::make_unique<Watcher>(shared_, common ? commons.organization : players_[i]->model().id,
                                                    common ? boss_->token : clients[i]->token, seed_ + i));
    }
  }

  void pause(unsigned least, unsigned most) {
    std::this_thread::sleep_for(std::chrono::milliseconds(least + random_() % (most - least)));
  }

  // Blow after blow, each kind before any comes twice; half of the freezes of a second kind hold through another blow.
  template<class Condition>
  void strike_while(Condition going_on) {
    std::vector<unsigned> deck;
    while (going_on()) {
      if (shared_.stop()) return;
      if (deck.empty()) {
        deck = {0, 1, 2, 3, 4, 5, 6};
        std::shuffle(deck.begin(), deck.end(), random_);
      }
      pause(50, long_ || shared_.struck ? 1500 : 250);
      strike(deck.back(), true);
      deck.pop_back();
      if (deck.empty()) shared_.struck = true;
    }
    for (unsigned node = 0; node < Cluster::nodes; ++node) cluster_.expect_alive(node);
  }
  void hold() {
    // Beyond the deadline of a statement, sometimes.
    if (long_ && random_() % 12 == 0)
      pause(5500, 7000);
    else
      pause(50, 500);
  }
  void strike(unsigned kind, bool may_double) {
    const auto node = static_cast<unsigned>(random_() % 2);
    const auto meanwhile = [&](std::initializer_list<unsigned> others) {
      if (may_double && random_() % 3 == 0)
        strike(*std::next(others.begin(), static_cast<std::ptrdiff_t>(random_() % others.size())), false);
      hold();
    };
    switch (kind) {
      case 0:
        if (random_() % 4 == 0)
          cluster_.stop(node);
        else
          cluster_.kill(node);
        ++shared_.figures.kills;
        cluster_.start(node);
        break;
      case 1: {
        cluster_.freeze(node);
        meanwhile({2, 4, 6});
        cluster_.thaw(node);
        ++shared_.figures.freezes;
        break;
      }
      case 2:
        cluster_.kill_postgres(random_() % 3 == 0);
        ++shared_.figures.kills;
        break;
      case 3: {
        const auto frozen = cluster_.freeze_postgres();
        meanwhile({4, 6});
        Cluster::thaw(frozen);
        ++shared_.figures.freezes;
        break;
      }
      case 4:
        cluster_.kill_redis();
        ++shared_.figures.kills;
        break;
      case 5: {
        const auto frozen = cluster_.freeze_redis();
        meanwhile({0, 2});
        Cluster::thaw(frozen);
        ++shared_.figures.freezes;
        break;
      }
      default: support::redis({"FLUSHALL"}, cluster_.endpoints().redis_socket);
    }
  }

  void check() {
    auto database = cluster_.database();
    check_models(database);
    check_feeds(database);
    check_entries(database);
    check_snapshots();
    for (const auto& problem : record_problems(database)) shared_.wrong(problem);
    const auto found = audit::verify(cluster_.endpoints().owner_url, cluster_.keys());
    for (const auto& problem : found.problems) shared_.wrong(problem);
    for (const auto& problem : redis_key_problems(cluster_.endpoints().redis_socket)) shared_.wrong(problem);
  }

  // Everything as the model has it, on both nodes and in the tables; and all that is counted, too.
  void check_models(Database& database) {
    for (auto& player : players_) {
      auto model = player->model();
      for (const auto* table : {"tasks", "projects"}) {
        std::map<std::string, std::string> known, there;
        for (const auto& [id, row] : model.rows(table)) known[id] = std::to_string(row.version());
        for (const auto& row :
             database.rows(fmt::format("select id, version from {} where organization_id = '{}'", table, model.id)))
          there[row[0]] = row[1];
        if (known != there) shared_.wrong(fmt::format("the {} of {} are not those of the model", table, model.id));
      }
      for (unsigned i = 0; i < 20; ++i) {
        Dice dice(random_);
        if (const auto problem = Player::disagreement(player->asker(), i % 2, dice, model, true); !problem.empty())
          shared_.wrong("in the end: " + problem);
      }
    }
    for (const auto& row :
         database.rows("select p.id, jsonb_build_object('total', count(t.id), 'done', count(t.id) filter (where "
                       "t.status = 'done'), "
                       "'todo', count(t.id) filter (where t.status = 'todo'), 'estimated_hours', "
                       "coalesce(sum(t.estimated_hours), 0)) "
                       "from projects p left join tasks t on t.project_id = p.id where p.organization_id = '" +
                       shared_.commons.organization + "' group by p.id"))
      for (unsigned node = 0; node < Cluster::nodes; ++node) {
        auto shown = players_[0]->asker().read(node, "/projects/" + row[0] + "/stats").json();
        const auto counted = bj::parse(row[1]);
        for (const auto& number : counted.as_object())
          if (shown.at(number.key()) != number.value())
            shared_.wrong(fmt::format("{} of {} is {}, not {}", name_of(number), row[0],
                                      bj::serialize(shown.at(number.key())), bj::serialize(number.value())));
      }
  }

  void check_feeds(Database& database) {
    const auto say_the_end = [](Asker& asker, const std::string& organization) {
      const auto reply = asker.ask(0, "PATCH", "/organizations/" + organization, R"({"description":"the end"})",
                                   {"X-Request-Id: " + Watcher::end_of(organization)});
      EXPECT_EQ(reply.status, 200u) << reply.body;
    };
    Asker boss(cluster_, boss_->token, shared_.figures);
    say_the_end(boss, shared_.commons.organization);
    for (unsigned i = 2; i < watchers; ++i) {
      Asker owner(cluster_, players_[i]->asker().token(), shared_.figures);
      say_the_end(owner, players_[i]->model().id);
    }
    std::atomic<bool> done{false};
    std::thread patience([&] {
      for (const auto end = Clock::now() + 120s; !done && Clock::now() < end;) std::this_thread::sleep_for(10ms);
      for (auto& watcher : watchers_) watcher->give_up();
    });
    for (auto& watcher : watchers_) watcher->join();
    done = true;
    patience.join();
    for (auto& watcher : watchers_) watcher->check(database);
  }

  // What was acknowledged is on the record, each row of it once; what was refused, or came to nothing, is not.
  void check_entries(Database& database) {
    std::map<std::string, std::vector<std::string>> record;
    for (const auto& row :
         database.rows(fmt::format("select metadata->>'request_id', {} from audit_logs where metadata->>'request_id' "
                                   "like 'model-%' and metadata->>'outcome' is distinct from 'denied'",
                                   entry_in_sql)))
      record[row[0]].push_back(row[1]);
    for (auto& of_request : record) std::sort(of_request.second.begin(), of_request.second.end());
    for (auto& player : players_)
      for (const auto& outcome : player->outcomes) {
        const auto found = record[outcome.request];
        if (outcome.done ? outcome.exact && found != outcome.entries : !found.empty())
          shared_.wrong(fmt::format("{}, which was {}, has on the record\n{}\nand not\n{}", outcome.request,
                                    outcome.done ? "done" : "not done", fmt::join(found, "\n"),
                                    fmt::join(outcome.entries, "\n")));
        if (!outcome.exact &&
            !std::includes(found.begin(), found.end(), outcome.entries.begin(), outcome.entries.end()))
          shared_.wrong(fmt::format("{} has on the record\n{}\nwithout\n{}", outcome.request, fmt::join(found, "\n"),
                                    fmt::join(outcome.entries, "\n")));
        for (auto entry = found.begin(); entry != found.end() && !outcome.exact; ++entry)
          if (!entry->ends_with(' ') && std::count(found.begin(), found.end(), *entry) > 1)
            shared_.wrong(fmt::format("{} has twice {}", outcome.request, *entry));
      }
  }

  void check_snapshots() {
    std::vector<std::thread> threads;
    for (auto& player : players_)
      threads.emplace_back([&] {
        try {
          for (std::size_t i = 0; i < player->snapshots.size(); ++i) {
            const auto& shot = player->snapshots[i];
            const auto then = player->asker().read(i % 2, shot.path + "&as_of=" + shot.token);
            if (then.status == 200 && without_times(then.json().at("data")) == shot.rows)
              ++shared_.figures.equal;
            else
              shared_.wrong(fmt::format("{} as of {} is {}\nand was {}", shot.path, shot.token, then.body, shot.rows));
          }
        } catch (const std::exception& error) { shared_.wrong(error.what()); }
      });
    for (auto& thread : threads) thread.join();
  }

  Shared shared_;
  Cluster& cluster_;
  std::uint64_t seed_;
  bool long_;
  std::mt19937_64 random_;
  std::unique_ptr<Client> boss_;
  std::vector<std::unique_ptr<Player>> players_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
};

TEST(TheModel, IsWhatIsThereWhateverIsKilledOrFrozenMeanwhile) {
  const auto* given = std::getenv("CAIRN_SEED");
  const std::uint64_t seed = given ? std::stoull(given) : std::random_device()();
  SCOPED_TRACE(fmt::format("CAIRN_SEED={}", seed));
  fmt::print("seed {}\n", seed);
  static_cast<void>(std::fflush(stdout));
  Cluster::run([seed](Cluster& cluster) { Story(cluster, seed, std::getenv("CAIRN_CAMPAIGN") != nullptr).tell(); });
}

}  // namespace
}  // namespace cairn
