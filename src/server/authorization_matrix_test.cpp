// Who may do what, all of it: every operation, asked by everybody, about things in every state. What should come of it
// follows from how the operation is registered, not from what the server answers; docs/authorization.md shows the
// table.
//   CAIRN_WRITE_DOCS=1   writes the table into the page instead of failing when it differs
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "session/api_token.hpp"
#include "support/record.hpp"
#include "support/story.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using api::Access;
using api::Endpoint;
using namespace support;

// -- what should be so

enum class Actor {
  nobody,
  unverified,
  unattached,
  member,
  manager,
  admin,
  owner,
  stranger,
  suspended,
  removed,
  dormant,
  server_manager,
  server_admin,
  expired,
  revoked
};
struct Column {
  Actor actor;
  std::string_view title;
};
constexpr std::array<Column, 15> columns{{{Actor::nobody, "no token"},
                                          {Actor::unverified, "unverified"},
                                          {Actor::unattached, "in no organization"},
                                          {Actor::member, "member"},
                                          {Actor::manager, "manager"},
                                          {Actor::admin, "admin"},
                                          {Actor::owner, "owner"},
                                          {Actor::stranger, "owner of another"},
                                          {Actor::removed, "removed"},
                                          {Actor::dormant, "member of an inactive one"},
                                          {Actor::server_manager, "server's manager"},
                                          {Actor::server_admin, "server's admin"},
                                          {Actor::suspended, "suspended"},
                                          {Actor::expired, "expired session"},
                                          {Actor::revoked, "revoked session"}}};

bool lives(Actor who) {
  return who != Actor::nobody && who != Actor::suspended && who != Actor::expired && who != Actor::revoked;
}
int rank_in(Access role) {
  switch (role) {
    case Access::member: return 1;
    case Access::manager: return 2;
    case Access::admin: return 3;
    case Access::owner: return 4;
    default: return 0;
  }
}
// In the organization that `who` asks about as one of their own, if it is one.
int rank_of(Actor who) {
  switch (who) {
    case Actor::member: return 1;
    case Actor::manager: return 2;
    case Actor::admin: return 3;
    case Actor::owner:
    case Actor::stranger: return 4;
    default: return 0;
  }
}
int rank_on_server(Actor who) { return who == Actor::server_admin ? 2 : who == Actor::server_manager ? 1 : 0; }
bool may(const Endpoint& endpoint, Actor who) {
  const auto allow = endpoint.spec.allow;
  if (allow == Access::anonymous) return true;
  if (!lives(who)) return false;
  if (allow == Access::user) return true;
  if (api::server_rank(allow) > 0) return rank_on_server(who) >= api::server_rank(allow);
  return rank_in(allow) > 0 && rank_of(who) >= rank_in(allow);
}

// What the registration does not tell.
enum class Beside { by_token, invited, oneself, creator, when_deleted };
struct Rule {
  std::string_view id;
  Beside beside;
};
constexpr std::array<Rule, 18> rules{{{"verification.create", Beside::by_token},
                                      {"password_reset.complete", Beside::by_token},
                                      {"session.refresh", Beside::by_token},
                                      {"setup.create", Beside::by_token},
                                      {"invitation.preview", Beside::by_token},
                                      {"invitation.register", Beside::by_token},
                                      {"invitation.accept", Beside::invited},
                                      {"permission.of_member", Beside::oneself},
                                      {"permission.explain", Beside::oneself},
                                      {"member.remove", Beside::oneself},
                                      {"project_member.remove", Beside::oneself},
                                      {"task.remove", Beside::creator},
                                      {"audit.list_project", Beside::when_deleted},
                                      {"audit.list_task", Beside::when_deleted},
                                      {"audit.list_project_record", Beside::when_deleted},
                                      {"audit.list_task_record", Beside::when_deleted},
                                      {"audit.list_member", Beside::when_deleted},
                                      {"organization.restore", Beside::when_deleted}}};
constexpr std::array<std::string_view, 5> notes{
    "Who has the token of the mail, the link or the login.", "Who was invited.", "Also anybody about themselves.",
    "Also who created the task and may change it.", "Also when it was deleted or removed."};

bool has(const Endpoint& endpoint, Beside beside) {
  return std::any_of(rules.begin(), rules.end(),
                     [&](const Rule& rule) { return rule.id == endpoint.spec.id && rule.beside == beside; });
}

std::string note_of(const Endpoint& endpoint) {
  for (std::size_t i = 0; i < notes.size(); ++i)
    if (has(endpoint, static_cast<Beside>(i))) return fmt::format("<sup>{}</sup>", i + 1);
  return {};
}

