#include "base/json.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace cairn::json {
namespace {

std::string detail_of(std::string_view text) {
  try {
    parse(text);
  } catch (const Problem& problem) { return problem.detail; }
  return {};
}

TEST(Json, IsReadAndWrittenWithoutChange) {
  for (const std::string text : {R"({"a":[1,-2.5,true,null,"\"\\\u0001ä🕳"],"b":{}})", "[]", "18446744073709551615"})
    EXPECT_EQ(json::text(parse(text)), text);
  EXPECT_EQ(json::text(parse("[-0,-0.0,1.0]")), "[0,0,1]");
  for (const std::string text : {"123456789012345678900617.0", "18446744073709551615e-1", "1.7976931348623157e308",
                                 "2.2250738585072011e-308", "0.1", "9007199254740993.0"})
    EXPECT_EQ(parse("[" + text + "]").at(0), std::strtod(text.c_str(), nullptr)) << text;
}

TEST(Json, SaysWhereAndWhyItIsRefused) {
  EXPECT_EQ(detail_of("{\"a\":1,\n \"a\":2}").find("The body is not acceptable JSON at line 2"), 0u);
  EXPECT_NE(detail_of("{\"a\":1,\"a\":2}").find("given twice"), std::string::npos);
  EXPECT_NE(detail_of(std::string(33, '[') + std::string(33, ']')).find("nested deeper"), std::string::npos);
  EXPECT_EQ(detail_of(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_NE(detail_of("[1e309]"), "");
  EXPECT_NE(detail_of("[0.01e-308]"), "");
  EXPECT_NE(detail_of("[1e131071]").find("exponents"), std::string::npos);
  EXPECT_NE(detail_of("[" + std::string(41, '1') + "]").find("40 characters"), std::string::npos);
  EXPECT_NE(detail_of(R"(["\u0000"])").find("NUL"), std::string::npos);
  for (const auto* text : {"", "{} {}", R"(["\ud800"])", "[\"\xff\"]", "[NaN]", "[1,]"}) EXPECT_NE(detail_of(text), "");
}

TEST(Json, ThatIsStoredHasLimits) {
  const auto problem = [](const std::string& text) { return stored_problem(parse(text), text); };
  EXPECT_EQ(problem(R"({"a":1})"), "");
  EXPECT_NE(problem("{\"a\":\"" + std::string(stored_bytes, 'x') + "\"}"), "");
  std::string many = "{";
  for (std::size_t i = 0; i <= stored_members; ++i) many += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_NE(problem(many + "}"), "");
}

}  // namespace
}  // namespace cairn::json
