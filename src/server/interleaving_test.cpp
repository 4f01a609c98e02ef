// Two transactions made of the product's own statements, in every order in which their steps can overlap, as
// PostgreSQL's isolation tester runs them: a step that waits for the other transaction stays behind while that one goes
// on.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "organization/permission.hpp"
#include "pg/sql.hpp"
#include "support/record.hpp"
#include "support/stack.hpp"

namespace cairn {
namespace {

namespace permission = organization::permission;
using support::Database;
using support::Sandbox;
using Values = std::vector<std::optional<std::string>>;

// -- transactions

struct Step {
  Step() = default;
  std::string text;
  Values values;
  bool needed = true;  // without a row, or with one that says no, the transaction is given up
};

Step statement(std::string_view name, Values values = {}) {
  Step step;
  for (const auto* known : pg::statements())
    if (known->name() == name) step.text = known->text();
  if (step.text.empty()) throw std::logic_error("no statement " + std::string(name));
  step.values = std::move(values);
  return step;
}
// Whatever comes of it.
Step also(Step step) {
  step.needed = false;
  return step;
}
Step sql(std::string text) {
  Step step;
  step.text = std::move(text);
  step.needed = false;
  return step;
}

struct Transaction {
  Transaction() = default;
  std::string enter;  // as the prelude of a request
  std::vector<Step> steps;
  bool privileged = false;  // what the runtime role may not do
};

// One connection on its way through a transaction.
class Course {
 public:
  explicit Course(const std::string& url) : database_(url), pid_(database_.value("select pg_backend_pid()")) {}

  void begin(Transaction transaction) {
    transaction_ = std::move(transaction);
    transaction_.steps.push_back(sql("commit"));
    next_ = 0;
    outcome_.clear();
    database_.run("begin");
    if (!transaction_.enter.empty()) database_.run(transaction_.enter);
  }
  bool waits() const { return waits_; }
  bool over() const { return !outcome_.empty(); }
  // "committed", "refused", or the SQLSTATE that it failed with.
  const std::string& outcome() const { return outcome_; }
  const std::string& pid() const { return pid_; }

  void step() {
    const auto& step = transaction_.steps[next_];
    std::vector<const char*> values;
    for (const auto& value : step.values) values.push_back(value ? value->c_str() : nullptr);
    if (PQsendQueryParams(database_.raw(), step.text.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                          nullptr, nullptr, 0) != 1)
      throw std::runtime_error(PQerrorMessage(database_.raw()));
    waits_ = true;
  }
  // Takes in what has arrived.
  void look() {
    if (PQconsumeInput(database_.raw()) != 1) throw std::runtime_error(PQerrorMessage(database_.raw()));
    if (PQisBusy(database_.raw())) return;
    waits_ = false;
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQgetResult(database_.raw()), PQclear);
    while (PGresult* more = PQgetResult(database_.raw())) PQclear(more);
    const auto& step = transaction_.steps[next_++];
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
      end(PQresultErrorField(result.get(), PG_DIAG_SQLSTATE));
    else if (step.needed && !yields(result.get()))
      end("refused");
    else if (next_ == transaction_.steps.size())
      outcome_ = "committed";
  }

 private:
  static bool yields(const PGresult* result) {
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
      return std::string_view(PQcmdTuples(const_cast<PGresult*>(result))) != "0";
    return PQntuples(result) > 0 && !PQgetisnull(result, 0, 0) && std::string_view(PQgetvalue(result, 0, 0)) != "f";
  }
  void end(std::string why) {
    database_.run("rollback");
    outcome_ = std::move(why);
  }

  Database database_;
  std::string pid_, outcome_;
  Transaction transaction_;
  std::size_t next_ = 0;
  bool waits_ = false;
};

// -- what they work on

class Interleaved : public testing::Test {
 protected:
  struct Pair {
    Pair() = default;
    Transaction first, second;
  };

