// The life of an organization, as stories over HTTP: status, deletion and what follows, who owns it.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <latch>
#include <set>
#include <thread>

#include "support/record.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

using namespace support;

class AnOrganization : public testing::Test {
 protected:
  Reply change(Client& by, std::string_view body) { return by.patch(path, body); }

  const Stack stack;
  Database database = stack.database();
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme"), path = "/organizations/" + organization;
  std::unique_ptr<Client> amy = colleague(stack, *ada, organization, "amy", "admin");
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
  std::string project = make_project(*ada, organization), secret = make_project(*amy, organization, "private");
  std::string task = make_task(*bob, project);
};

TEST_F(AnOrganization, ThatIsNotActiveIsReadByItsOwnersAndWrittenByNobody) {
  EXPECT_EQ(change(*amy, R"({"status":"inactive"})").status, 403u);
  EXPECT_EQ(change(*bob, R"({"status":"inactive"})").status, 403u);
  const auto closed = change(*ada, R"({"status":"inactive","description":"closed"})");
  ASSERT_EQ(closed.status, 200u) << closed.body;
  EXPECT_EQ(text_of(closed, "status"), "inactive");
  for (const auto& one :
       {path, path + "/members", path + "/permissions", path + "/audit", path + "/tasks", "/projects/" + project,
        "/projects/" + secret, "/projects/" + secret + "/members", "/tasks/" + task, "/tasks/" + task + "/audit"}) {
    EXPECT_EQ(ada->get(one).status, 200u) << one;
    EXPECT_EQ(amy->get(one).status, 404u) << one;
    EXPECT_EQ(bob->get(one).status, 404u) << one;
  }
  EXPECT_EQ(ada->all("/organizations").size(), 1u);
  EXPECT_EQ(bob->all("/organizations").size(), 0u);
  EXPECT_EQ(text_of(ada->get(path + "/permissions"), "permissions"), R"(["project.view_private","audit.view"])");
  const auto explained = ada->get(path + "/members/" + me(*ada) + "/permissions/explain?permission=task.edit");
  EXPECT_EQ(text_of(explained, "rule"), "organization_inactive");

  const auto before = database.digest();
  const auto member = path + "/members/" + me(*bob);
  EXPECT_EQ(change(*ada, R"({"name":"x"})").status, 403u);
  EXPECT_EQ(change(*ada, R"({"status":"active","name":"x"})").status, 403u);
  EXPECT_EQ(ada->del(path).status, 403u);
  EXPECT_EQ(ada->post(path + "/projects", R"({"name":"x"})").status, 403u);
  EXPECT_EQ(ada->post(path + "/members", R"({"email":"carl@example.org"})").status, 403u);
  EXPECT_EQ(ada->patch(member, R"({"role":"admin"})").status, 403u);
  EXPECT_EQ(ada->del(member).status, 403u);
  EXPECT_EQ(ada->post(path + "/transfer", fmt::format(R"({{"user_id":"{}"}})", me(*bob))).status, 403u);
  EXPECT_EQ(ada->patch("/projects/" + project, R"({"name":"x"})").status, 403u);
  EXPECT_EQ(ada->del("/projects/" + project).status, 403u);
  EXPECT_EQ(ada->post("/projects/" + project + "/tasks", R"({"title":"x"})").status, 403u);
  EXPECT_EQ(ada->patch("/tasks/" + task, R"({"title":"x"})").status, 403u);
  EXPECT_EQ(ada->del("/tasks/" + task).status, 403u);
  EXPECT_EQ(add_to_project(*ada, project, me(*bob), "lead").status, 403u);
  EXPECT_EQ(ada->patch("/projects/" + secret + "/members/" + me(*amy), R"({"role":"viewer"})").status, 403u);
  EXPECT_EQ(database.digest(), before);

  EXPECT_EQ(text_of(change(*ada, R"({"status":"active"})"), "status"), "active");
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"title":"x"})").status, 200u);
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AnOrganization, IsSuspendedByAdministratorsOfTheServerOnly) {
  EXPECT_EQ(code(change(*ada, R"({"status":"suspended"})")), "suspended");
  database.run("update organizations set status = 'suspended'");
  EXPECT_EQ(ada->get(path).status, 200u);
  EXPECT_EQ(bob->get(path).status, 404u);
  EXPECT_EQ(change(*ada, R"({"status":"active"})").status, 403u);
  EXPECT_EQ(change(*ada, R"({"status":"inactive"})").status, 403u);
  database.run("update users set role = 'admin' where email like 'ada@%'");
  EXPECT_EQ(change(*ada, R"({"status":"active"})").status, 200u);
  EXPECT_EQ(bob->get(path).status, 200u);
}

