// Browsers: sessions in a cookie, and the pages of others that would ride on it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <algorithm>
#include <map>

#include "support/world.hpp"

namespace cairn {
namespace {

using api::Access;
using support::Reply;
using support::Stack;
using support::text_of;
using support::World;

const std::string own_page = "Origin: http://localhost";

Reply log_in(const Stack& stack, std::string_view name, const std::vector<std::string>& extra = {own_page}) {
  return stack.client().send(
      "POST", "/sessions",
      fmt::format(R"({{"email":"{}","password":"{}","cookie":true}})", Stack::email(name), Stack::password), extra);
}
std::string cookie(std::string_view token) { return fmt::format("Cookie: __Host-cairn_session={}", token); }
// The token in a Set-Cookie field.
std::string token_in(const Reply& reply) {
  const auto field = reply.header("set-cookie");
  const auto begin = field.find('=') + 1;
  return field.substr(begin, field.find(';') - begin);
}

TEST(Browsers, GetTheirSessionInACookieThatNoScriptAndNoOtherHostSees) {
  const Stack stack;
  stack.person("ada");
  const auto login = log_in(stack, "ada");
  ASSERT_EQ(login.status, 201u) << login.body;
  EXPECT_EQ(text_of(login, "token"), "null");
  const auto token = token_in(login);
  EXPECT_TRUE(token.starts_with("cairn_s_"));
  EXPECT_EQ(login.body.find(token), std::string::npos);
  EXPECT_EQ(login.header("set-cookie"),
            "__Host-cairn_session=" + token + "; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax");
  EXPECT_EQ(login.header("cache-control"), "no-store");

  auto client = stack.client();
  EXPECT_EQ(text_of(client.get("/me", {"Cookie: theme=dark; __Host-cairn_session=" + token}), "email"),
            "ada@example.org");
  EXPECT_EQ(client.get("/me", {"Authorization: Bearer " + token}).status, 200u);
  EXPECT_EQ(client.patch("/me", R"({"first_name":"Augusta"})", {cookie(token), own_page}).status, 200u);
  for (const auto* header : {"access-control-allow-origin", "access-control-allow-credentials"})
    EXPECT_EQ(client.get("/me", {cookie(token), own_page}).header(header), "");
}

TEST(Browsers, LoseTheCookieWithTheSession) {
  const Stack stack;
  stack.person("ada");
  const auto token = token_in(log_in(stack, "ada"));
  auto client = stack.client();
  const auto logout = client.del("/session", {cookie(token), own_page});
  EXPECT_EQ(logout.status, 204u);
  EXPECT_EQ(logout.header("set-cookie"), "__Host-cairn_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
  const auto after = client.get("/me", {cookie(token)});
  EXPECT_EQ(after.status, 401u);
  // Another window may have logged in meanwhile.
  EXPECT_EQ(after.header("set-cookie"), "");
}

TEST(Browsers, GetNoCookieWithATokenInTheBodyNorWhenRefused) {
  const Stack stack;
  const auto ada = stack.person("ada");
  EXPECT_EQ(
      ada->post("/sessions", R"({"email":"ada@example.org","password":"correct horse battery staple","cookie":false})")
          .header("set-cookie"),
      "");
  EXPECT_EQ(
      stack.client()
          .send("POST", "/sessions", R"({"email":"ada@example.org","password":"wrong","cookie":true})", {own_page})
          .header("set-cookie"),
      "");
  EXPECT_EQ(ada->del("/session").header("set-cookie"), "");
}

// What a browser has after a reply: its cookies by name.
std::map<std::string, std::string> jar(const Reply& reply) {
  std::map<std::string, std::string> cookies;
  for (const auto& [name, field] : reply.headers) {
    if (name != "set-cookie") continue;
    const auto equals = field.find('=');
    cookies[field.substr(0, equals)] = field.substr(equals + 1, field.find(';') - equals - 1);
  }
  return cookies;
}
const std::string refresh_name = "__Secure-cairn_refresh";

Reply log_in_to_stay(const Stack& stack, std::string_view name) {
  return stack.client().send("POST", "/sessions",
                             fmt::format(R"({{"email":"{}","password":"{}","cookie":true,"remember":true}})",
                                         Stack::email(name), Stack::password),
                             {own_page});
}
Reply refresh(const Stack& stack, const std::string& token, const std::vector<std::string>& extra = {own_page}) {
  auto headers = extra;
  headers.push_back(fmt::format("Cookie: {}={}", refresh_name, token));
  return stack.client().send("POST", "/sessions/refresh", "{}", headers);
}

TEST(Browsers, StayLoggedInByASecondCookieThatOnlyRefreshingSees) {
  const Stack stack;
  stack.person("ada");
  const auto login = log_in_to_stay(stack, "ada");
  ASSERT_EQ(login.status, 201u) << login.body;
  EXPECT_EQ(text_of(login, "token"), "null");
  EXPECT_EQ(text_of(login, "refresh_token"), "null");
  const auto first = jar(login);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_NE(login.headers.end(), std::ranges::find_if(login.headers, [](const auto& header) {
              return header.second.ends_with(
                         "; Path=/api/v1/sessions/refresh; Max-Age=2592000; HttpOnly; Secure; "
                         "SameSite=Strict") ||
                     header.second.ends_with(
                         "; Path=/api/v1/sessions/refresh; Max-Age=2591999; HttpOnly; Secure; "
                         "SameSite=Strict");
            }));

  const auto refreshed = refresh(stack, first.at(refresh_name));
  ASSERT_EQ(refreshed.status, 200u) << refreshed.body;
  EXPECT_EQ(text_of(refreshed, "token"), "null");
  EXPECT_EQ(text_of(refreshed, "refresh_token"), "null");
  const auto second = jar(refreshed);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_NE(second, first);
  EXPECT_EQ(stack.client().get("/me", {cookie(second.at("__Host-cairn_session"))}).status, 200u);
  // Another tab that was slower gets the same.
  EXPECT_EQ(jar(refresh(stack, first.at(refresh_name))), second);

  const auto third = jar(refresh(stack, second.at(refresh_name)));
  const auto loser = refresh(stack, first.at(refresh_name));
  EXPECT_EQ(text_of(loser, "code"), "refresh_token_reused");
  EXPECT_EQ(loser.header("set-cookie"), "");
  const auto dead = refresh(stack, third.at(refresh_name));
  EXPECT_EQ(text_of(dead, "code"), "invalid_refresh_token");
  EXPECT_EQ(dead.header("set-cookie"), "");
}

TEST(Browsers, LoseBothCookiesWithTheSession) {
  const Stack stack;
  stack.person("ada");
  const auto cookies = jar(log_in_to_stay(stack, "ada"));
  const auto logout = stack.client().del("/session", {cookie(cookies.at("__Host-cairn_session")), own_page});
  EXPECT_EQ(logout.status, 204u);
  EXPECT_EQ(jar(logout), (std::map<std::string, std::string>{{"__Host-cairn_session", ""}, {refresh_name, ""}}));
  EXPECT_EQ(refresh(stack, cookies.at(refresh_name)).status, 401u);
}

TEST(PagesOfOthers, CannotRefresh) {
  const Stack stack;
  stack.person("ada");
  const auto token = jar(log_in_to_stay(stack, "ada")).at(refresh_name);
  for (const auto& extra :
       std::vector<std::vector<std::string>>{{}, {"Origin: https://evil.example"}, {"Sec-Fetch-Site: cross-site"}}) {
    EXPECT_EQ(text_of(refresh(stack, token, extra), "code"), "cross_origin");
  }
  EXPECT_EQ(text_of(refresh(stack, token, {own_page, "Cookie: " + refresh_name + "=x"}), "code"), "duplicate_cookie");
  EXPECT_EQ(stack.client().send("POST", "/sessions/refresh", "{}", {own_page}).status, 401u);
  EXPECT_EQ(refresh(stack, token).status, 200u);
}

TEST(PagesOfOthers, CannotLogAnybodyIn) {
  const Stack stack;
  stack.person("ada");
  auto database = stack.database();
  const auto before = database.digest();
  for (const auto& extra : std::vector<std::vector<std::string>>{{},
                                                                 {"Origin: https://evil.example"},
                                                                 {"Origin: null"},
                                                                 {"Sec-Fetch-Site: cross-site"},
                                                                 {own_page, "Sec-Fetch-Site: same-site"}}) {
    const auto refused = log_in(stack, "ada", extra);
    EXPECT_EQ(refused.status, 403u);
    EXPECT_EQ(text_of(refused, "code"), "cross_origin");
    EXPECT_EQ(refused.header("set-cookie"), "");
  }
  EXPECT_EQ(database.digest(), before);
  EXPECT_EQ(log_in(stack, "ada", {"Sec-Fetch-Site: same-origin"}).status, 201u);
}

TEST(PagesOfOthers, ChangeNothingThroughAnyEndpointThoughTheCookieComesAlong) {
  Stack stack;
  World world(stack, "a");
  auto database = stack.database();
  auto browser = stack.client();
  unsigned asked = 0;
  for (const auto& endpoint : stack.server().api().endpoints()) {
    const auto allow = endpoint->spec.allow;
    if (allow == Access::anonymous) continue;
    SCOPED_TRACE(endpoint->spec.id);
    ++asked;
    const auto ask = [&](std::vector<std::string> extra) {
      extra.push_back(cookie(world.as(allow).token));
      return browser.send(support::method_of(*endpoint), world.path(*endpoint), world.body(*endpoint), extra);
    };
    if (api::endpoint_reads(endpoint->method)) {
      EXPECT_EQ(ask({"Origin: https://evil.example"}).status, 200u);
      continue;
    }
    const auto before = database.digest();
    for (const auto& extra : std::vector<std::vector<std::string>>{
             {}, {"Origin: https://evil.example"}, {"Sec-Fetch-Site: cross-site"}, {"Origin: http://localhost:81"}}) {
      const auto refused = ask(extra);
      EXPECT_EQ(refused.status, 403u);
      EXPECT_EQ(text_of(refused, "code"), "cross_origin");
    }
    EXPECT_EQ(database.digest(), before);
    const auto served = ask({own_page});
    EXPECT_TRUE(served.status < 300 || World::is_done_once(*endpoint)) << served.status << served.body;
    EXPECT_NE(served.status, 403u);
    world.renew();
  }
  EXPECT_GT(asked, 20u);
}

TEST(Cookies, OfOthersMeanNothingAndTwoOfOursAreRefused) {
  const Stack stack;
  const auto ada = stack.person("ada"), bob = stack.person("bob");
  auto client = stack.client();
  EXPECT_EQ(client.get("/me", {"Cookie: cairn_session=" + ada->token}).status, 401u);
  EXPECT_EQ(client.get("/me", {cookie("\"" + ada->token + "\"")}).status, 401u);
  EXPECT_EQ(client.get("/me", {cookie(ada->token.substr(1))}).status, 401u);
  const auto twice = client.get("/me", {cookie(ada->token), cookie(bob->token)});
  EXPECT_EQ(twice.status, 400u);
  EXPECT_EQ(text_of(twice, "code"), "duplicate_cookie");
  // A bearer token is meant, the cookie only comes along.
  const auto both = bob->get("/me", {cookie(ada->token)});
  EXPECT_EQ(text_of(both, "email"), "bob@example.org");
  EXPECT_EQ(bob->patch("/me", R"({"first_name":"Rob"})", {cookie(ada->token)}).status, 200u);
}

TEST(Cookies, AreInNoLog) {
  std::string token, guess = "cairn_s_" + std::string(64, 'B'), written;
  testing::internal::CaptureStderr();
  {
    const Stack stack([](Config& config) { config.log.access = log::AccessMode::all; });
    stack.person("ada");
    token = token_in(log_in(stack, "ada"));
    auto client = stack.client();
    client.get("/me", {cookie(token)});
    client.get("/me", {cookie(guess)});
    client.patch("/me", "{}", {cookie(token)});
    client.get("//" + token, {cookie(token)});
  }
  written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("/me"), std::string::npos);
  for (const auto& secret : {token, guess}) EXPECT_EQ(written.find(secret.substr(8)), std::string::npos);
}

TEST(Cookies, AreDescribedBesideBearerTokens) {
  const Stack stack;
  const auto& schemes = stack.contract().document().at("components").at("securitySchemes");
  EXPECT_EQ(text_of(schemes.at("cookie"), "name"), "__Host-cairn_session");
  for (const auto& operation : stack.contract().operations()) {
    const auto& security = operation.description->at("security").as_array();
    if (security.empty()) continue;
    EXPECT_TRUE(security.at(0).as_object().contains("bearer"));
    EXPECT_TRUE(security.at(1).as_object().contains("cookie"));
  }
}

}  // namespace
}  // namespace cairn
