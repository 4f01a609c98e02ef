// Invitations by e-mail, as stories over HTTP.
#include <gmock/gmock.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <latch>
#include <thread>

#include "support/record.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

using namespace support;
using testing::HasSubstr;

std::string token_in(std::string_view text) {
  const auto at = text.find("token=");
  if (at == std::string_view::npos) throw std::runtime_error("no token in: " + std::string(text));
  const auto begin = at + 6;
  return std::string(text.substr(begin, text.find_first_of("\r\n\"", begin) - begin));
}
std::string token_of(const Reply& sent) {
  EXPECT_LT(sent.status, 300u) << sent.body;
  return token_in(text_of(sent, "link"));
}
std::string body(const std::string& token) { return fmt::format(R"({{"token":"{}"}})", token); }
std::string newcomer(const std::string& token) {
  return fmt::format(R"({{"token":"{}","password":"{}","first_name":"New","last_name":"Comer"}})", token,
                     Stack::password);
}
// Without what differs from request to request.
std::string essence(const Reply& reply) {
  auto document = reply.json();
  document.as_object().erase("request_id");
  return boost::json::serialize(document);
}

class AnInvitation : public testing::Test {
 protected:
  Reply invite(Client& by, std::string_view name, std::string_view more = {}) {
    return by.post(invitations, fmt::format(R"({{"email":"{}"{}}})", Stack::email(name), more));
  }
  Reply accept(Client& who, const std::string& token) { return who.post("/invitations/acceptance", body(token)); }
  Reply join(const std::string& token) { return stack.client().post("/invitations/registration", newcomer(token)); }
  Reply preview(const std::string& token) { return stack.client().post("/invitations/preview", body(token)); }
  std::unique_ptr<Client> log_in(std::string_view name) {
    const auto login = stack.client().post(
        "/sessions", fmt::format(R"({{"email":"{}","password":"{}"}})", Stack::email(name), Stack::password));
    return stack.with_token(made(login, "token"));
  }
  Reply change(const std::string& user, std::string_view what) {
    return ada->patch("/organizations/" + organization + "/members/" + user, what);
  }

  const Stack stack;
  Database database = stack.database();
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme"),
              invitations = "/organizations/" + organization + "/invitations";
  std::unique_ptr<Client> amy = colleague(stack, *ada, organization, "amy", "admin");
  std::string id_of_amy = me(*amy);
};

TEST_F(AnInvitation, TakesSomebodyNewStraightIntoProjects) {
  const auto secret = make_project(*amy, organization, "private");
  const auto sent = invite(
      *amy, "New",
      fmt::format(
          R"(,"role":"manager","permissions":["-task.delete"],"projects":[{{"project_id":"{}","role":"contributor"}}])",
          secret));
  ASSERT_EQ(sent.status, 201u) << sent.body;
  EXPECT_EQ(sent.header("location"), "/api/v1" + invitations + "/" + text_of(sent, "id"));
  EXPECT_EQ(text_of(sent, "email"), "new@example.org");
  const auto token = token_of(sent);
  const auto shown = preview(token);
  EXPECT_EQ(text_of(shown, "organization_name"), "acme");
  EXPECT_EQ(text_of(shown, "email"), "new@example.org");
  EXPECT_EQ(text_of(shown, "role"), "manager");

  const auto joined = join(token);
  ASSERT_EQ(joined.status, 201u) << joined.body;
  EXPECT_EQ(text_of(joined, "email"), "new@example.org");
  // The link was shown to whoever sent it, so it proves no address.
  EXPECT_EQ(text_of(joined, "email_verified"), "false");
  const auto person = log_in("new");
  const auto own = person->get("/organizations/" + organization + "/permissions");
  EXPECT_EQ(text_of(own, "role"), "manager");
  EXPECT_EQ(text_of(own, "permissions").find("task.delete"), std::string::npos);
  EXPECT_EQ(person->get("/projects/" + secret).status, 200u);
  make_task(*person, secret);

  for (const auto& again : {join(token), preview(token), accept(*person, token)}) EXPECT_EQ(again.status, 422u);
  const auto settled = ada->get(invitations + "/" + text_of(sent, "id"));
  EXPECT_EQ(text_of(settled, "accepted_by"), me(*person));
  EXPECT_EQ(code(ada->del(invitations + "/" + text_of(sent, "id"))), "invitation_settled");
  EXPECT_EQ(code(ada->post(invitations + "/" + text_of(sent, "id") + "/resend", {})), "invitation_settled");
  EXPECT_EQ(ada->all(invitations + "?pending=true").size(), 0u);
  EXPECT_EQ(ada->all(invitations + "?pending=false").size(), 1u);
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AnInvitation, IsAcceptedByTheAccountOfItsAddressOnly) {
  const auto bob = stack.person("bob"), eve = stack.person("eve");
  const auto token = token_of(invite(*amy, "bob"));
  EXPECT_EQ(code(accept(*eve, token)), "other_account");
  EXPECT_EQ(code(join(token)), "email_taken");
  EXPECT_EQ(stack.client().post("/invitations/acceptance", body(token)).status, 401u);
  EXPECT_EQ(bob->get("/organizations/" + organization).status, 404u);
  const auto accepted = accept(*bob, token);
  ASSERT_EQ(accepted.status, 200u) << accepted.body;
  EXPECT_EQ(text_of(accepted, "role"), "member");
  EXPECT_EQ(bob->get("/organizations/" + organization).json(), accepted.json());
  EXPECT_EQ(accept(*bob, token).status, 422u);
  EXPECT_EQ(code(invite(*amy, "bob")), "member_already");
}