  // Everybody is new each time. `allowed` are the outcomes, "committed refused" and so on.
  void in_every_order(const std::function<Pair()>& make, const std::set<std::string>& allowed,
                      const std::function<void()>& check = {}) {
    std::set<std::string> seen;
    auto pair = make();
    std::vector<int> order(pair.first.steps.size() + 1, 0);
    order.resize(order.size() + pair.second.steps.size() + 1, 1);
    do {
      const auto outcome = run(make(), order);
      seen.insert(outcome);
      SCOPED_TRACE(fmt::format("{}: {}", fmt::join(order, ""), outcome));
      EXPECT_TRUE(allowed.contains(outcome));
      EXPECT_EQ(broken(), "");
      if (check) check();
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_EQ(seen, allowed) << "some of these never happen";
    EXPECT_EQ(support::record_problems(database), std::vector<std::string>{});
  }

  std::string person() {
    const auto number = ++people_;
    return database.value(
        fmt::format("insert into users (email, password_hash, first_name, last_name) values "
                    "('p{0}@example.org', 'x', 'P', '{0}') returning id",
                    number));
  }
  std::string join(const std::string& user, std::string_view role) {
    database.run(
        fmt::format("insert into user_organizations (user_id, organization_id, role) values ('{}', '{}', '{}')", user,
                    organization, role));
    return user;
  }
  std::string member(std::string_view role = "member") { return join(person(), role); }
  // A new organization, and its owner.
  std::string found() {
    organization = database.value(
        fmt::format("insert into organizations (name, slug) values ('O', 'o-{}') returning id", ++organizations_));
    return member("owner");
  }
  std::string project(const std::string& creator, std::string_view visibility = "organization") {
    return database.value(
        fmt::format("insert into projects (organization_id, name, created_by, visibility) values "
                    "('{}', 'P', '{}', '{}') returning id",
                    organization, creator, visibility));
  }
  void enlist(const std::string& project, const std::string& user, std::string_view role = "contributor") {
    database.run(fmt::format("insert into project_members (project_id, user_id, role) values ('{}', '{}', '{}')",
                             project, user, role));
  }
  std::string task(const std::string& project, const std::string& creator) {
    return database.value(fmt::format(
        "insert into tasks (project_id, title, created_by) values ('{}', 'T', '{}') returning id", project, creator));
  }
  // A device with a session and a refresh token; its id.
  std::string device(const std::string& user, const std::string& refresh_hash) {
    const auto id = database.value(fmt::format(
        "insert into app.devices (user_id, expires_at) values ('{}', now() + interval '1 day') returning id", user));
    database.run(
        fmt::format("insert into app.sessions (token_hash, user_id, device_id, expires_at) values "
                    "(sha256('{0}'), '{1}', '{0}', now() + interval '1 day')",
                    id, user));
    database.run("begin");
    database.run(fmt::format("select set_config('app.user_id', '{}', true), app.add_refresh_token('{}', null, '{}')",
                             user, id, refresh_hash));
    database.run("commit");
    return id;
  }

  static Transaction as(const std::string& user, std::vector<Step> steps) {
    Transaction transaction;
    transaction.enter = fmt::format("select set_config('app.user_id', '{}', true), app.learn_access()", user);
    transaction.steps = std::move(steps);
    return transaction;
  }
  static Transaction as_nobody(std::vector<Step> steps) {
    Transaction transaction;
    transaction.enter = "select set_config('app.system', 'anonymous', true)";
    transaction.steps = std::move(steps);
    return transaction;
  }
  static Pair both(Transaction first, Transaction second) {
    Pair pair;
    pair.first = std::move(first);
    pair.second = std::move(second);
    return pair;
  }

  // -- the product's changes

  Step turn() const { return also(statement("organization.take_turn", {organization})); }
  std::vector<Step> give_role(const std::string& user, std::string_view role) const {
    return {
        turn(),
        statement("organization.update_member",
                  {organization, user, "t", std::string(role), "f", {}, {}, std::to_string(permission::member_edit)})};
  }
  std::vector<Step> remove(const std::string& user) const {
    return {turn(), statement("organization.delete_member",
                              {organization, user, {}, std::to_string(permission::member_remove)})};
  }
  std::vector<Step> hand_over(const std::string& user) const {
    return {turn(),
            statement("organization.transfer", {organization, user, std::to_string(permission::organization_delete)})};
  }
  static Step assign(const std::string& task, const std::string& user) {
    Values values(25);
    for (std::size_t i = 1; i < 23; i += 2) values[i] = "f";
    values[0] = task;
    values[9] = "t";
    values[10] = user;
    values[24] = std::to_string(permission::task_edit);
    return statement("task.update", values);
  }
  static Step close(const std::string& project) {
    Values values(23);
    for (std::size_t i = 1; i < 19; i += 2) values[i] = "f";
    values[0] = project;
    values[20] = std::to_string(permission::project_edit);
    values[21] = "t";
    values[22] = "private";
    return statement("project.update", values);
  }
  static Step dismiss(const std::string& project, const std::string& user) {
    return statement("project_member.delete", {project, user, {}, std::to_string(permission::project_members)});
  }
  static Transaction suspend(const std::string& user) {
    Transaction transaction;
    transaction.enter = "select set_config('app.system', 'test', true)";
    transaction.steps.push_back(sql(fmt::format("update users set status = 'suspended' where id = '{}'", user)));
    transaction.privileged = true;
    return transaction;
  }

  Sandbox sandbox;
  Database database = [this] {
    Database made(sandbox.superuser_url);
    made.run("select set_config('app.system', 'test', false)");
    return made;
  }();
  std::string organization;

 private:
  std::string run(Pair pair, const std::vector<int>& order) {
    const std::array<Course*, 2> courses{&(pair.first.privileged ? privileged_ : courses_)[0],
                                         &(pair.second.privileged ? privileged_ : courses_)[1]};
    courses[0]->begin(std::move(pair.first));
    courses[1]->begin(std::move(pair.second));
    std::array<std::size_t, 2> late{};
    for (const int who : order) {
      auto& course = *courses.at(static_cast<std::size_t>(who));
      if (course.waits())
        ++late.at(static_cast<std::size_t>(who));
      else if (!course.over())
        course.step();
      settle(courses);
    }
    while (!courses[0]->over() || !courses[1]->over()) {
      for (std::size_t who = 0; who < 2; ++who) {
        auto& course = *courses.at(who);
        if (course.over() || course.waits() || late.at(who) == 0) continue;
        --late.at(who);
        course.step();
      }
      settle(courses);
    }
    return courses[0]->outcome() + " " + courses[1]->outcome();
  }
  // Until each has done its step or waits for the other.
  void settle(const std::array<Course*, 2>& courses) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (bool again = true; again;) {
      again = false;
      for (auto* course : courses) {
        if (!course->waits()) continue;
        course->look();
        if (course->waits()) again = again || !blocked(*course);
      }
      if (again && std::chrono::steady_clock::now() > end) throw std::runtime_error("a step neither ends nor waits");
    }
    // What waited for the other may be through by now.
    for (auto* course : courses)
      if (course->waits()) course->look();
  }
  bool blocked(const Course& course) {
    return database.value("select cardinality(pg_blocking_pids(" + course.pid() + ")) > 0") == "t";
  }