std::string scope_name(const Endpoint& endpoint) {
  const auto scope = session::scope_of(endpoint);
  return scope ? fmt::format("`{}`", json::Codec<session::Scope>::name(*scope)) : std::string();
}

std::string table(const api::Api& api) {
  std::string text = "| |", line = "\n|---|";
  for (const auto& column : columns) {
    text += fmt::format(" {} |", column.title);
    line += "---|";
  }
  text += " API token |" + line + "---|\n";
  for (const auto& endpoint : api.endpoints()) {
    text += fmt::format("| `{} {}` |", method_of(*endpoint), endpoint->path);
    for (const auto& [actor, title] : columns) {
      const bool there = actor != Actor::stranger || rank_in(endpoint->spec.allow) == 0;
      const bool allowed = there && may(*endpoint, actor);
      const bool itself = has(*endpoint, Beside::oneself) || has(*endpoint, Beside::creator);
      std::string cell = allowed ? "✓" : "";
      if (allowed ? !itself : itself && (actor == Actor::member || actor == Actor::manager)) cell += note_of(*endpoint);
      text += cell.empty() ? " |" : " " + cell + " |";
    }
    const auto scope = scope_name(*endpoint);
    text += scope.empty() ? " |\n" : " " + scope + " |\n";
  }
  text += "\n";
  for (std::size_t i = 0; i < notes.size(); ++i) text += fmt::format("{}. {}\n", i + 1, notes.at(i));
  return text;
}

TEST(TheAuthorizationMatrix, IsDocumentedAsItIs) {
  Stack stack;
  const std::string path = CAIRN_DOCS "/authorization.md", begin = "<!-- matrix -->\n", end = "<!-- /matrix -->\n";
  std::ifstream file(path);
  std::stringstream read;
  read << file.rdbuf();
  const auto page = read.str();
  const auto from = page.find(begin), to = page.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_LT(from, to);
  const auto wanted = page.substr(0, from + begin.size()) + table(stack.server().api()) + page.substr(to);
  if (std::getenv("CAIRN_WRITE_DOCS"))
    std::ofstream(path) << wanted;
  else
    EXPECT_TRUE(page == wanted) << "CAIRN_WRITE_DOCS=1 bin/test server:TheAuthorizationMatrix.* writes it anew";
  for (const auto& rule : rules)
    EXPECT_TRUE(std::any_of(stack.server().api().endpoints().begin(), stack.server().api().endpoints().end(),
                            [&](const auto& endpoint) { return endpoint->spec.id == rule.id; }))
        << rule.id;
  for (const auto& operation : stack.contract().operations())
    EXPECT_TRUE(operation.description->at("x-authz").as_object().contains("allow")) << operation.path;
}

// -- what is so

using Ids = std::vector<std::pair<std::string, std::string>>;

// What a request is answered with. `closed`: 403 or 404, the same for all that one cannot see.
enum class Answer { served, unauthenticated, forbidden, hidden, closed };

struct Ask {
  Ask() = default;
  std::string state;
  Ids ids;
  Answer answer = Answer::served;
  int alike = 0;  // requests with the same number, if it is not 0, get the very same answer
};

// All of a reply that tells one from another, but for when it was asked and how many may follow.
std::string essence(const Reply& reply) {
  std::string text = fmt::format("{}\n", reply.status);
  for (const auto& [name, value] : reply.headers)
    if (name != "date" && name != "ratelimit") text += fmt::format("{}: {}\n", name, value);
  return text + reply.body;
}
const std::vector<std::string> same_id{"X-Request-Id: same-request-id"};

// An organization with everybody in it and around it, one of somebody else's, and one that is inactive.
class Everybody {
 public:
  Everybody() {
    database_.run("update organizations set status = 'inactive' where id = '" + inactive_.organization + "'");
    for (const auto* name : {"unverified", "unattached", "suspended", "removed", "root.manager", "root.admin"})
      people_[name] = stack.person(name);
    database_.run("update users set email_verified = true where email <> 'unverified@example.org'");
    database_.run("update users set role = 'manager' where email = 'root.manager@example.org'");
    database_.run("update users set role = 'admin' where email = 'root.admin@example.org'");
    database_.run("update users set status = 'suspended' where email = 'suspended@example.org'");
    removed_ = text_of(people_["removed"]->get("/me"), "id");
    suspended_ = database_.value("select id from users where email = 'suspended@example.org'");
    auto& owner = own.as(Access::owner);
    expired_.token = log_in("a.owner");
    EXPECT_EQ(expired_.get("/me").status, 200u);
    database_.run("update app.sessions set expires_at = now() where token_hash = sha256('" + expired_.token + "')");
    revoked_.token = log_in("a.owner");
    EXPECT_EQ(revoked_.del("/session").status, 204u);

    // A task and a project that are gone while their organization is not; then an organization that is.
    populate();
    gone_.task = own.task;
    EXPECT_EQ(owner.del("/tasks/" + gone_.task).status, 204u);
    gone_.project = make_project(owner, own.organization);
    EXPECT_EQ(owner.del("/projects/" + gone_.project).status, 204u);
    own.renew();
    gone_.organization = own.organization;
    gone_.invitation = own.invitation;
    delete_again();
    renew();
  }