TEST_F(AnInvitation, KeepsWhoBecameAMemberMeanwhileAsTheyAre) {
  const auto bob = stack.person("bob");
  const auto token = token_of(invite(*ada, "bob", R"(,"role":"owner")"));
  EXPECT_EQ(ada->post("/organizations/" + organization + "/members", R"({"email":"bob@example.org"})").status, 201u);
  EXPECT_EQ(text_of(accept(*bob, token), "role"), "member");
}

TEST_F(AnInvitation, GivesNothingThatItsSenderMayNotGive) {
  const auto mia = colleague(stack, *ada, organization, "mia", "manager");
  EXPECT_EQ(invite(*mia, "x").status, 403u);
  EXPECT_EQ(invite(*amy, "x", R"(,"role":"owner")").status, 403u);
  EXPECT_EQ(invite(*amy, "x", R"(,"permissions":["organization.delete"])").status, 403u);
  EXPECT_EQ(code(invite(*ada, "x", R"(,"permissions":["task.edit","-task.edit"])")), "contradictory");
  EXPECT_EQ(pointer(invite(*ada, "x", R"(,"permissions":["task.edit","task.eat"])")), "/permissions/1");
  const auto theirs = make_project(*ada, make_organization(*ada, "other")), own = make_project(*ada, organization);
  const auto refused = invite(
      *amy, "x",
      fmt::format(
          R"(,"projects":[{{"project_id":"{}","role":"lead"}},{{"project_id":"{}","role":"viewer"}},{{"project_id":"{}","role":"viewer"}}])",
          own, theirs, Uuid::make().text()));
  EXPECT_EQ(refused.status, 422u);
  EXPECT_EQ(pointer(refused), "/projects/1");
  EXPECT_EQ(refused.json().at("errors").as_array().size(), 2u);
  EXPECT_EQ(database.value("select count(*) from invitations"), "0");
  EXPECT_EQ(database.value("select count(*) from app.mails where kind = 'invitation'"), "0");
}

