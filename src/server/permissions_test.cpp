// Who may do what, as stories over HTTP: permissions by name, private projects and their roles, explanations.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <fstream>
#include <random>
#include <sstream>

#include "organization/permission.hpp"
#include "support/record.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace support;

// -- the list of permissions

TEST(ThePermissions, AreTheSameInTheCodeAndInTheDatabase) {
  const Stack stack;
  std::vector<std::vector<std::string>> known;
  for (const auto& permission : organization::permission::all)
    known.push_back({std::string(permission.name), std::to_string(permission.bit)});
  EXPECT_EQ(known, stack.database().rows("select name, bit from app.permissions order by bit"));
}

TEST(ThePermissions, AreDocumentedAsTheyAre) {
  const Stack stack;
  std::ifstream file(CAIRN_DOCS "/authorization.md");
  std::stringstream page;
  page << file.rdbuf();
  const auto table = [](const std::vector<std::vector<std::string>>& rows) {
    std::string text;
    for (const auto& row : rows) {
      text += "|";
      for (const auto& cell : row) text += cell.empty() ? " |" : " " + cell + " |";
      text += "\n";
    }
    return text;
  };
  const auto roles = table(stack.database().rows(R"sql(
    select '`' || name || '`', description, case when 'member' = any (roles) then '✓' else '' end,
           case when 'manager' = any (roles) then '✓' else '' end, case when 'admin' = any (roles) then '✓' else '' end,
           case when 'owner' = any (roles) then '✓' else '' end
    from app.permissions order by bit)sql"));
  const auto project_roles = table(stack.database().rows(R"sql(
    select '`' || name || '`', case when 'viewer' = any (project_roles) then '✓' else '' end,
           case when 'contributor' = any (project_roles) then '✓' else '' end,
           case when 'lead' = any (project_roles) then '✓' else '' end
    from app.permissions where project_roles <> '{}' order by bit)sql"));
  EXPECT_NE(page.str().find(roles), std::string::npos) << "docs/authorization.md needs:\n" << roles;
  EXPECT_NE(page.str().find(project_roles), std::string::npos) << "docs/authorization.md needs:\n" << project_roles;
}

// -- permissions of members

class AMember : public testing::Test {
 protected:
  Reply change(Client& by, const std::string& whom, std::string_view body) {
    return by.patch("/organizations/" + organization + "/members/" + whom, body);
  }
  std::string own(Client& who) {
    return text_of(who.get("/organizations/" + organization + "/permissions"), "permissions");
  }
  std::string rule(Client& asker, const std::string& whom, const std::string& query) {
    const auto reply =
        asker.get("/organizations/" + organization + "/members/" + whom + "/permissions/explain?permission=" + query);
    EXPECT_EQ(reply.status, 200u) << reply.body;
    return text_of(reply, "rule") + (text_of(reply, "allowed") == "true" ? " yes" : " no");
  }

  const Stack stack;
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme");
  std::unique_ptr<Client> amy = colleague(stack, *ada, organization, "amy", "admin");
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
};

TEST_F(AMember, IsGrantedAndDeniedPermissionsByNameFromTheNextRequestOn) {
  const auto project = make_project(*ada, organization);
  const auto task = make_task(*ada, project);
  EXPECT_EQ(own(*bob), R"(["task.create","task.edit"])");
  EXPECT_EQ(bob->del("/tasks/" + task).status, 403u);
  const auto granted = change(*amy, me(*bob), R"({"permissions":["task.delete","-task.create"]})");
  ASSERT_EQ(granted.status, 200u) << granted.body;
  EXPECT_EQ(text_of(granted, "permissions"), R"(["-task.create","task.delete"])");
  EXPECT_EQ(text_of(granted, "role"), "member");
  EXPECT_EQ(own(*bob), R"(["task.edit","task.delete"])");
  EXPECT_EQ(bob->post("/projects/" + project + "/tasks", R"({"title":"x"})").status, 403u);
  EXPECT_EQ(bob->del("/tasks/" + task).status, 204u);
  EXPECT_EQ(change(*amy, me(*bob), R"({"permissions":[]})").status, 200u);
  EXPECT_EQ(own(*bob), R"(["task.create","task.edit"])");
  make_task(*bob, project);
}

TEST_F(AMember, IsToldWhichNameIsNoPermission) {
  const auto refused = change(
      *amy, me(*bob), R"({"permissions":["task.edit","-task.edit","task.delete","task.destroy","--task.edit"]})");
  EXPECT_EQ(refused.status, 422u);
  EXPECT_EQ(pointer(refused), "/permissions/3");
  EXPECT_EQ(text_of(refused.json().at("errors").at(1), "pointer"), "/permissions/4");
  const auto contradictory = change(*amy, me(*bob), R"({"permissions":["task.edit","-task.edit"]})");
  EXPECT_EQ(contradictory.status, 422u) << contradictory.body;
  EXPECT_EQ(code(contradictory), "contradictory");
  EXPECT_EQ(code(change(*ada, me(*ada), R"({"permissions":["-organization.delete"]})")), "owner_undenied");
}

TEST_F(AMember, GrantsNothingThatTheyMayNotDoThemselves) {
  EXPECT_EQ(change(*amy, me(*bob), R"({"permissions":["organization.delete"]})").status, 403u);
  // An administrator who may not delete tasks makes nobody delete them, by name or by role.
  EXPECT_EQ(change(*ada, me(*amy), R"({"permissions":["-task.delete"]})").status, 200u);
  const auto refused = change(*amy, me(*bob), R"({"permissions":["task.delete"]})");
  EXPECT_EQ(refused.status, 403u);
  EXPECT_NE(text_of(refused, "detail").find("task.delete"), std::string::npos);
  EXPECT_EQ(change(*amy, me(*bob), R"({"role":"manager"})").status, 403u);
  EXPECT_EQ(change(*amy, me(*amy), R"({"permissions":[]})").status, 403u);
  const auto carl = stack.person("carl");
  EXPECT_EQ(amy->post("/organizations/" + organization + "/members", R"({"email":"carl@example.org","role":"manager"})")
                .status,
            403u);
  EXPECT_EQ(amy->post("/organizations/" + organization + "/members", R"({"email":"carl@example.org"})").status, 201u);
  EXPECT_EQ(change(*amy, me(*bob), R"({"role":"manager","permissions":["-task.delete"]})").status, 200u);
  // Whoever may edit members by name still changes nobody above them.
  EXPECT_EQ(change(*ada, me(*bob), R"({"permissions":["member.edit"]})").status, 200u);
  EXPECT_EQ(change(*bob, me(*amy), R"({"permissions":[]})").status, 403u);
  EXPECT_EQ(change(*bob, me(*carl), R"({"permissions":["-task.edit"]})").status, 200u);
  EXPECT_EQ(change(*bob, me(*carl), R"({"role":"admin"})").status, 403u);
}

TEST_F(AMember, CanBeToldWhyTheyMayOrMayNot) {
  const auto user = me(*bob);
  EXPECT_EQ(rule(*bob, user, "task.edit"), "role yes");
  EXPECT_EQ(rule(*bob, user, "task.delete"), "none no");
  change(*ada, user, R"({"permissions":["task.delete","-task.edit"]})");
  EXPECT_EQ(rule(*bob, user, "task.delete"), "granted yes");
  EXPECT_EQ(rule(*amy, user, "task.edit"), "denied no");
  const auto open = make_project(*ada, organization), hidden = make_project(*ada, organization, "private");
  EXPECT_EQ(rule(*amy, user, "project.edit&project=" + hidden), "private_project no");
  EXPECT_EQ(rule(*amy, user, "project.edit&project=" + open), "none no");
  for (const auto& project : {open, hidden}) EXPECT_EQ(add_to_project(*ada, project, user, "lead").status, 201u);
  EXPECT_EQ(rule(*bob, user, "project.edit&project=" + hidden), "project_role yes");
  EXPECT_EQ(rule(*bob, user, "project.edit&project=" + open), "project_role yes");
  EXPECT_EQ(rule(*bob, user, "task.edit&project=" + hidden), "denied no");
  EXPECT_EQ(rule(*ada, me(*amy), "task.delete&project=" + hidden), "role yes");

  const auto explain = "/organizations/" + organization + "/members/" + me(*amy) + "/permissions";
  EXPECT_EQ(bob->get(explain + "/explain?permission=task.edit").status, 403u);
  EXPECT_EQ(bob->get(explain).status, 403u);
  EXPECT_EQ(amy->get(explain + "/explain?permission=task").status, 422u);
  EXPECT_EQ(amy->get(explain + "/explain?permission=task.edit&project=" + Uuid::make().text()).status, 404u);
  const auto stranger = stack.person("stranger");
  EXPECT_EQ(amy->get("/organizations/" + organization + "/members/" + me(*stranger) + "/permissions").status, 404u);
  EXPECT_EQ(amy->get("/organizations/" + organization + "/members/" + user + "/permissions").json(),
            bob->get("/organizations/" + organization + "/permissions").json());
}

// -- what Redis keeps of them

TEST_F(AMember, IsNeverShownPermissionsThatRedisStillHasOfBefore) {
  const auto user = me(*bob), key = "permissions:user:" + user + ":org:" + organization;
  change(*ada, user, R"({"role":"admin"})");
  const auto before = own(*bob);
  const auto kept = support::redis({"GET", key});
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_LE(std::stoi(support::redis({"TTL", key}).front()), 30 * 60);
  EXPECT_EQ(own(*bob), before);
  change(*ada, user, R"({"role":"member"})");
  EXPECT_EQ(own(*bob), R"(["task.create","task.edit"])");
  support::redis({"SET", key, kept[0]});  // as from an old snapshot
  EXPECT_EQ(own(*bob), R"(["task.create","task.edit"])");
  // Who left and came back has a membership whose versions begin anew.
  ada->del("/organizations/" + organization + "/members/" + user);
  ada->post("/organizations/" + organization + "/members", R"({"email":"bob@example.org"})");
  change(*ada, user, R"({"permissions":["-task.edit"]})");
  support::redis({"SET", key, kept[0]});
  EXPECT_EQ(own(*bob), R"(["task.create"])");
  for (const auto& junk : {"", "[]", "{", R"({"stamp":"","permissions":{}})"}) {
    support::redis({"SET", key, junk});
    EXPECT_EQ(own(*bob), R"(["task.create"])");
  }
  support::redis({"DEL", key});
  support::redis({"HSET", key, "a", "b"});
  EXPECT_EQ(own(*bob), R"(["task.create"])");
  // Roles in projects are a part of it.
  const auto project = make_project(*ada, organization);
  support::redis({"DEL", key});
  EXPECT_EQ(own(*bob), R"(["task.create"])");
  EXPECT_EQ(add_to_project(*ada, project, user, "lead").status, 201u);
  const auto shown = bob->get("/organizations/" + organization + "/permissions");
  EXPECT_EQ(text_of(shown.json().at("projects").at(0), "role"), "lead");
  EXPECT_EQ(text_of(shown.json().at("projects").at(0), "permissions"),
            R"(["task.create","task.delete","project.edit","project.members"])");
}

TEST_F(AMember, IsShownTheirPermissionsWhileRedisDoesNotAnswer) {
  own(*bob);
  support::redis({"CLIENT", "PAUSE", "1500"});
  change(*ada, me(*bob), R"({"role":"manager"})");
  EXPECT_NE(own(*bob).find("project.create"), std::string::npos);
  support::redis({"PING"});
  while (bob->get("//readyz").body.find("degraded") != std::string::npos) {}
}

// -- private projects

class APrivateProject : public testing::Test {
 protected:
  const Stack stack;
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme");
  std::unique_ptr<Client> amy = colleague(stack, *ada, organization, "amy", "admin");
  std::unique_ptr<Client> mia = colleague(stack, *ada, organization, "mia", "manager");
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
  std::string open = make_project(*ada, organization, "organization", "Open");
  std::string shared = make_task(*ada, open);
  std::string project = make_project(*mia, organization, "private", "Secret");
  std::string task = make_task(*mia, project);
  std::string members = "/projects/" + project + "/members";

  void expect_hidden_from(Client& who) {
    for (const auto& path :
         {"/projects/" + project, "/projects/" + project + "/counts", "/projects/" + project + "/tasks", members,
          members + "/" + me(*mia), "/projects/" + project + "/audit", "/tasks/" + task, "/tasks/" + task + "/audit"})
      EXPECT_EQ(who.get(path).status, 404u) << path;
    for (const auto& list : {"/projects", "/tasks"})
      EXPECT_EQ(who.all("/organizations/" + organization + list).size(), 1u) << list;
    EXPECT_EQ(who.patch("/projects/" + project, R"({"visibility":"organization"})").status, 404u);
    EXPECT_EQ(who.del("/projects/" + project).status, 404u);
    EXPECT_EQ(who.post("/projects/" + project + "/tasks", R"({"title":"x"})").status, 404u);
    EXPECT_EQ(who.patch("/tasks/" + task, R"({"title":"x"})").status, 404u);
    EXPECT_EQ(who.del("/tasks/" + task).status, 404u);
    EXPECT_EQ(add_to_project(who, project, me(who), "lead").status, 404u);
    EXPECT_EQ(who.patch(members + "/" + me(*mia), R"({"role":"viewer"})").status, 404u);
    EXPECT_EQ(who.del(members + "/" + me(*mia)).status, 404u);
  }
};

TEST_F(APrivateProject, IsSeenByItsMembersAndByAdministratorsOnly) {
  expect_hidden_from(*bob);
  const auto max = colleague(stack, *ada, organization, "max", "manager");
  expect_hidden_from(*max);
  for (auto* who : {mia.get(), amy.get(), ada.get()}) {
    EXPECT_EQ(text_of(who->get("/projects/" + project), "visibility"), "private");
    EXPECT_EQ(text_of(who->get("/projects/" + project + "/counts"), "total"), "1");
    EXPECT_EQ(who->all("/organizations/" + organization + "/projects").size(), 2u);
    EXPECT_EQ(who->all("/organizations/" + organization + "/tasks").size(), 2u);
    EXPECT_EQ(who->all("/tasks/" + task + "/audit").size(), 1u);
    EXPECT_EQ(text_of(who->all(members).front(), "role"), "lead");
  }
  EXPECT_EQ(amy->patch("/tasks/" + task, R"({"status":"done"})").status, 200u);
  EXPECT_EQ(bob->get("/tasks/" + shared).status, 200u);
  EXPECT_EQ(bob->patch("/tasks/" + shared, R"({"status":"done"})").status, 200u);
}

TEST_F(APrivateProject, IsWhatTheRoleInItSaysFromTheNextRequestOn) {
  const auto user = me(*bob), one = members + "/" + user;
  EXPECT_EQ(bob->get("/tasks/" + task).status, 404u);
  const auto added = add_to_project(*mia, project, user, "contributor");
  ASSERT_EQ(added.status, 201u) << added.body;
  EXPECT_EQ(bob->get(one).json(), added.json());
  EXPECT_EQ(code(add_to_project(*mia, project, user, "viewer")), "member_already");
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"status":"review"})").status, 200u);
  const auto own = make_task(*bob, project);
  EXPECT_EQ(bob->del("/tasks/" + task).status, 403u);
  EXPECT_EQ(bob->patch("/projects/" + project, R"({"name":"x"})").status, 403u);
  EXPECT_EQ(add_to_project(*bob, project, me(*amy), "viewer").status, 403u);
  EXPECT_EQ(bob->patch(one, R"({"role":"lead"})").status, 403u);
  EXPECT_EQ(bob->all("/organizations/" + organization + "/tasks").size(), 3u);
  EXPECT_EQ(bob->all("/tasks/" + task + "/audit").size(), 2u);

  // A viewer views, although a member may edit the tasks of other projects.
  EXPECT_EQ(mia->patch(one, R"({"role":"viewer"})").status, 200u);
  EXPECT_EQ(bob->get("/tasks/" + task).status, 200u);
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"status":"done"})").status, 403u);
  EXPECT_EQ(bob->del("/tasks/" + own).status, 403u);
  EXPECT_EQ(bob->post("/projects/" + project + "/tasks", R"({"title":"x"})").status, 403u);
  EXPECT_EQ(bob->patch("/tasks/" + shared, R"({"status":"done"})").status, 200u);

  EXPECT_EQ(mia->patch(one, R"({"role":"lead"})").status, 200u);
  EXPECT_EQ(bob->del("/tasks/" + task).status, 204u);
  EXPECT_EQ(bob->patch("/projects/" + project, R"({"name":"Bob's"})").status, 200u);
  EXPECT_EQ(bob->del("/projects/" + project).status, 403u);
  EXPECT_EQ(add_to_project(*bob, project, me(*amy), "viewer").status, 201u);
  EXPECT_EQ(bob->del(members + "/" + me(*mia)).status, 204u);
  EXPECT_EQ(mia->get("/projects/" + project).status, 404u);

  // The last lead may leave: administrators can name another.
  EXPECT_EQ(bob->del(one).status, 204u);
  EXPECT_EQ(bob->get("/projects/" + project).status, 404u);
  EXPECT_EQ(add_to_project(*amy, project, user, "lead").status, 201u);
  auto database = stack.database();
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(APrivateProject, TakesMembersOfItsOrganizationOnly) {
  const auto stranger = stack.person("stranger");
  const auto refused = add_to_project(*mia, project, me(*stranger), "viewer");
  EXPECT_EQ(refused.status, 422u);
  EXPECT_EQ(code(refused), "not_a_member");
  EXPECT_EQ(pointer(refused), "/user_id");
  EXPECT_EQ(code(add_to_project(*mia, project, Uuid::make().text(), "viewer")), "not_a_member");
  const auto user = me(*bob);
  EXPECT_EQ(add_to_project(*mia, project, user, "lead").status, 201u);
  EXPECT_EQ(ada->del("/organizations/" + organization + "/members/" + user).status, 204u);
  EXPECT_EQ(mia->all(members).size(), 1u);
  EXPECT_EQ(bob->get("/projects/" + project).status, 404u);
}

TEST_F(APrivateProject, HasNoTaskOfSomebodyWhoDoesNotSeeIt) {
  const auto user = me(*bob), assignment = fmt::format(R"({{"title":"x","assigned_to":"{}"}})", user);
  const auto refused = mia->post("/projects/" + project + "/tasks", assignment);
  EXPECT_EQ(refused.status, 422u);
  EXPECT_EQ(code(refused), "not_a_member");
  EXPECT_EQ(pointer(refused), "/assigned_to");
  EXPECT_EQ(code(mia->patch("/tasks/" + task, assignment)), "not_a_member");
  const auto to_amy = fmt::format(R"({{"title":"x","assigned_to":"{}"}})", me(*amy));
  EXPECT_EQ(mia->patch("/tasks/" + task, to_amy).status, 200u);
  EXPECT_EQ(add_to_project(*mia, project, user, "viewer").status, 201u);
  const auto second = make_task(*mia, project, assignment);
  // Out of sight, out of hand.
  EXPECT_EQ(bob->del(members + "/" + user).status, 204u);
  EXPECT_EQ(text_of(mia->get("/tasks/" + second), "assigned_to"), "null");
  ada->patch("/organizations/" + organization + "/members/" + me(*amy), R"({"role":"manager"})");
  EXPECT_EQ(text_of(mia->get("/tasks/" + task), "assigned_to"), "null");
  EXPECT_EQ(mia->patch("/tasks/" + shared, assignment).status, 200u);
  EXPECT_EQ(text_of(mia->patch("/projects/" + open, R"({"visibility":"private"})"), "visibility"), "private");
  EXPECT_EQ(text_of(mia->get("/tasks/" + shared), "assigned_to"), "null");
  auto database = stack.database();
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(APrivateProject, OpensToAllWhenItCeasesToBePrivateAndClosesAgain) {
  EXPECT_EQ(add_to_project(*mia, project, me(*bob), "viewer").status, 201u);
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"status":"done"})").status, 403u);
  EXPECT_EQ(mia->patch("/projects/" + project, R"({"visibility":"organization"})").status, 200u);
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"status":"done"})").status, 200u);
  const auto max = colleague(stack, *ada, organization, "max", "manager");
  EXPECT_EQ(max->patch("/projects/" + project, R"({"visibility":"private"})").status, 200u);
  EXPECT_EQ(text_of(max->get(members + "/" + me(*max)), "role"), "lead");
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"status":"todo"})").status, 403u);
  EXPECT_EQ(bob->get("/tasks/" + task).status, 200u);
}