  Client& as(Actor who) {
    switch (who) {
      case Actor::nobody: return nobody_;
      case Actor::unverified: return *people_["unverified"];
      case Actor::unattached: return *people_["unattached"];
      case Actor::member: return own.as(Access::member);
      case Actor::manager: return own.as(Access::manager);
      case Actor::admin: return own.as(Access::admin);
      case Actor::owner: return own.as(Access::owner);
      case Actor::stranger: return other.as(Access::owner);
      case Actor::suspended: return *people_["suspended"];
      case Actor::removed: return *people_["removed"];
      case Actor::dormant: return inactive_.as(Access::member);
      case Actor::server_manager: return *people_["root.manager"];
      case Actor::server_admin: return *people_["root.admin"];
      case Actor::expired: return expired_;
      default: return revoked_;
    }
  }
  const World& home(Actor who) const {
    return who == Actor::stranger ? other : who == Actor::dormant ? inactive_ : own;
  }

  // Whatever was consumed is there again.
  void renew() {
    own.renew();
    other.renew();
    populate();
    for (auto& [name, client] : people_)
      if (name != "suspended" && client->get("/me").status == 401) client->token = log_in(name);
    auto& dormant = inactive_.as(Access::member);
    if (dormant.get("/me").status == 401) dormant.token = log_in("c.member");
  }
  // After somebody has restored it.
  void delete_again() { EXPECT_EQ(own.as(Access::owner).del("/organizations/" + gone_.organization).status, 204u); }

  // All the ways in which somebody can ask for the operation.
  std::vector<Ask> asks(const Endpoint& endpoint, Actor who) {
    const auto& names = endpoint.path_names;
    const bool known = endpoint.spec.allow == Access::anonymous || lives(who), permitted = may(endpoint, who);
    const bool sees = rank_in(endpoint.spec.allow) == 0 || rank_of(who) > 0;
    const auto if_known = [&](Answer answer) { return known ? answer : Answer::unauthenticated; };
    const auto mine = own_ids(endpoint, who);
    std::vector<Ask> all;
    const auto add = [&](std::string state, Ids ids, Answer answer, int alike) {
      Ask ask;
      ask.state = std::move(state);
      ask.ids = std::move(ids);
      ask.answer = answer;
      ask.alike = alike;
      all.push_back(std::move(ask));
    };
    const auto at_home = permitted ? Answer::served : if_known(sees ? Answer::forbidden : Answer::hidden);
    add("own", mine, at_home, at_home == Answer::hidden ? 1 : 0);
    if (names.empty()) return all;

    // Whoever has no role on the server is refused before it is looked for; who has one sees all that there is.
    const bool of_server = api::server_rank(endpoint.spec.allow) > 0;
    const auto hidden = if_known(of_server && !permitted ? Answer::forbidden : Answer::hidden);
    Ids foreign, gone, random;
    for (const auto& name : names) {
      foreign.emplace_back(name, foreign_home(who).id_of(name));
      gone.emplace_back(name, gone_id(name, who));
      random.emplace_back(name, Uuid::make().text());
    }
    const bool outlives = has(endpoint, Beside::when_deleted) && permitted && who != Actor::stranger;
    if (!of_server || !permitted) {
      add("foreign", foreign, hidden, 1);
      const bool itself = outlives && names.size() == 1;
      add("deleted", gone, itself ? Answer::served : hidden, itself ? 0 : 1);
    }
    add("random", random, hidden, 1);
    const auto first = [&](std::string id) {
      auto ids = mine;
      ids[0].second = std::move(id);
      return ids;
    };
    add("malformed", first("not-an-id"), hidden, 1);
    add("another type's", first(another_type(names[0], who)), hidden, 1);
    if (names.size() < 2) return all;

    const auto inner = if_known(!sees || permitted ? Answer::hidden : Answer::closed);
    const auto second = [&](std::string id) {
      auto ids = mine;
      ids[1].second = std::move(id);
      return ids;
    };
    add("foreign in own", second(foreign[1].second), inner, 2);
    add("deleted in own", second(gone[1].second), outlives ? Answer::served : inner, outlives ? 0 : 2);
    add("random in own", second(random[1].second), inner, 2);
    add("another type's in own", second(another_type(names[1], who)), inner, 2);
    add("malformed in own", second("not-an-id"), hidden, 0);
    return all;
  }