TEST_F(AnInvitation, GivesNothingThatItsSenderMayNotGiveByThen) {
  const auto bob = stack.person("bob");
  const auto project = make_project(*ada, organization);
  const auto into = fmt::format(R"(,"role":"manager","projects":[{{"project_id":"{}","role":"lead"}}])", project);
  const auto sent = invite(*amy, "bob", into);
  auto token = token_of(sent);
  for (const auto& [lost, back] : std::vector<std::pair<std::string, std::string>>{
           {R"({"role":"manager"})", R"({"role":"admin"})"},
           {R"({"permissions":["-member.invite"]})", R"({"permissions":[]})"},
           {R"({"permissions":["-project.create"]})", R"({"permissions":[]})"}}) {
    EXPECT_EQ(change(id_of_amy, lost).status, 200u);
    EXPECT_EQ(accept(*bob, token).status, 422u) << lost;
    EXPECT_EQ(preview(token).status, 422u) << lost;
    EXPECT_EQ(change(id_of_amy, back).status, 200u);
    EXPECT_EQ(preview(token).status, 200u) << back;
  }
  database.run("update users set status = 'suspended' where email like 'amy@%'");
  EXPECT_EQ(accept(*bob, token).status, 422u);
  // Somebody else sends it again and answers for it.
  token = token_of(ada->post(invitations + "/" + text_of(sent, "id") + "/resend", {}));
  // A project that the sender can add nobody to any more is left out.
  const auto other = make_project(*ada, organization);
  database.run("update invitations set projects = projects || jsonb_build_array(jsonb_build_object('project_id', '" +
               other + "', 'role', 'viewer'))");
  EXPECT_EQ(ada->del("/projects/" + project).status, 204u);
  EXPECT_EQ(accept(*bob, token).status, 200u);
  EXPECT_EQ(database.value("select string_agg(project_id::text, ' ') from project_members"), other);
}

TEST_F(AnInvitation, ThatIsUnknownExpiredRevokedOrReplacedLooksTheSame) {
  const auto bob = stack.person("bob");
  const auto first = invite(*amy, "bob"), gone = invite(*amy, "gone"), late = invite(*amy, "late");
  const auto path = invitations + "/" + text_of(first, "id");
  EXPECT_EQ(code(invite(*ada, "bob")), "invitation_pending");
  const auto again = amy->post(path + "/resend", {});
  ASSERT_EQ(again.status, 200u) << again.body;
  EXPECT_NE(token_of(again), token_of(first));
  EXPECT_EQ(amy->del(invitations + "/" + text_of(gone, "id")).status, 204u);
  database.run("update invitations set expires_at = now() where email like 'late@%'");
  EXPECT_EQ(ada->all(invitations + "?pending=true").size(), 1u);

  const auto unknown = essence(preview("cannot be a token"));
  for (const auto& token : {token_of(first), token_of(gone), token_of(late), std::string(43, 'A'), std::string("x")}) {
    EXPECT_EQ(preview(token).status, 422u);
    EXPECT_EQ(essence(preview(token)), unknown);
    EXPECT_EQ(essence(accept(*bob, token)), unknown);
    EXPECT_EQ(essence(join(token)), unknown);
  }
  // An expired one can be sent again; a revoked one can be made anew.
  EXPECT_EQ(preview(token_of(amy->post(invitations + "/" + text_of(late, "id") + "/resend", {}))).status, 200u);
  EXPECT_EQ(preview(token_of(invite(*amy, "gone"))).status, 200u);
  EXPECT_EQ(accept(*bob, token_of(again)).status, 200u);
  EXPECT_EQ(database.value("select count(*) from app.invitation_tokens"), "2");
}

