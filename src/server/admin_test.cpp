// Roles on the server: who looks after accounts and organizations, and what ends with that.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <algorithm>
#include <thread>

#include "support/letters.hpp"
#include "support/record.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

using namespace support;

class AServer : public testing::Test {
 protected:
  AServer() {
    promote("root", "admin");
    promote("mia", "manager");
  }
  void promote(std::string_view name, std::string_view role) {
    database.run(fmt::format("update users set role = '{}' where email = '{}'", role, Stack::email(name)));
  }
  static std::string user(const std::string& id) { return "/admin/users/" + id; }
  Reply log_in(std::string_view name) {
    return stack.client().post("/sessions",
                               fmt::format(R"({{"email":"{}","password":"{}"}})", Stack::email(name), Stack::password));
  }

  const Stack stack;
  Database database = stack.database();
  std::unique_ptr<Client> root = stack.person("root"), mia = stack.person("mia"), bob = stack.person("bob");
};

TEST_F(AServer, IsSeenByItsManagersAndChangedByItsAdministrators) {
  const auto id = me(*bob);
  const auto organization = make_organization(*bob, "acme");
  for (const auto& path : {std::string("/admin/users"), user(id), std::string("/admin/organizations"),
                           "/admin/organizations/" + organization}) {
    EXPECT_EQ(root->get(path).status, 200u) << path;
    EXPECT_EQ(mia->get(path).status, 200u) << path;
    EXPECT_EQ(bob->get(path).status, 403u) << path;
  }
  EXPECT_EQ(mia->patch(user(id), R"({"status":"suspended"})").status, 403u);
  EXPECT_EQ(mia->patch("/admin/organizations/" + organization, R"({"status":"suspended"})").status, 403u);
  EXPECT_EQ(mia->post(user(id) + "/password-reset", {}).status, 403u);
  EXPECT_EQ(mia->del(user(id) + "/sessions").status, 403u);
  EXPECT_EQ(bob->get("/me").status, 200u);
  // Being one is not being a member.
  EXPECT_EQ(root->get("/organizations/" + organization).status, 404u);
  EXPECT_EQ(root->get("/organizations/" + organization + "/members").status, 404u);
}

TEST_F(AServer, ShowsAnAccountWithWhereItBelongsAndHowOftenItIsLoggedIn) {
  const auto organization = make_organization(*bob, "acme");
  log_in("bob");
  bob->post("/me/tokens", R"({"name":"robot","scopes":["read"]})");
  const auto shown = root->get(user(me(*bob)));
  EXPECT_EQ(text_of(shown, "email"), "bob@example.org");
  EXPECT_EQ(text_of(shown, "sessions"), "2");
  EXPECT_EQ(text_of(shown, "api_tokens"), "1");
  EXPECT_EQ(text_of(shown, "second_factor"), "false");
  const auto belongs = shown.json().at("organizations").at(0);
  EXPECT_EQ(text_of(belongs, "organization_id"), organization);
  EXPECT_EQ(text_of(belongs, "role"), "owner");
  EXPECT_EQ(root->get(user(Uuid::make().text())).status, 404u);
}

TEST_F(AServer, ListsAccountsByRoleStatusAndTheBeginningOfTheAddress) {
  for (const auto* name : {"bea", "ben", "b_x", "carl"}) stack.person(name);
  root->patch(user(text_of(root->all("/admin/users?email=carl").at(0), "id")), R"({"status":"suspended"})");
  const auto emails = [&](const std::string& query) {
    std::string text;
    unsigned pages = 0;
    for (const auto& row : mia->all("/admin/users?limit=2&" + query, &pages)) {
      const auto email = text_of(row, "email");
      text += email.substr(0, email.find('@')) + " ";
    }
    return text;
  };
  EXPECT_EQ(emails("sort=email"), "b_x bea ben bob carl mia root ");
  EXPECT_EQ(emails("sort=-email&email=BE"), "ben bea ");
  EXPECT_EQ(emails("email=b_"), "b_x ");
  EXPECT_EQ(emails("email=%25"), "");
  EXPECT_EQ(emails("role=admin"), "root ");
  EXPECT_EQ(emails("status=suspended"), "carl ");
  EXPECT_EQ(emails("sort=created_at&role=user&status=active"), "bob bea ben b_x ");
}