  Ids own_ids(const Endpoint& endpoint, Actor who) {
    Ids ids;
    for (const auto& name : endpoint.path_names) ids.emplace_back(name, own_id(name, who));
    return ids;
  }

  Stack stack;
  World own{stack, "a"}, other{stack, "b"};

 private:
  std::string log_in(const std::string& name) {
    return text_of(stack.client().post("/sessions", fmt::format(R"({{"email":"{}","password":"{}"}})",
                                                                Stack::email(name), Stack::password)),
                   "token");
  }
  // Who was removed has been there, who is suspended still is.
  void populate() {
    auto& owner = own.as(Access::owner);
    const auto members = "/organizations/" + own.organization + "/members";
    made(owner.post(members, R"({"email":"removed@example.org"})"), "user_id");
    EXPECT_EQ(owner.del(members + "/" + removed_).status, 204u);
    database_.run(
        fmt::format("insert into user_organizations (user_id, organization_id, role) values ('{}', '{}', "
                    "'owner')",
                    suspended_, own.organization));
  }
  const World& foreign_home(Actor who) const { return who == Actor::stranger ? own : other; }

  // What is one's own about an account is made when it is asked for, since it may be gone.
  std::string own_id(const std::string& name, Actor who) {
    if (name == "session" || name == "token") return lives(who) ? personal(name, who) : own.id_of(name);
    return home(who).id_of(name);
  }
  std::string gone_id(const std::string& name, Actor who) {
    if (name == "organization") return gone_.organization;
    if (name == "project") return gone_.project;
    if (name == "task") return gone_.task;
    if (name == "invitation") return gone_.invitation;
    if (name == "user") return removed_;
    if (name == "entity") return removed_;  // what the trash does not hold
    if (!lives(who)) return own.id_of(name);
    auto id = personal(name, who);
    EXPECT_EQ(as(who).del(fmt::format("/me/{}s/{}", name, id)).status, 204u);
    return id;
  }
  std::string personal(const std::string& name, Actor who) {
    auto& client = as(who);
    if (name == "token") return made(client.post("/me/tokens", R"({"name":"robot","scopes":["read"]})"));
    std::string email = text_of(client.get("/me"), "email");
    const auto device = stack.with_token(log_in(email.substr(0, email.find('@'))));
    for (const auto& session : device->all("/me/sessions"))
      if (text_of(session, "current") == "true") return text_of(session, "id");
    return {};
  }
  std::string another_type(const std::string& name, Actor who) const {
    return name == "task" ? home(who).project : home(who).task;
  }

  struct Gone {
    Gone() = default;
    std::string organization, project, task, invitation;
  };

  World inactive_{stack, "c"};
  Database database_ = stack.database();
  Client nobody_ = stack.client(), expired_ = stack.client(), revoked_ = stack.client();
  std::map<std::string, std::unique_ptr<Client>> people_;
  std::string removed_, suspended_;
  Gone gone_;
};

class Matrix : public testing::Test {
 protected:
  Reply send(const Endpoint& endpoint, Actor who, const Ids& ids, const std::string& body) {
    ++requests;
    auto reply = everybody.as(who).send(method_of(endpoint), path_with(endpoint, ids), body, same_id);
    EXPECT_EQ(reply.header("cache-control"), "no-store");
    return reply;
  }
  static bool as_expected(Answer answer, unsigned status) {
    switch (answer) {
      case Answer::served: return status < 300;
      case Answer::unauthenticated: return status == 401;
      case Answer::forbidden: return status == 403;
      case Answer::hidden: return status == 404;
      default: return status == 403 || status == 404;
    }
  }
  void expect_refused(const Endpoint& endpoint, Actor who, const std::vector<Ask>& asks, const std::string& body) {
    std::map<int, std::string> first;
    for (const auto& ask : asks) {
      if (ask.answer == Answer::served) continue;
      SCOPED_TRACE(ask.state);
      const auto reply = send(endpoint, who, ask.ids, body);
      EXPECT_TRUE(as_expected(ask.answer, reply.status)) << reply.status << " " << reply.body;
      if (ask.alike == 0 || ask.answer == Answer::unauthenticated) continue;
      const auto [known, is_new] = first.emplace(ask.alike, essence(reply));
      if (!is_new) { EXPECT_EQ(essence(reply), known->second); }
    }
  }
  // Who may, after somebody else has: then what they need may have to be made anew.
  void expect_served(const Endpoint& endpoint, Actor who) {
    const auto ask = [&] { return send(endpoint, who, everybody.own_ids(endpoint, who), body(endpoint, who)); };
    auto reply = ask();
    if (!served(endpoint, who, reply) && dirty) {
      everybody.renew();
      dirty = false;
      reply = ask();
    }
    EXPECT_TRUE(served(endpoint, who, reply)) << reply.status << " " << reply.body;
    dirty = dirty || !api::endpoint_reads(endpoint.method);
  }
  static bool served(const Endpoint& endpoint, Actor who, const Reply& reply) {
    if (endpoint.spec.id == "verification.request" && who != Actor::unverified)
      return code(reply) == "already_verified";
    if (has(endpoint, Beside::invited) && who != Actor::owner && who != Actor::stranger)
      return code(reply) == "other_account";
    return reply.status < 300;
  }
  std::string body(const Endpoint& endpoint, Actor who) const { return everybody.home(who).body(endpoint); }

