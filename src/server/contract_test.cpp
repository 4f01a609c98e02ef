// What must hold for every endpoint, derived from the registry: a new endpoint is tested by being registered.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <set>

#include "pg/contract.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

using api::Access;
using support::Stack;
using support::World;

// All of a reply that tells one from another, but for when it was asked and how many may follow; the request's id was
// given and is the same.
std::string essence(const support::Reply& reply) {
  std::string text = fmt::format("{}\n", reply.status);
  for (const auto& [name, value] : reply.headers)
    if (name != "date" && name != "ratelimit") text += fmt::format("{}: {}\n", name, value);
  return text + reply.body;
}
const std::vector<std::string> same_id{"X-Request-Id: same-request-id"};

TEST(EveryEndpoint, RefusesRequestsWithoutAToken) {
  Stack stack;
  const World world(stack, "a");
  auto anonymous = stack.client();
  auto database = stack.database();
  const auto before = database.digest();
  for (const auto& endpoint : stack.server().api().endpoints()) {
    if (endpoint->spec.allow == Access::anonymous) continue;
    SCOPED_TRACE(endpoint->spec.id);
    EXPECT_EQ(world.call(*endpoint, anonymous).status, 401u);
    anonymous.token = "cairn_s_" + std::string(64, 'A');
    EXPECT_EQ(world.call(*endpoint, anonymous).status, 401u);
    anonymous.token.clear();
  }
  EXPECT_EQ(database.digest(), before);
}

TEST(EveryEndpoint, AnswersForAnotherTenantsThingsAsForThingsThatDoNotExist) {
  Stack stack;
  const World own(stack, "a"), other(stack, "b");
  auto& owner = own.as(Access::owner);
  auto& administrator = own.as(Access::server_admin);
  auto database = stack.database();
  owner.get("/me");
  administrator.get("/me");
  const auto before = database.digest();
  unsigned asked = 0;
  for (const auto& endpoint : stack.server().api().endpoints()) {
    if (endpoint->path_names.empty()) continue;
    SCOPED_TRACE(endpoint->spec.id);
    std::vector<std::pair<std::string, std::string>> random;
    for (const auto& name : endpoint->path_names) random.emplace_back(name, Uuid::make().text());
    const auto body = own.body(*endpoint);
    // Nothing on the server is foreign to its administrators.
    const bool of_server = api::server_rank(endpoint->spec.allow) > 0;
    auto& client = of_server ? administrator : owner;
    const auto ask = [&](const std::string& path) {
      ++asked;
      return client.send(support::method_of(*endpoint), path, body, same_id);
    };
    const auto missing = ask(support::path_with(*endpoint, random));
    EXPECT_EQ(missing.status, 404u) << missing.body;
    if (!of_server) { EXPECT_EQ(essence(ask(other.path(*endpoint))), essence(missing)); }
    EXPECT_EQ(essence(ask(support::path_with(*endpoint, {{endpoint->path_names[0], "not-an-id"}}))), essence(missing));
    // One's own thing with somebody else's inside.
    if (endpoint->path_names.size() < 2) continue;
    auto mixed = random, none = random;
    mixed[0].second = none[0].second = own.id_of(endpoint->path_names[0]);
    mixed[1].second = other.id_of(endpoint->path_names[1]);
    const auto stranger = ask(support::path_with(*endpoint, mixed)), nobody = ask(support::path_with(*endpoint, none));
    EXPECT_EQ(nobody.status, 404u) << nobody.body;
    EXPECT_EQ(essence(stranger), essence(nobody));
  }
  EXPECT_GT(asked, 50u);
  EXPECT_EQ(database.digest(), before);
}

TEST(EveryEndpoint, RefusesALowerRoleAndServesTheLeastThatSuffices) {
  Stack stack;
  World world(stack, "a");
  auto database = stack.database();
  for (const auto& endpoint : stack.server().api().endpoints()) {
    SCOPED_TRACE(endpoint->spec.id);
    const auto allow = endpoint->spec.allow;
    if (allow > Access::member) {
      auto& lower = world.as(static_cast<Access>(static_cast<int>(allow) - 1));
      lower.get("/me");
      const auto before = database.digest();
      const auto refused = world.call(*endpoint, lower);
      EXPECT_EQ(refused.status, 403u) << refused.body;
      EXPECT_EQ(database.digest(), before);
    }
    const auto served = world.call(*endpoint, world.as(allow));
    EXPECT_LT(served.status, 300u) << served.body;
    world.renew();
  }
}

TEST(EveryEndpoint, IsInTheDescriptionAndNothingElseIs) {
  Stack stack;
  std::set<std::string> registered, described;
  for (const auto& endpoint : stack.server().api().endpoints())
    registered.insert(
        fmt::format("{} {}{} {}", support::method_of(*endpoint), api::prefix, endpoint->path, endpoint->spec.id));
  for (const auto& operation : stack.contract().operations())
    described.insert(fmt::format("{} {} {}", operation.method, operation.path,
                                 std::string(operation.description->at("operationId").as_string())));
  EXPECT_EQ(registered, described);
}

TEST(TheDescription, RefersToSchemasThatExistAndToAllOfThem) {
  const Stack stack;
  const auto text = boost::json::serialize(stack.contract().document());
  constexpr std::string_view start = R"("$ref":"#/components/schemas/)";
  std::set<std::string> used, there;
  for (auto at = text.find(start); at != std::string::npos; at = text.find(start, at + 1)) {
    const auto begin = at + start.size();
    used.insert(text.substr(begin, text.find('"', begin) - begin));
  }
  for (const auto& schema : stack.contract().document().at("components").at("schemas").as_object())
    there.insert(std::string(schema.key()));
  EXPECT_EQ(used, there);
}

TEST(EveryStatement, PreparesAsTheRuntimeRoleWithTheTypesItsCodeExpects) {
  const Stack stack;
  auto database = stack.app_database();
  EXPECT_EQ(pg::mismatches(database.raw()), std::vector<std::string>{});
  EXPECT_GT(pg::statements().size(), 100u);
}

}  // namespace
}  // namespace cairn
