// What ends a credential or takes a right away counts at the very next request: for every kind of credential, on every
// server, and whatever happens to Redis meanwhile.
//   CAIRN_CAMPAIGN=1     Redis is frozen for half a minute instead of a moment
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "support/letters.hpp"
#include "support/redis.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

using namespace support;
using std::chrono::steady_clock;

constexpr std::string_view own_page = "Origin: http://localhost";

// Somebody with every kind of credential on three devices, and something that they may do until something happens.
struct Victim {
  Victim() = default;
  std::string name, id, organization, project, task;
  std::string session, refresh_token, spent;  // of the device that acts; `spent` is an ancestor of its refresh token
  std::string other, other_refresh_token, other_id;
  std::string cookie, api_token, api_token_id;
};

// What each credential is answered with afterwards.
struct Fate {
  unsigned session = 0, refresh_token = 0, other = 0, other_refresh_token = 0, cookie = 0, api_token = 0;
};
constexpr Fate all(unsigned status) { return {status, status, status, status, status, status}; }

enum class Deed { read_private_task, edit_task, edit_organization };

class TwoServersAndOneRedis;
struct Event {
  std::string_view name;
  std::string_view role;  // of the victim in the organization
  Deed deed;
  void (TwoServersAndOneRedis::*happen)(Victim&);
  Fate fate;
};

class TwoServersAndOneRedis : public testing::Test {
 protected:
  using Self = TwoServersAndOneRedis;

  Stack::Adjust with_own_redis() {
    return [this](Config& config) { config.redis.url = Secret(own.socket()); };
  }

  // -- what happens, always through the first server

