// What somebody known was refused is on the record, once a minute and for everybody who is to see it.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "session/api_token.hpp"
#include "support/story.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

using namespace support;

class Refusals : public testing::Test {
 protected:
  // Of the person, newest first.
  std::vector<boost::json::value> denied(Client& client) {
    std::vector<boost::json::value> found;
    for (auto& entry : client.all("/me/audit"))
      if (text_of(entry, "outcome") == "denied") found.push_back(std::move(entry));
    return found;
  }

  Stack stack;
  Database database = stack.database();
  std::unique_ptr<Client> ada = stack.person("ada");
  std::string organization = make_organization(*ada, "acme"), path = "/organizations/" + organization;
  std::unique_ptr<Client> bob = colleague(stack, *ada, organization, "bob", "member");
};

TEST_F(Refusals, SayWhoWasRefusedWhatAndWhy) {
  EXPECT_EQ(bob->send("DELETE", path, {}, {"X-Request-Id: refused-request"}).status, 403u);
  EXPECT_EQ(bob->get("/admin/users").status, 403u);
  const auto entries = denied(*bob);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(text_of(entries[0], "operation"), "admin_user.list");
  const auto& entry = entries[1];
  EXPECT_EQ(text_of(entry, "action"), "login");
  EXPECT_EQ(text_of(entry, "operation"), "organization.remove");
  EXPECT_EQ(text_of(entry, "reason"), "forbidden");
  EXPECT_EQ(text_of(entry, "user_id"), me(*bob));
  EXPECT_EQ(text_of(entry, "entity_id"), me(*bob));
  EXPECT_EQ(text_of(entry, "request_id"), "refused-request");
  EXPECT_EQ(text_of(entry, "ip_address"), "127.0.0.1");
  EXPECT_EQ(text_of(entry, "token_id"), "null");
}

TEST_F(Refusals, AreRecordedOnceAMinuteForEachOperationByAllNodesTogether) {
  const auto other = stack.beside();
  auto elsewhere = other->client();
  elsewhere.token = bob->token;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(bob->del(path).status, 403u);
    EXPECT_EQ(elsewhere.del(path).status, 403u);
  }
  EXPECT_EQ(bob->patch(path, R"({"name":"x"})").status, 403u);
  EXPECT_EQ(denied(*bob).size(), 2u);
  database.run("update app.denials set recorded_at = recorded_at - interval '1 minute'");
  const auto third = stack.beside();
  auto later = third->client();
  later.token = bob->token;
  EXPECT_EQ(later.del(path).status, 403u);
  EXPECT_EQ(denied(*bob).size(), 3u);
}

TEST_F(Refusals, NameTheApiTokenWhoseScopeDidNotSuffice) {
  const auto token = bob->post("/me/tokens", R"({"name":"robot","scopes":["read"]})");
  const auto robot = stack.with_token(made(token, "token"));
  EXPECT_EQ(robot->post(path + "/projects", R"({"name":"x"})").status, 403u);
  EXPECT_EQ(robot->get("/me").status, 403u);
  const auto entries = denied(*bob);
  ASSERT_EQ(entries.size(), 2u);
  for (const auto& entry : entries) {
    EXPECT_EQ(text_of(entry, "reason"), "insufficient_scope");
    EXPECT_EQ(text_of(entry, "token_id"), text_of(token, "id"));
  }
  EXPECT_EQ(text_of(entries[0], "operation"), "account.show");
}

TEST_F(Refusals, AreNotRecordedOfNobodyKnownNorOfWhatDoesNotExist) {
  auto nobody = stack.client();
  nobody.token = "cairn_s_" + std::string(64, 'A');
  EXPECT_EQ(nobody.get("/admin/users").status, 401u);
  EXPECT_EQ(bob->get("/organizations/" + Uuid::make().text()).status, 404u);
  EXPECT_EQ(
      stack.client()
          .send("DELETE", path, {}, {"Cookie: __Host-cairn_session=" + bob->token, "Origin: https://evil.example"})
          .status,
      403u);
  EXPECT_EQ(database.value("select count(*) from audit_logs where metadata->>'outcome' = 'denied'"), "0");
}

TEST_F(Refusals, StandBesideTheReasonsForWhichSessionsEnded) {
  const auto other = stack.with_token(
      made(stack.client().post("/sessions",
                               fmt::format(R"({{"email":"bob@example.org","password":"{}"}})", Stack::password)),
           "token"));
  EXPECT_EQ(bob->del("/me/sessions").status, 204u);
  const auto entries = bob->all("/me/audit?entity_type=sessions");
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(text_of(entries[0], "reason"), "revoked");
  EXPECT_EQ(other->get("/me").status, 401u);
}

TEST_F(Refusals, OfApiTokensAreForetoldByTheDocument) {
  for (const auto& endpoint : stack.server().api().endpoints()) {
    if (endpoint->spec.allow == api::Access::anonymous) continue;
    const auto scope = session::scope_of(*endpoint);
    const auto& described =
        *stack.contract().operation(method_of(*endpoint), fmt::format("{}{}", api::prefix, endpoint->path));
    const auto wanted = scope ? std::string(json::Codec<session::Scope>::name(*scope)) : std::string("null");
    EXPECT_EQ(text_of(described.at("x-authz"), "scope"), wanted) << endpoint->spec.id;
    EXPECT_TRUE(described.at("responses").at("429").at("headers").as_object().contains("Retry-After"));
  }
}

}  // namespace
}  // namespace cairn