  // What must hold whatever was committed.
  std::string broken() {
    const auto found = database.rows(R"sql(
      select 'an organization without an owner' where exists (
        select from organizations o where o.deleted_at is null and not exists (
          select from user_organizations m where m.organization_id = o.id and m.role = 'owner'))
      union all select 'a task of somebody who does not see it' where exists (
        select from tasks where assigned_to is not null and not app.sees_project(assigned_to, project_id))
      union all select 'a credential of somebody who is not active' where exists (
        select from users u where u.status <> 'active' and (
          exists (select from app.sessions where user_id = u.id) or exists (select from app.devices where user_id = u.id)
          or exists (select from app.api_tokens where user_id = u.id)
          or exists (select from refresh_tokens t where t.user_id = u.id and not t.revoked)))
      union all select 'a credential without its device' where exists (
        select from refresh_tokens t join app.refresh_token_lineage l on l.token_id = t.id
        where not t.revoked and not exists (select from app.devices d where d.id = l.family_id))
      union all select 'two heads of a family' where exists (
        select from refresh_tokens t join app.refresh_token_lineage l on l.token_id = t.id
        where not t.revoked group by l.family_id having count(*) > 1)
      union all select 'a project''s member who is none of its organization''s' where exists (
        select from project_members i where not exists (
          select from user_organizations m where m.organization_id = i.organization_id and m.user_id = i.user_id))
      union all select 'an invitation accepted and revoked' where exists (
        select from invitations where accepted_at is not null and revoked_at is not null))sql");
    std::string text;
    for (const auto& row : found) text += row[0] + "\n";
    return text;
  }