TEST_F(AServer, SuspendsAndReactivatesFromTheNextRequestOnEveryNode) {
  const auto other = stack.beside();
  auto elsewhere = other->client();
  elsewhere.token = bob->token;
  const auto robot = stack.with_token(made(bob->post("/me/tokens", R"({"name":"robot","scopes":["read"]})"), "token"));
  EXPECT_EQ(elsewhere.get("/me").status, 200u);
  EXPECT_EQ(robot->get("/organizations").status, 200u);

  const auto path = user(me(*bob));
  const auto suspended = root->patch(path, R"({"status":"suspended"})");
  EXPECT_EQ(suspended.status, 200u) << suspended.body;
  EXPECT_EQ(text_of(suspended, "status"), "suspended");
  EXPECT_EQ(text_of(suspended, "sessions"), "0");
  for (auto* client : {bob.get(), &elsewhere, robot.get()}) EXPECT_EQ(client->get("/organizations").status, 401u);
  EXPECT_EQ(code(log_in("bob")), "invalid_credentials");
  EXPECT_EQ(root->patch(path, R"({"status":"suspended"})").status, 200u);
  EXPECT_EQ(code(root->post(path + "/password-reset", {})), "account_inactive");

  EXPECT_EQ(text_of(root->patch(path, R"({"status":"active"})"), "status"), "active");
  EXPECT_EQ(log_in("bob").status, 201u);
  EXPECT_EQ(bob->get("/me").status, 401u);
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AServer, GivesAndTakesRolesFromTheNextRequestOnEveryNode) {
  const auto other = stack.beside();
  auto elsewhere = other->client();
  elsewhere.token = bob->token;
  const auto path = user(me(*bob));
  for (auto* client : {bob.get(), &elsewhere}) EXPECT_EQ(client->get("/admin/users").status, 403u);
  EXPECT_EQ(text_of(root->patch(path, R"({"role":"manager"})"), "role"), "manager");
  for (auto* client : {bob.get(), &elsewhere}) EXPECT_EQ(client->get("/admin/users").status, 200u);
  root->patch(path, R"({"role":"admin"})");
  EXPECT_EQ(elsewhere.patch(user(me(*mia)), R"({"role":"user"})").status, 200u);
  EXPECT_EQ(mia->get("/admin/users").status, 403u);
  root->patch(path, R"({"role":"user"})");
  EXPECT_EQ(elsewhere.patch(user(me(*mia)), R"({"role":"admin"})").status, 403u);
  EXPECT_EQ(bob->get("/admin/users").status, 403u);
}

TEST_F(AServer, KeepsItsLastAdministratorWhoCannotChangeTheirOwnStanding) {
  const auto path = user(me(*root));
  for (const auto* body : {R"({"role":"user"})", R"({"status":"suspended"})", R"({"role":"admin"})"})
    EXPECT_EQ(code(root->patch(path, body)), "own_account") << body;
  const auto last = root->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password));
  EXPECT_EQ(code(last), "last_admin");
  EXPECT_EQ(database.failure("update users set role = 'user' where email = 'root@example.org'"), "23514");
  EXPECT_EQ(database.failure("update users set status = 'suspended' where email = 'root@example.org'"), "23514");
  EXPECT_EQ(root->get("/admin/users").status, 200u);
}

TEST_F(AServer, KeepsOneOfTwoAdministratorsWhoDemoteEachOtherAtOnce) {
  promote("bob", "admin");
  const auto paths = std::array{user(me(*bob)), user(me(*root))};
  for (int round = 0; round < 10; ++round) {
    std::array<unsigned, 2> status{};
    std::thread first([&] { status[0] = root->patch(paths[0], R"({"role":"user"})").status; });
    std::thread second([&] { status[1] = bob->patch(paths[1], R"({"role":"user"})").status; });
    first.join();
    second.join();
    EXPECT_EQ((status[0] == 200) + (status[1] == 200), 1) << status[0] << " " << status[1];
    EXPECT_EQ(database.value("select count(*) from users where role = 'admin' and status = 'active'"), "1");
    promote("bob", "admin");
    promote("root", "admin");
  }
}

