// What nobody should send: refused with a problem that says where, never with an error of ours, and without a trace in
// the database.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "support/world.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using support::Reply;
using support::Stack;
using support::text_of;
using support::World;

class BadInput : public testing::Test {
 protected:
  // Calls it as somebody who may.
  Reply send(const api::Endpoint& endpoint, std::string_view body) {
    return world.as(endpoint.spec.allow).send(support::method_of(endpoint), world.path(endpoint), body);
  }
  const api::Endpoint& endpoint(std::string_view id) {
    for (const auto& endpoint : stack.server().api().endpoints())
      if (endpoint->spec.id == id) return *endpoint;
    throw std::runtime_error("no endpoint " + std::string(id));
  }
  // An acceptable body with one member replaced, whose JSON text need not be valid.
  std::string with(const api::Endpoint& endpoint, std::string_view member, std::string_view value) {
    auto body = bj::parse(world.body(endpoint)).as_object();
    body.erase(member);
    auto text = bj::serialize(body);
    text.pop_back();
    return fmt::format("{}{}\"{}\":{}}}", text, body.empty() ? "" : ",", member, value);
  }
  // Refused, with a pointer into the member where the reply points at anything.
  static void expect_refused(const Reply& reply, std::string_view member) {
    ASSERT_TRUE(reply.status == 400 || reply.status == 422) << reply.status << " " << reply.body;
    if (reply.status == 400) return;
    const auto body = reply.json();
    const auto* errors = body.as_object().if_contains("errors");
    ASSERT_TRUE(errors) << reply.body;
    bool found = false;
    for (const auto& error : errors->as_array())
      found = found || text_of(error, "pointer").starts_with("/" + std::string(member));
    EXPECT_TRUE(found) << reply.body;
  }
  void TearDown() override { EXPECT_EQ(database.digest(), before) << "something was stored"; }

  Stack stack;
  World world{stack, "a"};
  support::Database database = stack.database();
  std::string before = database.digest();
};

struct Wrong {
  std::string_view member;
  std::vector<std::string> values;
};

std::string text(std::size_t count, std::string_view what = "x") {
  std::string out = "\"";
  while (count-- > 0) out += what;
  return out + "\"";
}
std::string list(std::size_t count, const std::function<std::string(std::size_t)>& item) {
  std::string out = "[";
  for (std::size_t i = 0; i < count; ++i) out += (i ? "," : "") + item(i);
  return out + "]";
}
std::string object(std::size_t count, const std::function<std::string(std::size_t)>& item) {
  std::string out = "{";
  for (std::size_t i = 0; i < count; ++i) out += fmt::format("{}\"m{}\":{}", i ? "," : "", i, item(i));
  return out + "}";
}
std::string nested(std::size_t depth) {
  std::string out = "1";
  for (std::size_t i = 0; i < depth; ++i) out = "{\"a\":" + out + "}";
  return out;
}
std::string number(std::size_t i) { return std::to_string(i); }

// Of any one-line text.
const std::vector<std::string> bad_lines{R"("")",
                                         R"("\u00a0")",
                                         R"("\u3000")",
                                         R"("a\u2028b")",
                                         R"("a\u0085b")",
                                         R"(" ")",
                                         R"("\t")",
                                         R"(" x")",
                                         R"("x ")",
                                         R"("a\nb")",
                                         R"("a\u0000b")",
                                         R"("\u0001")",
                                         R"("a\u007fb")",
                                         R"("\ud800")",
                                         R"("\udc00x")",
                                         "\"\xff\"",
                                         "\"\xc3\"",
                                         "\"\xed\xa0\x80\"",
                                         "\"\xc0\xaf\"",
                                         "\"a\tb\"",
                                         std::string("\"a\0b\"", 5),
                                         "1",
                                         "true",
                                         "[]",
                                         "{}",
                                         "[\"x\"]"};