  void log_out(Victim& v) { done(as(v.session)->del("/session")); }
  void end_other_session(Victim& v) { done(as(v.session)->del("/me/sessions/" + v.other_id)); }
  void end_all_others(Victim& v) { done(as(v.session)->del("/me/sessions")); }
  void revoke_api_token(Victim& v) { done(as(v.session)->del("/me/tokens/" + v.api_token_id)); }
  void reuse_refresh_token(Victim& v) { EXPECT_EQ(code(refresh(one, v.spent)), "refresh_token_reused"); }
  void change_password(Victim& v) {
    done(as(v.session)->post("/me/password", fmt::format(R"({{"current_password":"{}","new_password":"{}"}})",
                                                         Stack::password, "another battery staple")));
  }
  void reset_password(Victim& v) {
    done(one.client().post("/password-resets", fmt::format(R"({{"email":"{}"}})", Stack::email(v.name))));
    done(one.client().post("/password-resets/complete",
                           fmt::format(R"({{"token":"{}","password":"{}"}})",
                                       token_of(last_mail(database, Stack::email(v.name))), "another battery staple")));
  }
  void change_email(Victim& v) {
    const auto address = Stack::email(v.name + ".new");
    done(
        as(v.session)->post("/me/email", fmt::format(R"({{"email":"{}","password":"{}"}})", address, Stack::password)));
    done(one.client().post("/verifications",
                           fmt::format(R"({{"token":"{}"}})", token_of(last_mail(database, address)))));
  }
  void leave_for_good(Victim& v) {
    done(as(v.session)->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password)));
  }
  void suspend_user(Victim& v) { database.run("update users set status = 'suspended' where id = '" + v.id + "'"); }
  void deactivate_user(Victim& v) { database.run("update users set status = 'inactive' where id = '" + v.id + "'"); }
  void demote(Victim& v) { changed(boss->patch(membership(v), R"({"role":"member"})")); }
  void deny(Victim& v) { changed(boss->patch(membership(v), R"({"permissions":["-task.edit"]})")); }
  void remove_member(Victim& v) { done(boss->del(membership(v))); }
  void leave(Victim& v) { done(as(v.session)->del(membership(v))); }
  void remove_from_project(Victim& v) { done(boss->del("/projects/" + v.project + "/members/" + v.id)); }
  void make_viewer(Victim& v) {
    changed(boss->patch("/projects/" + v.project + "/members/" + v.id, R"({"role":"viewer"})"));
  }
  void close_organization(Victim& v) {
    changed(boss->patch("/organizations/" + v.organization, R"({"status":"inactive"})"));
  }
  void suspend_organization(Victim& v) {
    database.run("update organizations set status = 'suspended' where id = '" + v.organization + "'");
  }
  void delete_organization(Victim& v) { done(boss->del("/organizations/" + v.organization)); }

  static constexpr std::array<Event, 20> events{
      {{"log out", "member", Deed::read_private_task, &Self::log_out, {401, 401, 200, 200, 200, 200}},
       {"revoke session", "member", Deed::edit_task, &Self::end_other_session, {200, 200, 401, 401, 200, 200}},
       {"revoke all other sessions", "member", Deed::edit_task, &Self::end_all_others, {200, 200, 401, 401, 401, 200}},
       {"revoke API token", "member", Deed::read_private_task, &Self::revoke_api_token, {200, 200, 200, 200, 200, 401}},
       {"refresh token reused", "member", Deed::edit_task, &Self::reuse_refresh_token, {401, 401, 200, 200, 200, 200}},
       {"change password", "member", Deed::read_private_task, &Self::change_password, {200, 401, 401, 401, 401, 401}},
       {"reset password", "member", Deed::read_private_task, &Self::reset_password, all(401)},
       {"change e-mail", "member", Deed::edit_task, &Self::change_email, all(401)},
       {"leave for good", "member", Deed::read_private_task, &Self::leave_for_good, all(401)},
       {"suspend user", "member", Deed::read_private_task, &Self::suspend_user, all(401)},
       {"deactivate user", "admin", Deed::edit_organization, &Self::deactivate_user, all(401)},
       {"demote", "admin", Deed::edit_organization, &Self::demote, all(403)},
       {"deny permission", "member", Deed::edit_task, &Self::deny, all(403)},
       {"remove member", "member", Deed::read_private_task, &Self::remove_member, all(404)},
       {"leave organization", "admin", Deed::edit_organization, &Self::leave, all(404)},
       {"remove from private project", "member", Deed::read_private_task, &Self::remove_from_project, all(404)},
       {"make viewer", "member", Deed::edit_task, &Self::make_viewer, all(403)},
       {"close organization", "member", Deed::read_private_task, &Self::close_organization, all(404)},
       {"suspend organization", "admin", Deed::edit_organization, &Self::suspend_organization, all(404)},
       {"delete organization", "member", Deed::edit_task, &Self::delete_organization, all(404)}}};

  // -- what is asked

  std::array<const Stack*, 2> both() const { return {other.get(), &one}; }

  Reply refresh(const Stack& server, const std::string& token) const {
    return server.client().post("/sessions/refresh", fmt::format(R"({{"refresh_token":"{}"}})", token));
  }
  Reply perform(const Event& event, const Victim& v, const Stack& server, const std::string& token,
                bool in_cookie = false) const {
    const auto client = server.with_token(in_cookie ? std::string() : token);
    std::vector<std::string> extra;
    if (in_cookie) extra = {"Cookie: __Host-cairn_session=" + token, std::string(own_page)};
    switch (event.deed) {
      case Deed::read_private_task: return client->get("/tasks/" + v.task, extra);
      case Deed::edit_task: return client->patch("/tasks/" + v.task, R"({"title":"Dig deeper"})", extra);
      default: return client->patch("/organizations/" + v.organization, R"({"description":"changed"})", extra);
    }
  }
  // What becomes of a session that a refresh token gives.
  unsigned refreshed(const Event& event, const Victim& v, const Stack& server, const std::string& token) const {
    const auto reply = refresh(server, token);
    return reply.status == 200 ? perform(event, v, server, text_of(reply, "token")).status : reply.status;
  }

  // A refresh token that is good is spent by being tried, so that is done only at the end.
  void expect(const Event& event, const Victim& v, const Fate& fate, bool at_the_end = false) const {
    SCOPED_TRACE(event.name);
    for (const Stack* server : both()) {
      SCOPED_TRACE(server == &one ? "the server that heard of it" : "the other server");
      EXPECT_EQ(perform(event, v, *server, v.session).status, fate.session) << "its session";
      EXPECT_EQ(perform(event, v, *server, v.other).status, fate.other) << "another device's session";
      EXPECT_EQ(perform(event, v, *server, v.cookie, true).status, fate.cookie) << "a browser's session";
      EXPECT_EQ(perform(event, v, *server, v.api_token).status, fate.api_token) << "an API token";
      if (at_the_end || fate.refresh_token == 401) {
        EXPECT_EQ(refreshed(event, v, *server, v.refresh_token), fate.refresh_token) << "its refresh token";
      }
      if (at_the_end || fate.other_refresh_token == 401) {
        EXPECT_EQ(refreshed(event, v, *server, v.other_refresh_token), fate.other_refresh_token)
            << "another device's refresh token";
      }
      EXPECT_EQ(bystander->get("/organizations").status, 200u) << "somebody else's session";
    }
  }
  void expect_all(bool at_the_end) const {
    for (std::size_t i = 0; i < events.size(); ++i) expect(events[i], victims[i], events[i].fate, at_the_end);
  }

  void prepare() {
    for (const auto& event : events) {
      victims.push_back(victim(event));
      // Every core of both servers is to know them well.
      for (int round = 0; round < 2; ++round) expect(event, victims.back(), all(200));
    }
  }
  void happen(const std::function<void()>& at_once = {}) {
    for (std::size_t i = 0; i < events.size(); ++i) {
      SCOPED_TRACE(events[i].name);
      (this->*events[i].happen)(victims[i]);
      if (at_once) at_once();
      expect(events[i], victims[i], events[i].fate);
    }
  }
  void wait_for_redis() const {
    for (const Stack* server : both())
      for (int connection = 0; connection < 8; ++connection)
        while (server->client().get("//readyz").body.find("degraded") != std::string::npos)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  static void done(const Reply& reply) { EXPECT_EQ(reply.status, 204u) << reply.body; }
  static void changed(const Reply& reply) { EXPECT_EQ(reply.status, 200u) << reply.body; }
  std::unique_ptr<Client> as(const std::string& token) const { return one.with_token(token); }
  std::string membership(const Victim& v) const { return "/organizations/" + v.organization + "/members/" + v.id; }

  Reply log_in(const std::string& name, bool in_cookie = false) const {
    std::vector<std::string> extra;
    if (in_cookie) extra.emplace_back(own_page);
    return one.client().send("POST", "/sessions",
                             fmt::format(R"({{"email":"{}","password":"{}"{}}})", Stack::email(name), Stack::password,
                                         in_cookie ? R"(,"cookie":true)" : ""),
                             extra);
  }

  Victim victim(const Event& event) {
    Victim v;
    v.name = fmt::format("v{}", victims.size());
    v.organization = make_organization(*boss, v.name);
    const auto first = colleague(one, *boss, v.organization, v.name, event.role);
    v.id = me(*first);
    v.project = make_project(*boss, v.organization, "private");
    made(add_to_project(*boss, v.project, v.id, "contributor"), "user_id");
    v.task = make_task(*boss, v.project);

    v.other = first->token;
    v.other_id = text_of(first->all("/me/sessions").at(0), "id");
    const auto made_token =
        first->post("/me/tokens", R"({"name":"robot","scopes":["read","write_tasks","write_organizations"]})");
    v.api_token = text_of(made_token, "token");
    v.api_token_id = text_of(made_token, "id");
    // Its own refresh token is not shown by person().
    const auto second = log_in(v.name);
    v.other_refresh_token = text_of(second, "refresh_token");
    done(first->del("/session"));
    v.other = text_of(second, "token");
    v.other_id = text_of(as(v.other)->all("/me/sessions").at(0), "id");

    v.spent = text_of(log_in(v.name), "refresh_token");
    const auto rotated = refresh(one, text_of(refresh(one, v.spent), "refresh_token"));
    v.session = text_of(rotated, "token");
    v.refresh_token = text_of(rotated, "refresh_token");

    const auto set = log_in(v.name, true).header("set-cookie");
    const auto begin = set.find('=') + 1;
    v.cookie = set.substr(begin, set.find(';') - begin);
    return v;
  }

 protected:
  OwnRedis own;
  Stack one{with_own_redis()};
  std::unique_ptr<Stack> other = one.beside(with_own_redis());
  Database database = one.database();
  std::unique_ptr<Client> boss = one.person("boss"), bystander = one.person("bystander");
  std::vector<Victim> victims;
};