TEST_F(AServer, MakesAccountsWhosePasswordsNobodyElseKnows) {
  const auto made_user = root->post(
      "/admin/users", R"({"email":"Eve@Example.org","first_name":"Eve","last_name":"New","role":"manager"})");
  ASSERT_EQ(made_user.status, 201u) << made_user.body;
  EXPECT_EQ(made_user.header("location"), "/api/v1/admin/users/" + text_of(made_user, "id"));
  EXPECT_EQ(text_of(made_user, "email_verified"), "false");
  EXPECT_EQ(made_user.body.find("?token="), std::string::npos);
  EXPECT_EQ(log_in("eve").status, 401u);
  EXPECT_EQ(code(root->post("/admin/users", R"({"email":"eve@example.org","first_name":"Eve","last_name":"Too"})")),
            "email_taken");

  const auto token = token_of(last_mail(database, "eve@example.org"));
  const auto body = fmt::format(R"({{"token":"{}","password":"{}"}})", token, Stack::password);
  EXPECT_EQ(stack.client().post("/password-resets/complete", body).status, 204u);
  EXPECT_EQ(stack.client().post("/password-resets/complete", body).status, 422u);
  auto eve = stack.with_token(made(log_in("eve"), "token"));
  EXPECT_EQ(text_of(eve->get("/me"), "email_verified"), "true");
  EXPECT_EQ(eve->get("/admin/users").status, 200u);
  EXPECT_EQ(text_of(root->post("/admin/users",
                               R"({"email":"x@example.org","first_name":"X","last_name":"Y","verified":true})"),
                    "email_verified"),
            "true");
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AServer, MailsALinkToSetANewPasswordByAndLogsPeopleOut) {
  const auto path = user(me(*bob));
  EXPECT_EQ(root->post(path + "/password-reset", {}).status, 204u);
  EXPECT_EQ(bob->get("/me").status, 200u);
  const auto token = token_of(last_mail(database, "bob@example.org"));
  EXPECT_EQ(stack.client()
                .post("/password-resets/complete",
                      fmt::format(R"({{"token":"{}","password":"{}"}})", token, "another good long sentence"))
                .status,
            204u);
  EXPECT_EQ(log_in("bob").status, 401u);

  const auto robot = stack.with_token(made(mia->post("/me/tokens", R"({"name":"robot","scopes":["read"]})"), "token"));
  EXPECT_EQ(root->del(user(me(*mia)) + "/sessions").status, 204u);
  EXPECT_EQ(mia->get("/me").status, 401u);
  EXPECT_EQ(robot->get("/organizations").status, 401u);
  EXPECT_EQ(log_in("mia").status, 201u);
  EXPECT_EQ(root->del(user(Uuid::make().text()) + "/sessions").status, 404u);
}

TEST_F(AServer, TakesOffTheSecondFactorOfWhoLostIt) {
  const auto password = fmt::format(R"({{"password":"{}"}})", Stack::password);
  const auto secret = text_of(bob->post("/me/totp", password), "secret");
  EXPECT_EQ(bob->post("/me/totp/confirm", fmt::format(R"({{"code":"{}"}})", totp_code(secret))).status, 200u);
  const auto path = user(me(*bob));
  EXPECT_EQ(text_of(root->get(path), "second_factor"), "true");
  EXPECT_EQ(code(log_in("bob")), "totp_required");
  EXPECT_EQ(mia->del(path + "/second-factor").status, 403u);
  EXPECT_EQ(root->del(path + "/second-factor").status, 204u);
  EXPECT_EQ(text_of(root->get(path), "second_factor"), "false");
  EXPECT_EQ(bob->get("/me").status, 401u);
  EXPECT_EQ(log_in("bob").status, 201u);
  EXPECT_EQ(root->del(path + "/second-factor").status, 204u);
  EXPECT_EQ(root->del(user(Uuid::make().text()) + "/second-factor").status, 404u);
  EXPECT_EQ(code(root->del(user(me(*root)) + "/second-factor")), "own_account");
}