  Everybody everybody;
  Database database = everybody.stack.database();
  unsigned requests = 0;
  bool dirty = false;
};

TEST_F(Matrix, HoldsForEveryOperationActorAndState) {
  const auto endpoints = everybody.stack.server().api().endpoints();
  for (const auto& endpoint : endpoints) {
    SCOPED_TRACE(endpoint->spec.id);
    // Some of what is asked for is made for that: before.
    std::vector<std::vector<Ask>> asks;
    std::vector<std::string> bodies;
    for (const auto& [actor, title] : columns) {
      asks.push_back(everybody.asks(*endpoint, actor));
      bodies.push_back(body(*endpoint, actor));
    }
    const auto before = database.digest();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      SCOPED_TRACE(columns.at(i).title);
      expect_refused(*endpoint, columns.at(i).actor, asks[i], bodies[i]);
    }
    EXPECT_EQ(database.digest(), before) << "refused, and yet something has changed";

    for (const auto& [actor, title] : columns) {
      if (!may(*endpoint, actor)) continue;
      SCOPED_TRACE(title);
      if (!World::is_done_once(*endpoint)) {
        expect_served(*endpoint, actor);
      } else if (actor == Actor::owner) {
        const auto reply = everybody.own.call(*endpoint, everybody.own.as(Access::owner));
        EXPECT_LT(reply.status, 300u) << reply.body;
      }
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
      for (const auto& ask : asks[i]) {
        if (ask.answer != Answer::served || !ask.state.starts_with("deleted")) continue;
        SCOPED_TRACE(columns.at(i).title);
        const auto reply = send(*endpoint, columns.at(i).actor, ask.ids, {});
        EXPECT_LT(reply.status, 300u) << reply.body;
        if (!api::endpoint_reads(endpoint->method)) everybody.delete_again();
      }
    }
    if (dirty) everybody.renew();
    dirty = false;
  }
  std::cout << fmt::format("{} operations, {} requests\n", endpoints.size(), requests);
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(Matrix, LetsPeopleDoAboutThemselvesWhatItSays) {
  for (const auto& endpoint : everybody.stack.server().api().endpoints()) {
    if (endpoint->path_names.size() != 2 || endpoint->path_names[1] != "user") continue;
    SCOPED_TRACE(endpoint->spec.id);
    for (const auto actor : {Actor::member, Actor::manager}) {
      auto& client = everybody.as(actor);
      auto ids = everybody.own_ids(*endpoint, actor);
      ids[1].second = me(client);
      if (ids[0].first == "project")
        made(add_to_project(everybody.as(Actor::owner), ids[0].second, ids[1].second, "viewer"), "user_id");
      const auto before = database.digest();
      const auto reply = send(*endpoint, actor, ids, body(*endpoint, actor));
      if (may(*endpoint, actor) || has(*endpoint, Beside::oneself)) {
        EXPECT_LT(reply.status, 300u) << reply.body;
      } else {
        EXPECT_EQ(reply.status, 403u) << reply.body;
        EXPECT_EQ(database.digest(), before);
      }
      everybody.renew();
    }
  }
}

TEST_F(Matrix, LetsWhoCreatedATaskTakeItBack) {
  auto& member = everybody.as(Actor::member);
  const auto task = make_task(member, everybody.own.project);
  EXPECT_EQ(member.del("/tasks/" + everybody.own.task).status, 403u);
  EXPECT_EQ(member.del("/tasks/" + task).status, 204u);
}

// -- what is in bodies

const bj::object& resolved(const bj::object& schema, const bj::value& document) {
  const auto* reference = schema.if_contains("$ref");
  if (!reference) return schema;
  const std::string_view name(reference->as_string());
  return document.at("components").at("schemas").at(name.substr(name.rfind('/') + 1)).as_object();
}