  std::array<Course, 2> courses_{Course(sandbox.app_url), Course(sandbox.app_url)};
  std::array<Course, 2> privileged_{Course(sandbox.superuser_url), Course(sandbox.superuser_url)};
  unsigned people_ = 0, organizations_ = 0;
};

const std::set<std::string> one_or_the_other{"committed refused", "refused committed"};

// -- owners

TEST_F(Interleaved, OwnersWhoDemoteEachOther) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member("owner");
        return both(as(ada, give_role(bob, "member")), as(bob, give_role(ada, "member")));
      },
      one_or_the_other);
}

TEST_F(Interleaved, OwnersWhoStepDown) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member("owner");
        return both(as(ada, give_role(ada, "member")), as(bob, give_role(bob, "admin")));
      },
      {"committed 23514", "23514 committed"});
}

TEST_F(Interleaved, OwnersWhoLeave) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member("owner");
        return both(as(ada, remove(ada)), as(bob, remove(bob)));
      },
      {"committed 23514", "23514 committed"});
}

TEST_F(Interleaved, AnOwnerWhoLeavesAndOneWhoLeavesForGood) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member("owner");
        return both(as(ada, remove(ada)), as(bob, {also(statement("account.deactivate"))}));
      },
      {"committed committed", "23514 committed"});
}

TEST_F(Interleaved, AnOwnerWhoHandsOverTwice) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member(), amy = member();
        return both(as(ada, hand_over(bob)), as(ada, hand_over(amy)));
      },
      one_or_the_other,
      [&] {
        EXPECT_EQ(
            database.value("select count(*) from user_organizations where role = 'owner' and organization_id = '" +
                           organization + "'"),
            "1");
      });
}

TEST_F(Interleaved, TheNewOwnerWhoIsRemoved) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member(), amy = member("admin");
        return both(as(ada, hand_over(bob)), as(amy, remove(bob)));
      },
      one_or_the_other);
}

TEST_F(Interleaved, TheNewOwnerWhoLeaves) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member();
        return both(as(ada, hand_over(bob)), as(bob, remove(bob)));
      },
      {"committed 23514", "refused committed"});
}

TEST_F(Interleaved, AnAdministratorWhoPromotesWhileBeingDemoted) {
  in_every_order(
      [&] {
        const auto ada = found(), amy = member("admin"), bob = member();
        return both(as(amy, give_role(bob, "admin")), as(ada, give_role(amy, "member")));
      },
      {"committed committed", "refused committed"});
}

// -- who sees what

TEST_F(Interleaved, ATaskForSomebodyWhoIsRemoved) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member();
        return both(as(ada, {assign(task(project(ada), ada), bob)}), as(ada, remove(bob)));
      },
      {"committed committed", "23503 committed", "refused committed"});
}

TEST_F(Interleaved, ATaskForSomebodyWhoLeavesItsPrivateProject) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member(), secret = project(ada, "private");
        enlist(secret, bob);
        return both(as(ada, {assign(task(secret, ada), bob)}), as(ada, {dismiss(secret, bob)}));
      },
      {"committed committed", "23514 committed", "refused committed"});
}

TEST_F(Interleaved, ATaskForSomebodyToWhomItsProjectIsClosed) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member(), open = project(ada);
        return both(as(ada, {assign(task(open, ada), bob)}), as(ada, {close(open)}));
      },
      {"committed committed", "23514 committed", "refused committed"});
}