TEST_F(AnInvitation, IsGoodOnceAlsoWhenItIsUsedTwiceAtOnce) {
  const auto bob = stack.person("bob"), again = log_in("bob");
  for (int round = 0; round < 4; ++round) {
    const auto registered = token_of(invite(*amy, fmt::format("new{}", round)));
    const auto token = token_of(invite(*amy, "bob"));
    std::latch start(2);
    unsigned first = 0, second = 0, third = 0, fourth = 0;
    std::thread other([&] {
      start.arrive_and_wait();
      first = accept(*again, token).status;
      third = join(registered).status;
    });
    start.arrive_and_wait();
    second = accept(*bob, token).status;
    fourth = join(registered).status;
    other.join();
    EXPECT_EQ(first + second, 622u) << first << " " << second;
    EXPECT_TRUE((third == 201) != (fourth == 201)) << third << " " << fourth;
    EXPECT_TRUE(std::min(third, fourth) == 201 && (std::max(third, fourth) == 409 || std::max(third, fourth) == 422))
        << third << " " << fourth;
    EXPECT_EQ(bob->del("/organizations/" + organization + "/members/" + me(*bob)).status, 204u);
  }
  EXPECT_EQ(database.value("select count(*) from users where email like 'new%'"), "4");
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AnInvitation, LeavesItsTokenNowhereButInTheLink) {
  const auto token = token_of(invite(*amy, "bob"));
  const auto hash = database.value("select encode(sha256('" + token + "'), 'hex')");
  EXPECT_EQ(
      database.value("select count(*) from app.invitation_tokens where encode(token_hash, 'hex') = '" + hash + "'"),
      "1");
  for (const auto& row : database.rows("select a::text from audit_logs a")) {
    EXPECT_EQ(row[0].find(token), std::string::npos);
    EXPECT_EQ(row[0].find(hash), std::string::npos);
  }
  EXPECT_EQ(text_of(ada->all(invitations).front(), "email"), "bob@example.org");
  EXPECT_EQ(ada->get(invitations).body.find(token), std::string::npos);
}

TEST_F(AnInvitation, KeepsNoAddressOfSomebodyWhoLeftForGood) {
  const auto bob = stack.person("bob");
  EXPECT_EQ(accept(*bob, token_of(invite(*amy, "bob"))).status, 200u);
  EXPECT_EQ(bob->del("/organizations/" + organization + "/members/" + me(*bob)).status, 204u);
  const auto again = token_of(invite(*ada, "bob"));
  EXPECT_EQ(bob->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password)).status, 204u);
  EXPECT_EQ(preview(again).status, 422u);
  EXPECT_EQ(database.value("select count(*) from invitations where email like 'bob@%'"), "0");
  EXPECT_EQ(database.value("select count(*) from audit_logs where concat(old_values, new_values) like '%bob@%'"), "0");
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
}

TEST_F(AnInvitation, OfAnOrganizationThatIsNotActiveIsNotValid) {
  const auto token = token_of(invite(*amy, "new"));
  EXPECT_EQ(ada->patch("/organizations/" + organization, R"({"status":"inactive"})").status, 200u);
  EXPECT_EQ(join(token).status, 422u);
  EXPECT_EQ(invite(*ada, "x").status, 403u);
  EXPECT_EQ(ada->all(invitations).size(), 1u);
  EXPECT_EQ(ada->patch("/organizations/" + organization, R"({"status":"active"})").status, 200u);
  EXPECT_EQ(ada->del("/organizations/" + organization).status, 204u);
  EXPECT_EQ(join(token).status, 422u);
  EXPECT_EQ(ada->post("/organizations/" + organization + "/restoration", {}).status, 200u);
  EXPECT_EQ(join(token).status, 201u);
}

TEST(AMailedInvitation, IsInTheMailOnlyAndSoProvesTheAddress) {
  const Stack stack([](Config& config) {
    config.server.base_url = "https://cairn.example.org";
    config.mail.url = "smtp://127.0.0.1:1";
  });
  auto database = stack.database();
  const auto ada = stack.person("ada");
  const auto organization = make_organization(*ada, "acme");
  const auto sent = ada->post("/organizations/" + organization + "/invitations", R"({"email":"new@example.org"})");
  ASSERT_EQ(sent.status, 201u) << sent.body;
  EXPECT_EQ(text_of(sent, "link"), "null");
  const auto mail =
      database.value("select body from app.mails where kind = 'invitation' and to_address = 'new@example.org'");
  EXPECT_THAT(mail, HasSubstr("ada Example invites you to acme"));
  EXPECT_THAT(mail, HasSubstr("https://cairn.example.org/invitation?token="));

  const auto closed = stack.beside([](Config& config) { config.registration.open = false; });
  const auto joined = closed->client().post("/invitations/registration", newcomer(token_in(mail)));
  ASSERT_EQ(joined.status, 201u) << joined.body;
  EXPECT_EQ(text_of(joined, "email_verified"), "true");
}

}  // namespace
}  // namespace cairn