// Where ids are in what a schema describes: paths of member names, "" standing for the elements of an array.
void find_ids(const bj::object& given, const bj::value& document, const std::vector<std::string>& at,
              std::vector<std::vector<std::string>>& found) {
  const auto& schema = resolved(given, document);
  if (const auto* format = schema.if_contains("format"); format && *format == bj::value("uuid")) found.push_back(at);
  const auto inner = [&](const bj::object& part, const std::string& name) {
    auto path = at;
    path.push_back(name);
    find_ids(part, document, path, found);
  };
  if (const auto* properties = schema.if_contains("properties"))
    for (const auto& property : properties->as_object()) inner(property.value().as_object(), property.key());
  if (const auto* items = schema.if_contains("items")) inner(items->as_object(), "");
  if (const auto* choices = schema.if_contains("anyOf"))
    for (const auto& choice : choices->as_array()) find_ids(choice.as_object(), document, at, found);
}

const bj::object* body_schema(const Stack& stack, const Endpoint& endpoint) {
  const auto& operation =
      *stack.contract().operation(method_of(endpoint), fmt::format("{}{}", api::prefix, endpoint.path));
  const auto* body = operation.if_contains("requestBody");
  if (!body) return nullptr;
  return &resolved(body->at("content").at("application/json").at("schema").as_object(), stack.contract().document());
}

TEST_F(Matrix, TakesInBodiesNoThingThatTheCallerCannotSee) {
  auto& stack = everybody.stack;
  auto& own = everybody.own;
  const auto& document = stack.contract().document();
  // What an id in a body may be of, by its name.
  const auto id_in = [](const World& world, const std::string& name) {
    if (name == "organization_id") return world.organization;
    if (name == "project_id") return world.project;
    if (name == "task_id" || name == "parent_id") return world.task;
    if (name == "user_id" || name == "assigned_to") return world.user;
    ADD_FAILURE() << "no example of a " << name << " in a body";
    return std::string();
  };
  unsigned references = 0;
  for (const auto& endpoint : stack.server().api().endpoints()) {
    const auto* schema = body_schema(stack, *endpoint);
    // An undo names what to look for in its organization's record, which nothing else is in.
    if (!schema || endpoint->spec.id == "undo.run") continue;
    std::vector<std::vector<std::string>> found;
    find_ids(*schema, document, {}, found);
    for (const auto& path : found) {
      SCOPED_TRACE(fmt::format("{} {}", endpoint->spec.id, fmt::join(path, "/")));
      ++references;
      const auto leaf = path.back();
      const auto body_with = [&](const std::string& id) {
        auto body = bj::parse(own.body(*endpoint)).as_object();
        bj::value inner = bj::string(id);
        for (auto name = path.rbegin(); name + 1 != path.rend(); ++name) {
          bj::object object;
          if (*name == "project_id") object["role"] = "viewer";
          object[*name] = inner;
          inner = name->empty() ? bj::value(bj::array{inner}) : bj::value(object);
        }
        body[path.front()] = inner;
        return bj::serialize(body);
      };
      const auto ask = [&](const std::string& id) {
        return own.as(Access::owner).send(method_of(*endpoint), own.path(*endpoint), body_with(id), same_id);
      };
      if (endpoint->spec.id == "project_member.add") {
        EXPECT_EQ(own.as(Access::owner).del("/projects/" + own.project + "/members/" + own.user).status, 204u);
      }
      const auto before = database.digest();
      const auto foreign = ask(id_in(everybody.other, leaf)), random = ask(Uuid::make().text());
      EXPECT_EQ(random.status, 422u) << random.body;
      // What is said of the body's other members does not matter: they are the same.
      EXPECT_EQ(essence(foreign), essence(random));
      EXPECT_EQ(database.digest(), before);
      const auto reply = ask(id_in(own, leaf));
      EXPECT_LT(reply.status, 300u) << reply.body;
      everybody.renew();
    }
  }
  EXPECT_GE(references, 6u);
}