TEST_F(AServer, ShowsItsRecordToAdministratorsAndNotWhatIsInProjects) {
  const auto organization = make_organization(*bob, "acme");
  make_task(*bob, make_project(*bob, organization), R"({"title":"Hidden treasure"})");
  const auto id = me(*bob);
  root->patch(user(id), R"({"role":"manager"})");
  stack.client().post("/sessions", R"({"email":"bob@example.org","password":"wrong"})");
  for (auto* client : {mia.get(), bob.get()}) {
    EXPECT_EQ(client->get("/admin/audit").status, 403u);
    EXPECT_EQ(client->get("/admin/audit/export").status, 403u);
  }
  unsigned pages = 0;
  const auto whole = root->all("/admin/audit?limit=3&sort=created_at", &pages);
  EXPECT_GT(pages, 3u);
  EXPECT_EQ(std::to_string(whole.size()), database.value("select count(*) from audit_logs"));
  std::string ids, expected;
  for (const auto& row : whole) ids += text_of(row, "id") + " ";
  for (const auto& row : database.rows("select id from audit_logs order by created_at, seq")) expected += row[0] + " ";
  EXPECT_EQ(ids, expected);

  const auto of_tasks = root->all("/admin/audit?entity_type=tasks&organization_id=" + organization);
  ASSERT_EQ(of_tasks.size(), 1u);
  EXPECT_EQ(text_of(of_tasks[0], "user_id"), id);
  EXPECT_EQ(text_of(of_tasks[0], "user_name"), "bob Example");
  EXPECT_EQ(text_of(of_tasks[0], "ip_address"), "127.0.0.1");
  EXPECT_EQ(text_of(of_tasks[0], "changes"), "[]");
  EXPECT_TRUE(root->all("/admin/audit?q=treasure").empty());
  EXPECT_TRUE(root->all("/admin/audit?field=title").empty());
  const auto file = root->get("/admin/audit/export");
  EXPECT_EQ(std::to_string(std::count(file.body.begin(), file.body.end(), '\n')), std::to_string(whole.size()));
  EXPECT_EQ(file.body.find("treasure"), std::string::npos);

  const auto roles = root->all("/admin/audit?field=role&action=update&entity_id=" + id);
  ASSERT_EQ(roles.size(), 1u);
  EXPECT_EQ(text_of(roles[0], "user_id"), me(*root));
  EXPECT_EQ(text_of(roles[0].at("changes").at(0), "new"), "manager");
  unsigned failures = 0;
  for (const auto& row : root->all("/admin/audit?in_organization=false&action=login")) {
    EXPECT_EQ(text_of(row, "organization_id"), "null");
    if (text_of(row, "outcome") == "failure") ++failures;
  }
  EXPECT_EQ(failures, 1u);
}

TEST_F(AServer, SuspendsOrganizationsWithoutBeingInThem) {
  const auto organization = make_organization(*bob, "acme");
  const auto amy = colleague(stack, *bob, organization, "amy", "admin");
  const auto path = "/admin/organizations/" + organization;
  auto shown = root->get(path);
  EXPECT_EQ(text_of(shown, "members"), "2");
  EXPECT_EQ(text_of(shown.json().at("owners").at(0), "email"), "bob@example.org");
  EXPECT_EQ(root->patch(path, R"({"status":"suspended"})", {"If-Match: \"77\""}).status, 412u);

  EXPECT_EQ(text_of(root->patch(path, R"({"status":"suspended"})"), "status"), "suspended");
  EXPECT_EQ(bob->get("/organizations/" + organization).status, 200u);
  EXPECT_EQ(code(bob->patch("/organizations/" + organization, R"({"status":"active"})")), "suspended");
  EXPECT_EQ(bob->post("/organizations/" + organization + "/projects", R"({"name":"x"})").status, 403u);
  EXPECT_EQ(amy->get("/organizations/" + organization).status, 404u);
  EXPECT_EQ(text_of(root->patch(path, R"({"status":"active"})"), "status"), "active");
  EXPECT_EQ(amy->get("/organizations/" + organization).status, 200u);
  // The owners see who did it.
  EXPECT_EQ(text_of(bob->all("/organizations/" + organization + "/audit").at(0), "user_id"), me(*root));

  bob->patch("/organizations/" + organization, R"({"status":"inactive"})");
  EXPECT_EQ(code(root->patch(path, R"({"status":"active"})")), "organization_inactive");
  EXPECT_EQ(root->all("/admin/organizations?status=inactive&slug=ac").size(), 1u);
  EXPECT_EQ(root->all("/admin/organizations?deleted=true").size(), 0u);
  EXPECT_EQ(bob->del("/organizations/" + organization).status, 403u);
}