TEST_F(Interleaved, ATaskForSomebodyWhoSeesPrivateProjectsNoMore) {
  in_every_order(
      [&] {
        const auto ada = found(), amy = member("admin"), secret = project(ada, "private");
        return both(as(ada, {assign(task(secret, ada), amy)}), as(ada, give_role(amy, "member")));
      },
      {"committed committed", "23514 committed", "refused committed"});
}

TEST_F(Interleaved, AProjectsMemberWhoIsRemovedFromTheOrganization) {
  in_every_order(
      [&] {
        const auto ada = found(), bob = member();
        return both(as(ada, {statement("project_member.insert",
                                       {project(ada), bob, "viewer", std::to_string(permission::project_members)})}),
                    as(ada, remove(bob)));
      },
      {"committed committed", "23503 committed"});
}

// -- what is deleted while it is written

TEST_F(Interleaved, ATaskThatIsChangedAndDeleted) {
  in_every_order(
      [&] {
        const auto ada = found(), one = task(project(ada), ada);
        return both(
            as(ada, {assign(one, ada)}),
            as(ada,
               {statement("task.delete",
                          {one, {}, std::to_string(permission::task_delete), std::to_string(permission::task_edit)})}));
      },
      {"committed committed", "refused committed"});
}

TEST_F(Interleaved, ATaskInAProjectThatIsDeleted) {
  in_every_order(
      [&] {
        const auto ada = found(), one = project(ada);
        return both(as(ada, {statement("task.insert", {Uuid::make().text(),
                                                       one,
                                                       "T",
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       {},
                                                       std::to_string(permission::task_create)})}),
                    as(ada, {statement("project.delete", {one, {}, std::to_string(permission::project_delete)})}));
      },
      {"committed committed", "refused committed", "23503 committed"});
}

// -- credentials

TEST_F(Interleaved, ALoginOfSomebodyWhoIsSuspended) {
  in_every_order(
      [&] {
        const auto ada = person(), id = Uuid::make().text();
        return both(as(ada, {statement("session.insert_device", {id, "2100-01-01", "", ""}),
                             statement("session.insert", {"\\x" + std::string(64, 'a'), id, "2100-01-01"}),
                             also(statement("session.add_refresh_token", {id, {}, id}))}),
                    suspend(ada));
      },
      {"committed committed", "23514 committed"});
}

TEST_F(Interleaved, AnApiTokenOfSomebodyWhoIsSuspended) {
  in_every_order(
      [&] {
        const auto ada = person();
        return both(as(ada, {statement("api_token.insert",
                                       {"robot", "{read}", {}, "\\x" + std::string(64, 'b'), "2100-01-01", "100"})}),
                    suspend(ada));
      },
      {"committed committed", "23514 committed"});
}

class InterleavedRotation : public Interleaved {
 protected:
  // The first refresh token is used, and what follows from that.
  Transaction rotation(const std::string& id, const std::string& hash) {
    const auto parent = database.value("select id from refresh_tokens where token_hash = '" + hash + "'");
    return as_nobody({statement("session.use_refresh_token", {hash}),
                      statement("session.insert", {"\\x" + std::string(64, 'c'), id, "2100-01-01"}),
                      also(statement("session.add_refresh_token", {id, parent, hash + ".next"}))});
  }
  std::string ada_, hash_, device_;
  void make_device() {
    ada_ = person();
    hash_ = Uuid::make().text();
    device_ = device(ada_, hash_);
    database.run("delete from app.sessions where token_hash = '\\x" + std::string(64, 'c') + "'");
  }
};

TEST_F(InterleavedRotation, AndALogout) {
  in_every_order(
      [&] {
        make_device();
        auto logout = as(ada_, {statement("session.end_own")});
        logout.enter += fmt::format(", set_config('app.session_id', '{}', true)", device_);
        return both(rotation(device_, hash_), std::move(logout));
      },
      {"committed committed", "refused committed"});
}

TEST_F(InterleavedRotation, AndASuspension) {
  in_every_order(
      [&] {
        make_device();
        return both(rotation(device_, hash_), suspend(ada_));
      },
      {"committed committed", "refused committed"});
}

