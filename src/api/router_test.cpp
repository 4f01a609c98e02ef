#include "api/router.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace cairn::api {
namespace {

using http::Method;

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    add(Method::get, "/tasks");
    add(Method::get, "/tasks/{task}");
    add(Method::patch, "/tasks/{task}");
    add(Method::get, "/tasks/mine");
    add(Method::del, "/organizations/{organization}/members/{user}");
    router.emplace(endpoints);
  }
  void add(Method method, std::string path) {
    auto endpoint = std::make_unique<Endpoint>();
    endpoint->method = method;
    endpoint->path = std::move(path);
    endpoints.push_back(std::move(endpoint));
  }
  // The pattern found and the values in it; "none" when there is nothing at all, "other" when for other methods.
  std::string found(Method method, std::string_view path) {
    std::array<std::string_view, 4> values;
    const auto match = router->find(method, path, values);
    if (!match.endpoint) return match.allowed.empty() ? "none" : "other";
    auto text = match.endpoint->path;
    const auto names = std::count(text.begin(), text.end(), '{');
    for (std::ptrdiff_t i = 0; i < names; ++i) text += " " + std::string(values[static_cast<std::size_t>(i)]);
    return text;
  }

  std::vector<std::unique_ptr<Endpoint>> endpoints;
  std::optional<Router> router;
};

TEST_F(RouterTest, FindsAPathAndTheValuesInIt) {
  EXPECT_EQ(found(Method::get, "/tasks"), "/tasks");
  EXPECT_EQ(found(Method::get, "/tasks/7"), "/tasks/{task} 7");
  EXPECT_EQ(found(Method::del, "/organizations/a%20b/members/c"),
            "/organizations/{organization}/members/{user} a%20b c");
}

TEST_F(RouterTest, PrefersAWordToAName) { EXPECT_EQ(found(Method::get, "/tasks/mine"), "/tasks/mine"); }

TEST_F(RouterTest, TakesHeadForGet) { EXPECT_EQ(found(Method::head, "/tasks/7"), "/tasks/{task} 7"); }

TEST_F(RouterTest, TellsAnUnknownPathFromAnotherMethods) {
  EXPECT_EQ(found(Method::post, "/tasks/7"), "other");
  std::array<std::string_view, 4> values;
  EXPECT_EQ(router->find(Method::post, "/tasks/7", values).allowed, (std::vector{Method::get, Method::patch}));
  for (const auto* path : {"", "/", "/task", "/tasks/", "/tasks//", "//tasks", "/tasks/7/", "/tasks/7/8", "/Tasks",
                           "/organizations//members/1", "/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6/7/8/9/10"})
    EXPECT_EQ(found(Method::get, path), "none") << path;
}

}  // namespace
}  // namespace cairn::api