TEST_F(AServer, PutsWhatItsAdministratorsDoOnTheRecord) {
  const auto id = me(*bob);
  root->patch(user(id), R"({"role":"manager"})");
  root->post(user(id) + "/password-reset", {});
  root->del(user(id) + "/sessions");
  root->patch(user(id), R"({"status":"suspended"})");
  const auto entries = database.rows(fmt::format(
      "select user_id, coalesce(metadata->>'event', new_values::text), host(ip_address), metadata->>'request_id' <> '' "
      "from audit_logs where entity_type = 'users' and entity_id = '{}' and user_id <> entity_id order by created_at",
      id));
  ASSERT_EQ(entries.size(), 4u);
  const auto actor = me(*root);
  for (const auto& entry : entries) {
    EXPECT_EQ(entry[0], actor);
    EXPECT_EQ(entry[2], "127.0.0.1");
    EXPECT_EQ(entry[3], "t");
  }
  EXPECT_NE(entries[0][1].find(R"("role": "manager")"), std::string::npos) << entries[0][1];
  EXPECT_EQ(entries[1][1], "password_reset_requested");
  EXPECT_EQ(entries[2][1], "sessions_ended");
  EXPECT_NE(entries[3][1].find(R"("status": "suspended")"), std::string::npos) << entries[3][1];
}

TEST_F(AServer, LeavesAccountsThatWereGivenUpAsTheyAre) {
  const auto id = me(*bob);
  EXPECT_EQ(bob->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password)).status, 204u);
  EXPECT_EQ(code(root->patch(user(id), R"({"status":"active"})")), "account_inactive");
  EXPECT_EQ(code(root->post(user(id) + "/password-reset", {})), "account_inactive");
}

TEST_F(AServer, IsClosedToApiTokensAndToTheDatabaseRoleWithoutAnAdministrator) {
  const auto robot = stack.with_token(
      made(root->post("/me/tokens", R"({"name":"robot","scopes":["read","write_organizations","write_members"]})"),
           "token"));
  EXPECT_EQ(code(robot->get("/admin/users")), "insufficient_scope");
  auto app = stack.app_database();
  const auto id = me(*bob);
  const auto as = [&](const std::string& whom) { app.run("select set_config('app.user_id', '" + whom + "', false)"); };
  const auto acts = std::array{fmt::format("select app.administer_user('{}', 'admin', null, null)", id),
                               fmt::format("select app.administer_sessions('{}')", id),
                               fmt::format("select app.administer_organization('{}', true, null)", id)};
  for (const auto& whom : {std::string(), id, me(*mia)}) {
    as(whom);
    for (const auto& act : acts) EXPECT_EQ(app.failure(act), "42501") << whom;
    EXPECT_EQ(app.value("select count(*) from app.server_users") == "0", whom != me(*mia));
  }
  as(me(*root));
  app.run("select set_config('app.token_id', '" + id + "', false)");
  for (const auto& act : acts) EXPECT_EQ(app.failure(act), "42501");
  for (const auto* act : {"select app.set_standing(null, 'admin', null, null)", "select app.end_access(null)",
                          "select app.make_user(null, '', '', '', 'admin', true)"})
    EXPECT_EQ(app.failure(act), "42501") << act;
}

}  // namespace
}  // namespace cairn