TEST_F(Matrix, TakesInBodiesNothingThatIsOnlyRead) {
  auto& stack = everybody.stack;
  auto& own = everybody.own;
  const auto& document = stack.contract().document();
  std::set<std::string> names{"access_version", "password_hash", "token_hash", "deleted_at",
                              "rights",         "denied",        "open",       "active",
                              "email_verified", "last_login_at", "role_rank"};
  for (const auto& schema : document.at("components").at("schemas").as_object())
    if (const auto* properties = schema.value().as_object().if_contains("properties"))
      for (const auto& property : properties->as_object()) names.insert(property.key());
  unsigned refused = 0;
  for (const auto& endpoint : stack.server().api().endpoints()) {
    const auto* schema = body_schema(stack, *endpoint);
    if (!schema) continue;
    SCOPED_TRACE(endpoint->spec.id);
    auto& client = own.as(endpoint->spec.allow);
    const auto path = own.path(*endpoint);
    const auto valid = bj::parse(own.body(*endpoint)).as_object();
    const auto before = database.digest();
    const auto try_with = [&](const std::set<std::string>& more) {
      auto body = valid;
      for (const auto& name : more) body[name] = "x";
      const auto reply = client.send(method_of(*endpoint), path, bj::serialize(body));
      EXPECT_EQ(reply.status, 422u) << reply.body;
      std::set<std::string> named;
      const auto answer = reply.json();
      const auto* errors = answer.as_object().if_contains("errors");
      if (!errors) return named;
      for (const auto& error : errors->as_array())
        if (text_of(error, "code") == "unknown_member") named.insert(text_of(error, "pointer").substr(1));
      return named;
    };
    std::set<std::string> foreign;
    for (const auto& name : names)
      if (!schema->at("properties").as_object().contains(name)) foreign.insert(name);
    const auto all = try_with(foreign);
    EXPECT_FALSE(all.empty());
    for (const std::string name :
         {"id", "organization_id", "created_by", "created_at", "updated_at", "version", "rights", "email_verified"}) {
      if (!foreign.contains(name)) continue;
      ++refused;
      EXPECT_EQ(try_with({name}), std::set<std::string>{name});
    }
    EXPECT_EQ(database.digest(), before);
  }
  EXPECT_GT(refused, 150u);
}

// The names of the ids that an operation takes in its query.
std::vector<std::string> ids_in_query(const Stack& stack, const Endpoint& endpoint) {
  std::vector<std::string> names;
  const auto& operation =
      *stack.contract().operation(method_of(endpoint), fmt::format("{}{}", api::prefix, endpoint.path));
  const auto* parameters = operation.if_contains("parameters");
  if (!parameters) return names;
  for (const auto& parameter : parameters->as_array()) {
    std::vector<std::vector<std::string>> found;
    find_ids(parameter.at("schema").as_object(), stack.contract().document(), {}, found);
    if (!found.empty() && text_of(parameter, "in") == "query") names.push_back(text_of(parameter, "name"));
  }
  return names;
}

TEST_F(Matrix, FindsByQueriesNoThingThatTheCallerCannotSee) {
  auto& own = everybody.own;
  const auto& other = everybody.other;
  unsigned references = 0;
  for (const auto& endpoint : everybody.stack.server().api().endpoints()) {
    for (const auto& name : ids_in_query(everybody.stack, *endpoint)) {
      SCOPED_TRACE(fmt::format("{} {}", endpoint->spec.id, name));
      // Who has a role on the server sees all that there is.
      if (api::server_rank(endpoint->spec.allow) > 0) continue;
      ++references;
      const auto path = own.path(*endpoint);
      const auto ask = [&](const std::string& id) {
        const auto reply =
            own.as(Access::owner)
                .send("GET", fmt::format("{}{}{}={}", path, path.find('?') == path.npos ? '?' : '&', name, id), {},
                      same_id);
        auto text = essence(reply);
        for (auto at = text.find(id); at != text.npos; at = text.find(id)) text.replace(at, id.size(), "...");
        return text;
      };
      const auto random = ask(Uuid::make().text());
      for (const auto& id : {other.project, other.task, other.user, other.api_token, me(other.as(Access::owner))})
        EXPECT_EQ(ask(id), random);
    }
  }
  EXPECT_GE(references, 10u);
}

TEST_F(Matrix, TellsWhoLostTheirSessionThatBeforeWhatIsWrongWithTheirRequest) {
  for (const auto& endpoint : everybody.stack.server().api().endpoints()) {
    if (endpoint->spec.allow == Access::anonymous) continue;
    SCOPED_TRACE(endpoint->spec.id);
    const auto path = everybody.own.path(*endpoint);
    const auto with = path + (path.find('?') == path.npos ? '?' : '&');
    for (const auto actor : {Actor::expired, Actor::revoked}) {
      auto& client = everybody.as(actor);
      if (takes_body(*endpoint)) {
        EXPECT_EQ(client.send(method_of(*endpoint), path, "{").status, 401u);
        EXPECT_EQ(client.send(method_of(*endpoint), path, R"({"nothing":[]})").status, 401u);
      } else {
        EXPECT_EQ(client.send(method_of(*endpoint), with + "nothing=1").status, 401u);
        EXPECT_EQ(client.send(method_of(*endpoint), with + "cursor=nothing").status, 401u);
      }
    }
  }
}

// -- roles