TEST(AProject, GivesItsLeadRightsThatTheOrganizationDoesNot) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto organization = make_organization(*ada, "acme");
  const auto bob = colleague(stack, *ada, organization, "bob", "member");
  const auto cat = colleague(stack, *ada, organization, "cat", "member");
  const auto project = make_project(*ada, organization), other = make_project(*ada, organization);
  EXPECT_EQ(bob->patch("/projects/" + project, R"({"name":"x"})").status, 403u);
  EXPECT_EQ(add_to_project(*ada, project, me(*bob), "lead").status, 201u);
  EXPECT_EQ(bob->patch("/projects/" + project, R"({"name":"x"})").status, 200u);
  EXPECT_EQ(bob->patch("/projects/" + other, R"({"name":"x"})").status, 403u);
  EXPECT_EQ(add_to_project(*bob, project, me(*cat), "contributor").status, 201u);
  EXPECT_EQ(bob->patch("/projects/" + project + "/members/" + me(*cat), R"({"role":"lead"})").status, 200u);
  // Who may manage members by name makes no leads, who may do more.
  EXPECT_EQ(cat->del("/projects/" + project + "/members/" + me(*cat)).status, 204u);
  EXPECT_EQ(
      ada->patch("/organizations/" + organization + "/members/" + me(*cat), R"({"permissions":["project.members"]})")
          .status,
      200u);
  EXPECT_EQ(add_to_project(*cat, project, me(*cat), "lead").status, 403u);
  EXPECT_EQ(cat->del("/projects/" + project + "/members/" + me(*bob)).status, 403u);
  EXPECT_EQ(add_to_project(*cat, project, me(*cat), "contributor").status, 201u);
}