TEST_F(AnOrganization, ThatWasDeletedIsRestoredByItsOwnersAsItWas) {
  EXPECT_EQ(ada->post(path + "/restoration", {}).json(), ada->get(path).json());
  EXPECT_EQ(amy->post(path + "/restoration", {}).status, 403u);
  EXPECT_EQ(ada->del(path).status, 204u);
  EXPECT_EQ(ada->all("/organizations").size(), 0u);
  EXPECT_EQ(amy->all("/organizations?deleted=true").size(), 0u);
  const auto deleted = ada->all("/organizations?deleted=true");
  ASSERT_EQ(deleted.size(), 1u);
  EXPECT_EQ(text_of(deleted[0], "id"), organization);
  EXPECT_NE(text_of(deleted[0], "deleted_at"), "null");
  EXPECT_EQ(code(bob->post("/organizations", R"({"name":"Mine","slug":"acme"})")), "slug_taken");
  EXPECT_EQ(amy->post(path + "/restoration", {}).status, 404u);
  EXPECT_EQ(bob->post(path + "/restoration", {}).status, 404u);

  const auto restored = ada->post(path + "/restoration", {});
  ASSERT_EQ(restored.status, 200u) << restored.body;
  EXPECT_EQ(text_of(restored, "deleted_at"), "null");
  EXPECT_EQ(bob->patch("/tasks/" + task, R"({"title":"still here"})").status, 200u);
  EXPECT_EQ(amy->get("/projects/" + secret).status, 200u);
  EXPECT_EQ(bob->get("/projects/" + secret).status, 404u);
  EXPECT_EQ(ada->all("/organizations?deleted=true").size(), 0u);
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AnOrganization, KeepsTheSlugThatItGaveUpForAMonth) {
  const auto rename = [&](std::string_view slug) { return ada->patch(path, fmt::format(R"({{"slug":"{}"}})", slug)); };
  EXPECT_EQ(rename("apex").status, 200u);
  const auto taken = bob->post("/organizations", R"({"name":"Mine","slug":"acme"})");
  EXPECT_EQ(code(taken), "slug_taken");
  const auto other = make_organization(*bob, "other");
  EXPECT_EQ(code(bob->patch("/organizations/" + other, R"({"slug":"acme"})")), "slug_taken");
  EXPECT_EQ(rename("acme").status, 200u);
  EXPECT_EQ(code(bob->patch("/organizations/" + other, R"({"slug":"apex"})")), "slug_taken");
  database.run("update app.former_slugs set kept_until = now()");
  EXPECT_EQ(bob->patch("/organizations/" + other, R"({"slug":"apex"})").status, 200u);
  EXPECT_EQ(code(rename("apex")), "slug_taken");
  EXPECT_EQ(code(rename("other")), "slug_taken");
}