TEST_F(InterleavedRotation, AndAChangeOfPassword) {
  in_every_order(
      [&] {
        make_device();
        return both(rotation(device_, hash_), as(ada_, {statement("account.update_password", {"y"})}));
      },
      {"committed committed", "refused committed"});
}

TEST_F(Interleaved, TwoResetsWithOneToken) {
  in_every_order(
      [&] {
        const auto ada = person(), token = "\\x" + std::string(64, 'd');
        database.run("delete from app.mail_tokens");
        database.run(
            fmt::format("select app.put_mail_token('{0}', 'reset', '{1}', (select email from users where id = "
                        "'{0}'), interval '1 hour')",
                        ada, token));
        return both(as(ada, {statement("account.reset_password", {token, "y"})}),
                    as(ada, {statement("account.reset_password", {token, "z"})}));
      },
      one_or_the_other);
}

TEST_F(Interleaved, AResetAndAChangeOfTheAddress) {
  in_every_order(
      [&] {
        const auto ada = person(), reset = "\\x" + std::string(64, 'd'), verification = "\\x" + std::string(64, 'e');
        database.run("delete from app.mail_tokens");
        database.run(
            fmt::format("select app.put_mail_token('{0}', 'reset', '{1}', (select email from users where id = "
                        "'{0}'), interval '1 hour'), app.put_mail_token('{0}', 'verification', '{2}', "
                        "'new' || (select email from users where id = '{0}'), interval '1 hour')",
                        ada, reset, verification));
        return both(as(ada, {statement("account.reset_password", {reset, "y"})}),
                    as(ada, {statement("account.verify_email", {verification})}));
      },
      one_or_the_other);
}

// -- invitations

class InterleavedInvitation : public Interleaved {
 protected:
  std::string amy_, carl_, invitation_;
  Transaction accept() { return as(carl_, {statement("invitation.accept", {token_})}); }
  // Of `carl_` by `amy_`, an administrator; the organization's owner.
  std::string invite() {
    const auto ada = found();
    amy_ = member("admin");
    carl_ = person();
    database.run("delete from app.invitation_tokens");
    invitation_ =
        database.value(fmt::format("insert into invitations (organization_id, email, role, invited_by, expires_at) "
                                   "values ('{}', (select email from "
                                   "users where id = '{}'), 'manager', '{}', now() + interval '1 day') returning id",
                                   organization, carl_, amy_));
    database.run(
        fmt::format("insert into app.invitation_tokens (invitation_id, token_hash, mailed) values "
                    "('{}', '{}', true)",
                    invitation_, token_));
    return ada;
  }
  std::string role() {
    const auto found = database.rows(fmt::format(
        "select role from user_organizations where user_id = '{}' and organization_id = '{}'", carl_, organization));
    return found.empty() ? "none" : found[0][0];
  }

 private:
  const std::string token_ = "\\x" + std::string(64, 'f');
};

TEST_F(InterleavedInvitation, AcceptedTwice) {
  in_every_order(
      [&] {
        invite();
        return both(accept(), accept());
      },
      one_or_the_other, [&] { EXPECT_EQ(role(), "manager"); });
}

TEST_F(InterleavedInvitation, AcceptedAndRevoked) {
  in_every_order(
      [&] {
        const auto ada = invite();
        return both(accept(), as(ada, {statement("invitation.revoke", {organization, invitation_,
                                                                       std::to_string(permission::member_invite)})}));
      },
      one_or_the_other);
}

TEST_F(InterleavedInvitation, AcceptedWhileItsSenderIsDemoted) {
  in_every_order(
      [&] {
        const auto ada = invite();
        return both(accept(), as(ada, give_role(amy_, "member")));
      },
      {"committed committed", "refused committed"});
}

TEST_F(InterleavedInvitation, AcceptedWhileItsOrganizationIsDeleted) {
  in_every_order(
      [&] {
        const auto ada = invite();
        return both(accept(),
                    as(ada, {statement("organization.delete",
                                       {organization, {}, std::to_string(permission::organization_delete)})}));
      },
      {"committed committed", "refused committed"});
}

}  // namespace
}  // namespace cairn