// -- one decision

TEST(AnExplanation, AgreesWithWhatPoliciesAndStatementsGoBy) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto organization = make_organization(*ada, "acme");
  const auto bob = colleague(stack, *ada, organization, "bob", "member");
  const auto user = me(*bob), project = make_project(*ada, organization, "private");
  auto database = stack.database();
  auto app = stack.app_database();
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  const auto one_of = [&](std::initializer_list<const char*> list) { return list.begin()[random() % list.size()]; };
  for (int round = 0; round < 80; ++round) {
    std::string permissions;
    const std::string role = one_of({"owner", "admin", "manager", "member"});
    for (const auto& permission : organization::permission::all) {
      const auto choice = random() % 6;
      if (choice > 1 || (choice == 1 && role == "owner")) continue;
      permissions += fmt::format("{}\"{}{}\"", permissions.empty() ? "" : ",", choice == 1 ? "-" : "", permission.name);
    }
    database.run("delete from user_organizations where user_id = '" + user + "'");
    if (random() % 10 != 0) {
      database.run(
          fmt::format("insert into user_organizations (user_id, organization_id, role, permissions) values "
                      "('{}', '{}', '{}', '[{}]')",
                      user, organization, role, permissions));
      if (random() % 3 != 0)
        database.run(fmt::format("insert into project_members (project_id, user_id, role) values ('{}', '{}', '{}')",
                                 project, user, one_of({"lead", "contributor", "viewer"})));
    }
    database.run(fmt::format("update projects set visibility = '{}'", one_of({"organization", "private"})));
    database.run(
        fmt::format("update organizations set status = '{}'", one_of({"active", "active", "active", "inactive"})));

    const auto explained = database.rows(fmt::format(
        "select p.name, (app.explain_permission('{0}', '{1}', p.name, null)).allowed, "
        "(app.explain_permission('{0}', '{1}', p.name, '{2}')).allowed from app.permissions p order by p.bit",
        user, organization, project));
    app.run("begin");
    app.run("select set_config('app.user_id', '" + user + "', true), app.learn_access()");
    const auto decided = app.rows(
        fmt::format("select p.name, app.rights_in('{0}') & p.bit <> 0, app.rights_in('{0}', '{1}') & p.bit <> 0 and "
                    "exists (select from projects) from app.permissions p order by p.bit",
                    organization, project));
    app.run("rollback");
    EXPECT_EQ(explained, decided) << "seed " << seed << ": " << role << " [" << permissions << "]";
  }
}

}  // namespace
}  // namespace cairn