const std::vector<std::string> bad_documents{"1",
                                             "\"x\"",
                                             "true",
                                             "[]",
                                             "null",
                                             "{\"a\":1,\"a\":2}",
                                             "{\"a\":1e131071}",
                                             "{\"a\":[1e131071]}",
                                             "{\"a\":-1e400}",
                                             "{\"a\":1e-400}",
                                             "{\"a\":1" + std::string(40, '0') + "}",
                                             "{\"a\":0." + std::string(40, '1') + "}",
                                             "{\"a\":\"\\u0000\"}",
                                             "{\"\\u0000\":1}",
                                             "{\"a\":\"\\ud800\"}",
                                             "{\"\\udfff\":1}",
                                             "{\"a\":\"\xff\"}",
                                             "{\"a\":NaN}",
                                             "{\"a\":Infinity}",
                                             "{\"a\":01}",
                                             "{\"a\":.5}",
                                             "{\"a\":1.}",
                                             "{'a':1}",
                                             "{\"a\":1,}",
                                             "{a:1}",
                                             "{\"a\":1 /**/}",
                                             nested(33),
                                             nested(5000),
                                             object(257, number),
                                             "{\"a\":" + text(17 * 1024) + "}",
                                             "{\"a\":" + object(300, number) + "}",
                                             "{\"a\":" + list(8000, number) + "}"};

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(BadInput, OfTasksIsRefusedAtItsMember) {
  const std::vector<std::string> hours{"-7",     "1.5",   "1000001", "1000000000", "99999999999999999999",
                                       "1e3000", "\"8\"", "true",    "[]"};
  const std::vector<Wrong> wrongs{
      {"title", joined(bad_lines, {"null", text(201), text(201, "🕳"), text(200'000)})},
      {"description", {text(100'001), R"("a\u0000b")", "\"\xff\"", "1", "[]"}},
      {"status", {"null", R"("")", R"("Done")", R"("done ")", R"("finished")", "1", R"(["done"])"}},
      {"priority", {"null", R"("critical")", "0"}},
      {"assigned_to",
       {R"("")", R"("x")", R"("0195d6f0-0000-7000-8000-00000000000")", R"("{0195d6f0-0000-7000-8000-000000000000}")",
        R"("0195d6f000007000800000000000000000")", R"("0195d6f0-0000-7000-8000-000000000000")", "1"}},
      {"due_date",
       {R"("2026-02-03 04:05:06Z")", R"("now")", R"("today")", R"("infinity")", R"("-infinity")", R"("epoch")",
        R"("2026-02-30T00:00:00Z")", R"("2026-02-03")", R"("2026-02-03T04:05:06")", R"("0000-01-01T00:00:00Z")",
        R"("1899-12-31T23:59:59Z")", R"("10000-01-01T00:00:00Z")", R"("2026-13-01T00:00:00Z")",
        R"("2026-01-01T24:00:00Z")", R"("2026-01-01T00:60:00Z")", R"("2026-01-01T00:00:00+25:00")", R"("")",
        "1767225600"}},
      {"estimated_hours", hours},
      {"actual_hours", hours},
      {"tags",
       {"null", "1", R"("a")", R"([""])", R"([" "])", R"(["a","a"])", R"([null])", R"([1])", R"([["a"]])",
        R"(["a\nb"])", R"(["\u0000"])", "[" + text(65) + "]", "[" + text(3000) + "]", "[" + text(65, "🕳") + "]",
        R"(["\u3000"])", R"(["a\u0085b"])", list(51, [](std::size_t i) { return "\"t" + std::to_string(i) + "\""; })}},
      {"metadata", bad_documents},
      {"external_id", {R"("")", text(201), R"("a\nb")", "1"}},
  };
  for (const auto* id : {"task.create", "task.edit"}) {
    const auto& endpoint = this->endpoint(id);
    for (const auto& [member, values] : wrongs) {
      for (const auto& value : values) {
        // A draft may give null where it may leave out.
        if (value == "null" && endpoint.method == http::Method::post && member != "title") continue;
        SCOPED_TRACE(fmt::format("{} {}: {}", id, member, value.substr(0, 80)));
        expect_refused(send(endpoint, with(endpoint, member, value)), member);
      }
    }
  }
}

// PostgreSQL is who knows these, and it cannot say where.
TEST_F(BadInput, ThatOnlyLooksLikeTextIsRefused) {
  for (const auto* title : {R"("\u3000")", R"("\u2003\u2003")", R"("a\u0085b")"}) {
    for (const auto* id : {"task.create", "task.edit"})
      EXPECT_EQ(send(endpoint(id), with(endpoint(id), "title", title)).status, 422u) << title;
  }
}

TEST_F(BadInput, OfProjectsIsRefusedAtItsMember) {
  const std::vector<std::string> dates{R"("now")",
                                       R"("tomorrow")",
                                       R"("infinity")",
                                       R"("2026-02-30")",
                                       R"("2025-02-29")",
                                       R"("0000-01-01")",
                                       R"("1899-12-31")",
                                       R"("10000-01-01")",
                                       R"("2026-2-3")",
                                       R"("20260203")",
                                       R"("2026-02-03T00:00:00Z")",
                                       R"("")",
                                       R"("J2451187")",
                                       "20260203"};
  const std::vector<Wrong> wrongs{
      {"name", joined(bad_lines, {"null", text(201)})},
      {"description", {text(100'001), "1"}},
      {"status", {R"("done")", "1"}},
      {"priority", {R"("urgent")", "1"}},
      {"start_date", dates},
      {"end_date", dates},
      {"budget", {"-5",          R"("-0.01")", R"("NaN")", R"("Infinity")", "NaN",   R"("1e3")", R"("10000000000")",
                  "10000000000", R"("1.001")", "1.001",    R"("1,50")",     R"("")", R"(" 1")",  R"("0x10")",
                  R"("+1")",     R"("1.")",    R"(".5")",  "true",          "[]",    "1e300"}},
      {"metadata", bad_documents},
      {"external_id", {R"("")", text(201)}},
  };
  for (const auto* id : {"project.create", "project.edit"}) {
    const auto& endpoint = this->endpoint(id);
    for (const auto& [member, values] : wrongs) {
      for (const auto& value : values) {
        if (value == "null" && endpoint.method == http::Method::post && member != "name") continue;
        SCOPED_TRACE(fmt::format("{} {}: {}", id, member, value.substr(0, 80)));
        expect_refused(send(endpoint, with(endpoint, member, value)), member);
      }
    }
  }
  const auto order =
      send(endpoint("project.create"), R"({"name":"X","start_date":"2026-01-02","end_date":"2026-01-01"})");
  expect_refused(order, "end_date");
}

TEST_F(BadInput, OfOrganizationsMembersAndAccountsIsRefusedAtItsMember) {
  const std::vector<std::string> urls{R"("")",
                                      R"("x")",
                                      R"("javascript:alert")",
                                      R"("ftp://x.example")",
                                      R"("https://")",
                                      R"("//x.example")",
                                      R"("https:///x")",
                                      R"("https://a b")",
                                      R"("https://x\n")",
                                      R"("https://é.example")",
                                      text(501),
                                      "1"};
  const std::vector<std::string> addresses{R"("")",
                                           R"("x")",
                                           R"("@x.example")",
                                           R"("a@")",
                                           R"("a@b")",
                                           R"("a@@b.example")",
                                           R"("a b@c.example")",
                                           R"("é@x.example")",
                                           R"("a@é.example")",
                                           R"("a@x..example")",
                                           R"("a@x.example\n")",
                                           R"("a@x.example\u0000")",
                                           R"("Ada <a@x.example>")",
                                           "\"" + std::string(250, 'a') + "@x.example\"",
                                           "1",
                                           "null"};
  const std::vector<std::pair<std::string_view, std::vector<Wrong>>> wrongs{
      {"organization.create",
       {{"name", joined(bad_lines, {text(201), "null"})},
        {"slug",
         {R"("")", R"("a")", R"("A1")", R"("a_b")", R"("-ab")", R"("ab-")", R"("a--b")", R"("api")", text(64), "null"}},
        {"logo_url", urls},
        {"website_url", urls},
        {"industry", {text(101), R"("")"}},
        {"size", {R"("tiny")", "5"}},
        {"settings", bad_documents}}},
      {"organization.edit",
       {{"name", {"null", R"("")"}}, {"slug", {"null", R"("admin")"}}, {"settings", bad_documents}}},
      {"member.add", {{"email", addresses}, {"role", {R"("boss")", R"("Owner")", "1"}}}},
      {"member.edit", {{"role", {"null", R"("boss")", "1"}}}},
      {"account.create",
       {{"email", addresses},
        {"first_name", joined(bad_lines, {text(101), "null"})},
        {"last_name", {text(101), R"("")"}},
        {"password",
         {R"("")", R"("short")", text(14, "🕳"), text(1025), R"("correct horse battery\u0000")", "1", "null"}}}},
      {"account.edit", {{"first_name", joined(bad_lines, {text(101), "null"})}, {"last_name", {"null", "1"}}}},
      {"session.create", {{"email", addresses}, {"password", {"1", "null", text(1025), R"("a\u0000")"}}}},
  };
  for (const auto& [id, members] : wrongs) {
    const auto& endpoint = this->endpoint(id);
    for (const auto& [member, values] : members) {
      for (const auto& value : values) {
        if (value == "null" && id == std::string_view("organization.create") && member == "settings") continue;
        SCOPED_TRACE(fmt::format("{} {}: {}", id, member, value.substr(0, 80)));
        expect_refused(send(endpoint, with(endpoint, member, value)), member);
      }
    }
  }
}

// By schema, so that it also holds for what is not listed above.
TEST_F(BadInput, OfTheWrongTypeOrWithMembersOfItsOwnIsRefusedByEveryEndpoint) {
  const auto& document = stack.contract().document();
  const std::vector<std::string> values{"null", "true", "7", "-7.5", "\"?\"", "[]", "[null]", "{}"};
  unsigned sent = 0;
  for (const auto& endpoint : stack.server().api().endpoints()) {
    if (!support::takes_body(*endpoint)) continue;
    SCOPED_TRACE(endpoint->spec.id);
    const auto* operation =
        stack.contract().operation(support::method_of(*endpoint), std::string(api::prefix) + endpoint->path);
    ASSERT_TRUE(operation);
    const auto& schema = operation->at("requestBody").at("content").at("application/json").at("schema");
    const auto name = text_of(schema, "$ref").substr(std::string_view("#/components/schemas/").size());
    const auto& members = document.at("components").at("schemas").at(name).at("properties").as_object();
    for (const auto& member : members) {
      for (const auto& value : values) {
        if (support::schema_problem(bj::parse(value), member.value(), document).empty()) continue;
        SCOPED_TRACE(std::string(member.key()) + ": " + value);
        // A password that is too short for a login is only a wrong one.
        const auto reply = send(*endpoint, with(*endpoint, std::string(member.key()), value));
        // A draft may say null for what it may leave out.
        if (value == "null" && reply.status < 300) {
          ADD_FAILURE() << "null is accepted and not described";
        } else {
          expect_refused(reply, std::string(member.key()));
        }
        ++sent;
      }
    }
    for (const std::string foreign :
         {"id", "version", "created_by", "organization_id", "project_id", "created_at", "updated_at", "password_hash",
          "status", "role", "email_verified", "deleted_at", "__proto__", "", "Title", "a/b~c"}) {
      if (members.contains(foreign)) continue;
      SCOPED_TRACE(foreign);
      const auto reply = send(*endpoint, with(*endpoint, foreign, "\"1\""));
      EXPECT_EQ(reply.status, 422u) << reply.body;
      EXPECT_EQ(text_of(reply.json().at("errors").at(0), "code"), "unknown_member");
      ++sent;
    }
    for (const auto* whole :
         {"null", "true", "1", "\"x\"", "[]", "[{}]", "{}{}", "{", "", " ", "\xef\xbb\xbf{}", "{\"a\":\"\xff\"}"}) {
      SCOPED_TRACE(whole);
      const auto reply = send(*endpoint, whole);
      EXPECT_TRUE(reply.status == 400 || reply.status == 415 || reply.status == 422)
          << reply.status << " " << reply.body;
      ++sent;
    }
  }
  EXPECT_GT(sent, 200u);
}

TEST_F(BadInput, InAddressesIsRefusedByEveryEndpoint) {
  for (const auto& endpoint : stack.server().api().endpoints()) {
    SCOPED_TRACE(endpoint->spec.id);
    const bool of_server = api::server_rank(endpoint->spec.allow) > 0;
    auto& client = world.as(of_server ? endpoint->spec.allow : api::Access::owner);
    const auto body = world.body(*endpoint);
    for (const std::string part : {"%00", "%ff", "\xff", "%2e%2e%2f", "..%2F..", "x%20or%201=1", "'", "%zz", "-1",
                                   "0195d6f0-0000-7000-8000-000000000000%00"}) {
      if (endpoint->path_names.empty()) continue;
      SCOPED_TRACE(part);
      const auto reply = client.send(support::method_of(*endpoint),
                                     support::path_with(*endpoint, {{endpoint->path_names.back(), part}}), body);
      EXPECT_TRUE(reply.status == 404 || reply.status == 400) << reply.status << " " << reply.body;
    }
    // Only lists take parameters, and each only its own.
    if (endpoint->method != http::Method::get) continue;
    for (const std::string query : {"nothing=1", "limit=%00", "cursor=%ff", "sort=%zz", "limit=1;drop", "a%00b=1", "=1",
                                    "limit=1&limit=1", "external_id=%00"}) {
      SCOPED_TRACE(query);
      const auto reply = client.get(world.path(*endpoint) + "?" + query);
      EXPECT_TRUE(reply.status == 422 || reply.status == 400) << reply.status << " " << reply.body;
    }
  }
}

// What is unusual and right is taken.
TEST(GoodInput, IsStoredAsItWasGiven) {
  const Stack stack;
  const World world(stack, "a");
  auto& client = world.as(api::Access::member);
  const auto tasks = "/projects/" + world.project + "/tasks";
  for (const auto& title : {text(200, "🕳"), text(1), std::string(R"("' or 1=1; --")"), std::string(R"("<script>")"),
                            std::string(R"("日本語 \"quoted\" \\")")}) {
    const auto reply = client.post(tasks, "{\"title\":" + title + "}");
    ASSERT_EQ(reply.status, 201u) << reply.body;
    EXPECT_EQ(reply.json().at("title"), bj::parse(title));
  }
  for (const auto& metadata : {nested(31), object(256, number), "{\"a\":" + text(16'000) + "}",
                               std::string("{\"a\":1e308,\"b\":-0.25,\"c\":18446744073709551615}")}) {
    const auto reply = client.post(tasks, R"({"title":"x","metadata":)" + metadata + "}");
    ASSERT_EQ(reply.status, 201u) << reply.body;
    EXPECT_EQ(reply.json().at("metadata"), bj::parse(metadata)) << metadata.substr(0, 100);
  }
  for (const auto& [given, stored] :
       std::vector<std::pair<std::string, std::string>>{{"1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z"},
                                                        {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
                                                        {"2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00Z"}}) {
    EXPECT_EQ(text_of(client.post(tasks, R"({"title":"x","due_date":")" + given + "\"}"), "due_date"), stored);
  }
  auto& manager = world.as(api::Access::manager);
  for (const auto& [given, stored] :
       std::vector<std::pair<std::string, std::string>>{{"0", "0.00"},
                                                        {"9999999999.99", "9999999999.99"},
                                                        {"\"0.10\"", "0.10"},
                                                        {"0.07", "0.07"},
                                                        {"\"1.500\"", "1.50"}}) {
    const auto reply =
        manager.post("/organizations/" + world.organization + "/projects", R"({"name":"x","budget":)" + given + "}");
    ASSERT_EQ(reply.status, 201u) << reply.body;
    EXPECT_EQ(text_of(reply, "budget"), stored);
  }
}

}  // namespace
}  // namespace cairn