class TheLatticeOfRoles : public testing::Test {
 protected:
  static constexpr std::array<std::string_view, 4> roles{"member", "manager", "admin", "owner"};
  static constexpr std::array<Access, 4> actors{Access::member, Access::manager, Access::admin, Access::owner};

  void set_role(const std::string& user, std::string_view role) {
    database.run(
        fmt::format("update user_organizations set role = '{}', permissions = '[]' where user_id = '{}' and "
                    "organization_id = '{}'",
                    role, user, world.organization));
  }
  std::string role_of(const std::string& user) {
    return database.value(
        fmt::format("select role from user_organizations where user_id = '{}' and "
                    "organization_id = '{}'",
                    user, world.organization));
  }
  // Nobody below administrators changes members, and nobody reaches above themselves.
  static bool allowed(std::size_t actor, std::size_t highest) { return actor >= 2 && actor >= highest; }

  Stack stack;
  World world{stack, "a"};
  Database database = stack.database();
  std::string members = "/organizations/" + world.organization + "/members";
};

TEST_F(TheLatticeOfRoles, LetsNobodyChangeOrMakeSomebodyAboveThemselves) {
  for (std::size_t actor = 0; actor < 4; ++actor)
    for (std::size_t target = 0; target < 4; ++target)
      for (std::size_t wanted = 0; wanted < 4; ++wanted) {
        SCOPED_TRACE(fmt::format("{} makes {} {}", roles[actor], roles[target], roles[wanted]));
        set_role(world.user, roles[target]);
        const bool ok = allowed(actor, std::max(target, wanted));
        const auto before = ok ? std::string() : database.digest();
        const auto reply =
            world.as(actors[actor]).patch(members + "/" + world.user, fmt::format(R"({{"role":"{}"}})", roles[wanted]));
        EXPECT_EQ(reply.status, ok ? 200u : 403u) << reply.body;
        EXPECT_EQ(role_of(world.user), ok ? roles[wanted] : roles[target]);
        if (!ok) { EXPECT_EQ(database.digest(), before); }
      }
}

TEST_F(TheLatticeOfRoles, LetsNobodyRaiseThemselvesAndKeepsTheLastOwner) {
  for (const bool alone : {false, true}) {
    set_role(world.user, alone ? "member" : "owner");
    for (std::size_t actor = 0; actor < 4; ++actor)
      for (std::size_t wanted = 0; wanted < 4; ++wanted) {
        SCOPED_TRACE(fmt::format("{} makes themselves {}", roles[actor], roles[wanted]));
        auto& client = world.as(actors[actor]);
        const auto id = me(client);
        const auto reply = client.patch(members + "/" + id, fmt::format(R"({{"role":"{}"}})", roles[wanted]));
        const bool last = alone && actor == 3 && wanted != 3;
        EXPECT_EQ(reply.status, !allowed(actor, wanted) ? 403u : last ? 409u : 200u) << reply.body;
        if (last) { EXPECT_EQ(code(reply), "last_owner"); }
        set_role(id, roles[actor]);
      }
  }
  auto& owner = world.as(Access::owner);
  EXPECT_EQ(code(owner.del(members + "/" + me(owner))), "last_owner");
  EXPECT_EQ(world.as(Access::admin).del(members + "/" + me(owner)).status, 403u);
  EXPECT_EQ(code(owner.post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password))), "last_owner");
}

TEST_F(TheLatticeOfRoles, HoldsForNewMembersInvitationsAndRemovals) {
  for (std::size_t actor = 0; actor < 4; ++actor)
    for (std::size_t given = 0; given < 4; ++given) {
      SCOPED_TRACE(fmt::format("{} and {}", roles[actor], roles[given]));
      auto& client = world.as(actors[actor]);
      const bool ok = allowed(actor, given);
      const auto added = client.post(
          members, fmt::format(R"({{"email":"{}","role":"{}"}})", Stack::email("a.newcomer"), roles[given]));
      EXPECT_EQ(added.status, ok ? 201u : 403u) << added.body;
      const auto invited =
          client.post("/organizations/" + world.organization + "/invitations",
                      fmt::format(R"({{"email":"i{}{}@example.org","role":"{}"}})", actor, given, roles[given]));
      EXPECT_EQ(invited.status, ok ? 201u : 403u) << invited.body;
      if (!ok) {
        set_role(world.user, roles[given]);
        EXPECT_EQ(client.del(members + "/" + world.user).status, 403u);
        EXPECT_EQ(role_of(world.user), roles[given]);
      } else {
        EXPECT_EQ(client.del(members + "/" + text_of(added, "user_id")).status, 204u);
      }
    }
}

}  // namespace
}  // namespace cairn