TEST_F(AnOrganization, ThatWasDeletedAMonthAgoIsPurgedAndItsRecordKept) {
  EXPECT_EQ(ada->del(path).status, 204u);
  const auto other = make_organization(*ada, "other");
  EXPECT_EQ(ada->del("/organizations/" + other).status, 204u);
  for (int i = 0; i < 600; ++i)
    database.run(
        fmt::format("insert into tasks (project_id, title, created_by) values ('{}', 'x', '{}')", project, me(*ada)));
  database.run("update organizations set deleted_at = deleted_at - interval '30 days' where id = '" + organization +
               "'");
  EXPECT_EQ(ada->post(path + "/restoration", {}).status, 404u);
  EXPECT_EQ(ada->all("/organizations?deleted=true").size(), 1u);
  const auto entries = [&] {
    return std::stoi(database.value("select count(*) from audit_logs where metadata->>'org' = '" + organization + "'"));
  };
  const auto before = entries();

  const auto purging = stack.beside();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (database.value("select count(*) from organizations") != "1" && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(database.value("select string_agg(slug, ' ') from organizations"), "other");
  EXPECT_EQ(database.value("select count(*) from tasks"), "0");
  EXPECT_EQ(database.value("select count(*) from project_members"), "0");
  // Every row that went is on the record, whole, by the one who did it: 601 tasks, 2 projects, a lead, 3 members,
  // itself.
  EXPECT_EQ(entries(), before + 608);
  EXPECT_EQ(database.value("select count(*) from audit_logs where metadata->>'actor' = 'purge' and action = 'delete'"),
            "608");
  EXPECT_EQ(database.value("select count(*) from audit_logs where organization_id = '" + organization + "'"), "0");
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
  make_organization(*ada, "acme");
  EXPECT_EQ(stack.app_database().failure("select set_config('app.user_id', gen_random_uuid()::text, false), "
                                         "app.purge_organization(gen_random_uuid())"),
            "42501");
}

// -- ownership

class Ownership : public AnOrganization {
 protected:
  std::string to(Client& whom) { return fmt::format(R"({{"user_id":"{}"}})", me(whom)); }
  std::string role(Client& whom) { return text_of(ada->get(path + "/members/" + me(whom)), "role"); }
};

TEST_F(Ownership, PassesToAnotherMemberInOneStep) {
  const auto stranger = stack.person("stranger");
  EXPECT_EQ(amy->post(path + "/transfer", to(*bob)).status, 403u);
  EXPECT_EQ(stranger->post(path + "/transfer", to(*bob)).status, 404u);
  for (const auto& nobody : {to(*stranger), to(*ada), fmt::format(R"({{"user_id":"{}"}})", Uuid::make().text())}) {
    const auto refused = ada->post(path + "/transfer", nobody);
    EXPECT_EQ(refused.status, 422u) << refused.body;
    EXPECT_EQ(pointer(refused), "/user_id");
  }
  ada->patch(path + "/members/" + me(*bob), R"({"permissions":["task.delete","-task.create"]})");
  const auto passed = ada->post(path + "/transfer", to(*bob));
  ASSERT_EQ(passed.status, 200u) << passed.body;
  EXPECT_EQ(text_of(passed, "role"), "admin");
  EXPECT_EQ(role(*bob), "owner");
  EXPECT_EQ(text_of(bob->get(path + "/members/" + me(*bob)), "permissions"), R"(["task.delete"])");
  EXPECT_EQ(ada->del(path).status, 403u);
  EXPECT_EQ(ada->post(path + "/transfer", to(*ada)).status, 403u);
  EXPECT_EQ(bob->post(path + "/transfer", to(*ada)).status, 200u);
  EXPECT_EQ(role(*bob), "admin");
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(Ownership, IsNotGivenToAnAccountThatIsSuspended) {
  const auto to_bob = to(*bob);
  database.run("update users set status = 'suspended' where email like 'bob@%'");
  EXPECT_EQ(code(ada->post(path + "/transfer", to_bob)), "not_a_member");
}

TEST_F(Ownership, PassesOnceWhenItIsGivenAwayTwiceAtOnce) {
  const auto again = stack.with_token(ada->token);
  for (int round = 0; round < 5; ++round) {
    std::latch start(2);
    unsigned first = 0, second = 0;
    const auto to_amy = to(*amy), to_bob = to(*bob);
    std::thread other([&] {
      start.arrive_and_wait();
      first = again->post(path + "/transfer", to_amy).status;
    });
    start.arrive_and_wait();
    second = ada->post(path + "/transfer", to_bob).status;
    other.join();
    EXPECT_EQ((std::set<unsigned>{first, second}), (std::set<unsigned>{200u, 403u}));
    EXPECT_EQ(database.value("select count(*) from user_organizations where role = 'owner'"), "1");
    EXPECT_EQ((first == 200 ? *amy : *bob).post(path + "/transfer", to(*ada)).status, 200u);
  }
}

// Two change each other's role at once: whatever the roles, the outcome is that of one after the other.
TEST(TheRoleLattice, HoldsWhenTwoChangeEachOtherAtOnce) {
  const Stack stack;
  const auto ada = stack.person("ada");
  const auto organization = make_organization(*ada, "acme"), members = "/organizations/" + organization + "/members/";
  const auto one = colleague(stack, *ada, organization, "one", "member");
  const auto two = colleague(stack, *ada, organization, "two", "member");
  const auto id_of_ada = me(*ada), id_of_one = me(*one), id_of_two = me(*two);
  auto database = stack.database();
  const std::vector<std::string> roles{"member", "manager", "admin", "owner"};

  struct Outcome {
    unsigned status_of_one = 0, status_of_two = 0;
    std::size_t role_of_one = 0, role_of_two = 0;
    auto operator<=>(const Outcome&) const = default;
  };
  // What each may do to the other, as documented. `others`: there is an owner besides these two.
  const auto apply = [](std::size_t actor, std::size_t& target, std::size_t wanted, bool others) -> unsigned {
    if (actor < 2 || actor < target || actor < wanted) return 403;
    if (target == 3 && wanted != 3 && actor != 3 && !others) return 409;
    target = wanted;
    return 200;
  };
  unsigned cases = 0;
  for (std::size_t a = 0; a < 4; ++a)
    for (std::size_t b = 0; b < 4; ++b)
      for (std::size_t wanted = 0; wanted < 4; ++wanted) {
        const bool others = a != 3 && b != 3;
        SCOPED_TRACE(fmt::format("{} and {} make each other {}", roles[a], roles[b], roles[wanted]));
        database.run(fmt::format(
            "begin; update user_organizations set role = (case user_id when '{}' then '{}' when '{}' then '{}' when "
            "'{}' then '{}' end)::organization_role; commit",
            id_of_one, roles[a], id_of_two, roles[b], id_of_ada, others ? "owner" : "member"));
        std::set<Outcome> possible;
        Outcome first;
        first.role_of_one = a;
        first.role_of_two = b;
        auto second = first;
        first.status_of_one = apply(first.role_of_one, first.role_of_two, wanted, others);
        first.status_of_two = apply(first.role_of_two, first.role_of_one, wanted, others);
        second.status_of_two = apply(second.role_of_two, second.role_of_one, wanted, others);
        second.status_of_one = apply(second.role_of_one, second.role_of_two, wanted, others);
        possible.insert(first);
        possible.insert(second);

        Outcome found;
        const auto body = fmt::format(R"({{"role":"{}"}})", roles[wanted]);
        std::latch start(2);
        std::thread other([&] {
          start.arrive_and_wait();
          found.status_of_two = two->patch(members + id_of_one, body).status;
        });
        start.arrive_and_wait();
        found.status_of_one = one->patch(members + id_of_two, body).status;
        other.join();
        const auto role = [&](const std::string& user) {
          const auto text = database.value("select role from user_organizations where user_id = '" + user + "'");
          return static_cast<std::size_t>(std::find(roles.begin(), roles.end(), text) - roles.begin());
        };
        found.role_of_one = role(id_of_one);
        found.role_of_two = role(id_of_two);
        EXPECT_TRUE(possible.contains(found))
            << found.status_of_one << " " << found.status_of_two << " " << found.role_of_one << found.role_of_two;
        EXPECT_NE(database.value("select count(*) from user_organizations where role = 'owner'"), "0");
        ++cases;
      }
  EXPECT_EQ(cases, 64u);
}

}  // namespace
}  // namespace cairn
