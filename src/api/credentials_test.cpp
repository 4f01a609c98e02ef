#include "api/credentials.hpp"

#include <gtest/gtest.h>

namespace cairn::api {
namespace {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

http::Request request(const Fields& fields) {
  http::Request request;
  for (const auto& [name, value] : fields) request.headers.push_back({name, value});
  return request;
}

TEST(TheSessionCookie, IsFoundAmongOthersByItsWholeName) {
  const auto token = [](std::string_view field) { return credentials(request({{"Cookie", field}})).token; };
  EXPECT_EQ(token("__Host-cairn_session=abc"), "abc");
  EXPECT_EQ(token("a=1; __Host-cairn_session=abc;b=2"), "abc");
  EXPECT_EQ(token("a; =; ;;\t__Host-cairn_session=abc \t"), "abc");
  EXPECT_EQ(token("__Host-cairn_session=a=b"), "a=b");
  for (const auto* other :
       {"", "cairn_session=abc", "__host-cairn_session=abc", "x__Host-cairn_session=abc", "__Host-cairn_session_=abc",
        "__Host-cairn_session", "__Host-cairn_session=", "__Host-cairn_session =abc", "a=__Host-cairn_session=abc",
        "a=\"; \";__Host-cairn_sessio=abc"}) {
    EXPECT_EQ(token(other), "") << other;
    EXPECT_FALSE(credentials(request({{"Cookie", other}})).by_cookie) << other;
  }
}

TEST(TheSessionCookie, IsNotReadWhenItIsThereTwice) {
  for (const auto& fields : {Fields{{"Cookie", "__Host-cairn_session=a; __Host-cairn_session=a"}},
                             Fields{{"Cookie", "__Host-cairn_session=a; __Host-cairn_session=b"}},
                             Fields{{"Cookie", "__Host-cairn_session; __Host-cairn_session=b"}},
                             Fields{{"Cookie", "__Host-cairn_session=a"}, {"cookie", "b=1; __Host-cairn_session=b"}}}) {
    const auto found = credentials(request(fields));
    EXPECT_TRUE(found.ambiguous);
    EXPECT_EQ(found.token, "");
  }
}

TEST(ABearerToken, WinsOverTheCookie) {
  const auto found = credentials(request({{"Cookie", "__Host-cairn_session=abc"}, {"authorization", "bEARER xyz"}}));
  EXPECT_EQ(found.token, "xyz");
  EXPECT_FALSE(found.by_cookie);
  // What is no bearer token does not.
  const auto basic = credentials(request({{"Cookie", "__Host-cairn_session=abc"}, {"Authorization", "Basic YTpi"}}));
  EXPECT_EQ(basic.token, "abc");
  EXPECT_TRUE(basic.by_cookie);
}

bool own(const Fields& fields, std::string_view host = "cairn.example", bool secure = false,
         std::string_view base_url = "") {
  Remote remote;
  remote.host = host;
  remote.secure = secure;
  return same_origin(request(fields), remote, base_url);
}

TEST(APageOfThisServer, IsToldByItsOrigin) {
  EXPECT_TRUE(own({{"Origin", "https://cairn.example"}}));
  EXPECT_TRUE(own({{"Origin", "http://cairn.example"}}));
  EXPECT_TRUE(own({{"Origin", "http://[::1]:8080"}}, "[::1]:8080"));
  EXPECT_TRUE(own({{"Origin", "https://cairn.example"}, {"Sec-Fetch-Site", "same-origin"}}));
  for (const auto* origin :
       {"https://evil.example", "https://cairn.example.evil.example", "https://evil.example/cairn.example", "null", "",
        "https://", "cairn.example", "https://cairn.example:8443", "https://cairn.example/", "https://a.cairn.example",
        "ftp://cairn.example", "https://cairn.exampl", "https://evil.example https://cairn.example"})
    EXPECT_FALSE(own({{"Origin", origin}})) << origin;
  EXPECT_FALSE(own({{"Origin", "https://"}}, ""));
}

TEST(APageOfThisServer, IsToldBySecFetchSiteWhereThereIsNoOrigin) {
  EXPECT_TRUE(own({{"Sec-Fetch-Site", "same-origin"}}));
  for (const auto* site : {"same-site", "cross-site", "none", ""}) {
    EXPECT_FALSE(own({{"Sec-Fetch-Site", site}})) << site;
    EXPECT_FALSE(own({{"Sec-Fetch-Site", site}, {"Origin", "https://cairn.example"}})) << site;
  }
  EXPECT_FALSE(own({{"Sec-Fetch-Site", "same-origin"}, {"Origin", "https://evil.example"}}));
  EXPECT_FALSE(own({}));
  EXPECT_FALSE(own({{"Referer", "https://cairn.example/"}}));
}

TEST(APageOfThisServer, MayAlsoComeFromTheConfiguredAddress) {
  EXPECT_TRUE(own({{"Origin", "https://cairn.example"}}, "inner:8080", false, "https://Cairn.example/work"));
  EXPECT_TRUE(own({{"Origin", "http://inner:8080"}}, "inner:8080", false, "https://cairn.example"));
  EXPECT_FALSE(own({{"Origin", "http://cairn.example"}}, "inner:8080", false, "https://cairn.example"));
  EXPECT_FALSE(own({{"Origin", "https://cairn.example.evil"}}, "inner:8080", false, "https://cairn.example"));
}

TEST(APageOfThisServer, DoesNotComeInTheClearToWhatIsAskedForOverTls) {
  EXPECT_FALSE(own({{"Origin", "http://cairn.example"}}, "cairn.example", true));
  EXPECT_TRUE(own({{"Origin", "https://cairn.example"}}, "cairn.example", true));
}

}  // namespace
}  // namespace cairn::api