TEST_F(TwoServersAndOneRedis, RefuseAtTheNextRequest) {
  prepare();
  happen();
  expect_all(true);
  EXPECT_EQ(redis_key_problems(own.socket()), std::vector<std::string>{});
}

TEST_F(TwoServersAndOneRedis, RefuseWhileRedisIsFrozenAndWhenItIsBack) {
  prepare();
  const auto end = steady_clock::now() + std::chrono::seconds(std::getenv("CAIRN_CAMPAIGN") ? 30 : 1);
  own.freeze();
  happen();
  do expect_all(false);
  while (steady_clock::now() < end);
  own.thaw();
  wait_for_redis();
  expect_all(true);
  EXPECT_EQ(redis_key_problems(own.socket()), std::vector<std::string>{});
}

TEST_F(TwoServersAndOneRedis, RefuseAfterRedisWasEmptied) {
  prepare();
  happen([this] { support::redis({"FLUSHALL"}, own.socket()); });
  expect_all(true);
  EXPECT_EQ(redis_key_problems(own.socket()), std::vector<std::string>{});
}

TEST_F(TwoServersAndOneRedis, RefuseAfterRedisReturnedAsItWasBefore) {
  prepare();
  own.snapshot();
  happen();
  own.crash_and_return();
  expect_all(false);
  wait_for_redis();
  expect_all(true);
  EXPECT_EQ(redis_key_problems(own.socket()), std::vector<std::string>{});
}

}  // namespace
}  // namespace cairn
