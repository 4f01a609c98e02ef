// Requests that nobody would write, at random, against every endpoint there is: made from the schemas of the document,
// which they fit, just miss or ignore.
//   CAIRN_CAMPAIGN=1     a hundred thousand instead of a few thousand
//   CAIRN_SEED=n         the same requests as the run that printed n
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "api/paging.hpp"
#include "support/record.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using support::Client;
using support::Reply;
using support::Stack;
using support::World;
using namespace std::string_literals;

// The same sequence from the same seed, with every compiler's library.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }
  bool once_in(std::size_t count) { return below(count) == 0; }
  template<class List>
  auto& one_of(const List& list) {
    return list[below(std::size(list))];
  }

 private:
  std::mt19937_64 engine_;
};

std::string json_string(std::string_view text) { return bj::serialize(bj::string(text)); }

std::string repeated(std::string_view part, std::size_t count) {
  std::string text;
  text.reserve(part.size() * count);
  while (count-- > 0) text += part;
  return text;
}
std::string nested(std::string_view open, std::string_view close, std::size_t depth) {
  return repeated(open, depth) + "1" + repeated(close, depth);
}

const std::vector<std::string> junk_values{"null",
                                           "true",
                                           "false",
                                           "0",
                                           "-1",
                                           "-0.0",
                                           "1.5",
                                           "1e308",
                                           "1e309",
                                           "1e131071",
                                           "1e-400",
                                           "2147483648",
                                           "9223372036854775807",
                                           "9223372036854775808",
                                           "-9223372036854775809",
                                           "18446744073709551616",
                                           repeated("9", 41),
                                           "NaN",
                                           "01",
                                           R"("")",
                                           R"(" ")",
                                           R"("x")",
                                           R"("\u0000")",
                                           R"("a\u0000b")",
                                           R"("\ud800")",
                                           R"("\udc00\ud800")",
                                           R"("\u2028")",
                                           R"("\u202e\u200d\ufeff")",
                                           "\"\xff\"",
                                           "\"\xed\xa0\x80\"",
                                           "\"\xc0\x80\"",
                                           "\"\xf4\x90\x80\x80\"",
                                           "\"\x01\"",
                                           "\"a\nb\"",
                                           R"("'; drop table users; --")",
                                           R"("%s%n{}$1${jndi:x}")",
                                           R"("infinity")",
                                           R"("now")",
                                           R"("0x10")",
                                           R"("../../etc/passwd")",
                                           R"("{\"a\":1}")",
                                           "[]",
                                           "{}",
                                           "[null]",
                                           "[[[]]]",
                                           R"([1,"a",{}])",
                                           R"({"a":1,"a":2})",
                                           R"({"":""})",
                                           R"({"__proto__":{"role":"owner"}})",
                                           nested("[", "]", 31),
                                           nested("[", "]", 33),
                                           nested("[", "]", 20'000),
                                           nested(R"({"a":)", "}", 33),
                                           '"' + repeated("x", 2'000) + '"',
                                           '"' + repeated("\\u00e9", 300) + '"',
                                           '"' + repeated("🕳", 201) + '"',
                                           '"' + repeated("x", 120'000) + '"',
                                           '[' + repeated("1,", 300) + "1]"};
const std::vector<std::string> junk_documents{"",
                                              " ",
                                              "null",
                                              "1",
                                              "\"x\"",
                                              "[]",
                                              "{",
                                              "}",
                                              "{}}",
                                              "{\"",
                                              "\xef\xbb\xbf{}",
                                              "{}\0"s,
                                              "\0"s,
                                              "{}{}",
                                              "{'a':1}",
                                              "// {}",
                                              "<a/>",
                                              "a=b&c=d",
                                              "undefined",
                                              R"({"a":1,})",
                                              repeated("[", 100'000),
                                              repeated("{\"a\":", 100'000)};
const std::vector<std::string> junk_texts{"",
                                          "%",
                                          "%0",
                                          "%zz",
                                          "%00",
                                          "a%00b",
                                          "%ff",
                                          "%c0%af",
                                          "%ed%a0%80",
                                          "%25%32%35",
                                          "..%2f..%2f",
                                          "%0d%0aX:%20y",
                                          "-",
                                          "--",
                                          "+",
                                          "*",
                                          "null",
                                          "true",
                                          "1,2,,",
                                          ",",
                                          "'",
                                          "\"",
                                          "%27%20or%201=1--",
                                          "$1",
                                          "{}",
                                          "-1",
                                          "0",
                                          "1e9",
                                          "9223372036854775808",
                                          "infinity",
                                          "%F0%9F%95%B3",
                                          "\xf0\x9f\x95\xb3",
                                          "\xff",
                                          "1900-01-01T00:00:00Z",
                                          "10000-01-01T00:00:00Z",
                                          "0195d6f0-0000-7000-8000-00000000-000",
                                          "------------------------------------",
                                          "AAAA",
                                          "eA",
                                          repeated("x", 300),
                                          repeated("%41", 2'000),
                                          repeated("a,", 1'000)};
const std::vector<std::vector<std::string>> junk_headers{{"Content-Type: text/plain"},
                                                         {"Content-Type: application/json; charset=utf-16"},
                                                         {"Content-Type: application/merge-patch+json"},
                                                         {"Content-Type: application/x-www-form-urlencoded"},
                                                         {"Content-Type: "},
                                                         {"Content-Type: application/json", "Content-Type: text/html"},
                                                         {"Content-Encoding: gzip"},
                                                         {"Content-Length: 0", "Content-Length: 0"},
                                                         {"Content-Length: -1"},
                                                         {"Content-Length: 99999999999999999999"},
                                                         {"Transfer-Encoding: chunked", "Content-Length: 0"},
                                                         {"Transfer-Encoding: gzip, chunked"},
                                                         {"Expect: nothing"},
                                                         {"Host: elsewhere"},
                                                         {"Authorization: Bearer"},
                                                         {"Authorization: Basic YTpi"},
                                                         {"Authorization: bearer \t x"},
                                                         {"Cookie: a=b; =; ;;; session=\"x\""},
                                                         {"Cookie: " + repeated("a=b; ", 1'000)},
                                                         {"Origin: null"},
                                                         {"If-Match: \"1\""},
                                                         {"If-Match: *"},
                                                         {"If-Match: \"99999999999999999999\""},
                                                         {"If-Match: W/\"1\""},
                                                         {"If-None-Match: \"1\", \"2\""},
                                                         {"If-None-Match: *"},
                                                         {"Range: bytes=0-0"},
                                                         {"Accept: text/html;q=1"},
                                                         {"Accept-Encoding: identity;q=0"},
                                                         {"X-Forwarded-For: 1.2.3.4, \xff"},
                                                         {"Forwarded: for=\"[::1]\""},
                                                         {"X-HTTP-Method-Override: DELETE"},
                                                         {"X-Request-Id: same-request-id"},
                                                         {"X-Request-Id: " + repeated("x", 100)},
                                                         {"Idempotency-Key: "},
                                                         {"Idempotency-Key: " + repeated("k", 2'000)},
                                                         {"User-Agent: " + repeated("\xff\x7f", 20)},
                                                         {"User-Agent: \xc3\xa9\xf0\x9f\x95\xb3" + repeated("u", 600)},
                                                         {"X-Odd: " + repeated("h", 17'000)},
                                                         {"X-Odd: \x01"},
                                                         {" folded"},
                                                         {"No colon"},
                                                         {"Bad Name: x"},
                                                         std::vector<std::string>(70, "X-Many: x")};

// What a schema asks for, as JSON text: mostly what fits, at its limits as often as not.
class Writer {
 public:
  Writer(const bj::value& document, Dice& dice) : document_(document), dice_(dice) {}

  std::vector<std::string> ids, emails;  // of things that exist
  bool wild = false;                     // much is wrong, or little

  bool odd() { return dice_.once_in(wild ? 8 : 60); }

  std::string value(const bj::object& schema) {
    if (odd()) return dice_.one_of(junk_values);
    if (const auto* reference = schema.if_contains("$ref")) {
      const std::string_view name(reference->as_string());
      return value(document_.at("components").at("schemas").at(name.substr(name.rfind('/') + 1)).as_object());
    }
    if (const auto* choices = schema.if_contains("anyOf")) return value(dice_.one_of(choices->as_array()).as_object());
    if (const auto* names = schema.if_contains("enum")) return enumerator(dice_.one_of(names->as_array()).as_string());
    const auto* type = schema.if_contains("type");
    if (!type) return dice_.one_of(junk_values);
    const std::string_view name(type->is_array() ? dice_.one_of(type->as_array()).as_string() : type->as_string());
    if (name == "null") return "null";
    if (name == "boolean") return dice_.once_in(2) ? "true" : "false";
    if (name == "integer" || name == "number") return number(schema);
    if (name == "array") return array(schema);
    if (name == "object") return object(schema);
    return json_string(string(schema));
  }

  // The text of a query parameter, percent-encoded.
  std::string parameter(const bj::object& schema) {
    if (odd()) return dice_.one_of(junk_texts);
    if (const auto* items = schema.if_contains("items")) {
      std::string list;
      for (auto count = dice_.below(4); count-- > 0;) list += (list.empty() ? "" : ",") + parameter(items->as_object());
      return list;
    }
    auto text = value(schema);
    if (text.size() > 4'000) text.resize(4'000);
    if (text.starts_with('"')) text = text.substr(1, text.size() - 2);
    std::string encoded;
    for (const char c : text) encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    return encoded;
  }

  std::string object(const bj::object& schema) {
    const auto* properties = schema.if_contains("properties");
    if (!properties) return R"({"a":)" + dice_.one_of(junk_values) + "}";
    std::vector<std::string> members;
    for (const auto& property : properties->as_object()) {
      const auto* required = schema.if_contains("required");
      const bool needed = required && std::find(required->as_array().begin(), required->as_array().end(),
                                                bj::value(property.key())) != required->as_array().end();
      if (needed ? odd() : !dice_.once_in(3)) continue;
      members.push_back(json_string(property.key()) + ":" + value(property.value().as_object()));
    }
    if (odd()) members.push_back(R"("version":1)");
    if (odd()) members.push_back(R"("\u0069d":)" + dice_.one_of(junk_values));
    if (odd() && !members.empty()) members.push_back(members.front());
    std::string text = "{";
    for (const auto& member : members) text += (text.size() > 1 ? "," : "") + member;
    return text + "}";
  }

 private:
  std::string enumerator(std::string_view name) {
    std::string text(name);
    if (!odd()) return json_string(text);
    switch (dice_.below(4)) {
      case 0: text.pop_back(); break;
      case 1: text += ' '; break;
      case 2: text[0] = static_cast<char>(text[0] - 'a' + 'A'); break;
      default: text += '\0'; break;
    }
    return json_string(text);
  }

  std::string number(const bj::object& schema) {
    const auto limit = [&](const char* name, std::int64_t otherwise) {
      const auto* value = schema.if_contains(name);
      return value ? value->to_number<std::int64_t>() : otherwise;
    };
    const auto min = limit("minimum", -1), max = limit("maximum", 2'147'483'647);
    if (odd()) return std::to_string(dice_.once_in(2) ? min - 1 : max + 1);
    switch (dice_.below(8)) {
      case 0: return std::to_string(min);
      case 1: return std::to_string(max);
      default: return std::to_string(min + static_cast<std::int64_t>(dice_.below(20)));
    }
  }

  std::string array(const bj::object& schema) {
    const auto* items = schema.if_contains("items");
    std::string text = "[";
    const auto count = odd() ? 51 : dice_.below(4);
    for (std::size_t i = 0; i < count; ++i)
      text += (i ? "," : "") + (items ? value(items->as_object()) : dice_.one_of(junk_values));
    return text + "]";
  }

  std::string string(const bj::object& schema) {
    static const std::vector<std::string> moments{"2026-02-03T04:05:06Z", "2026-02-03T04:05:06.123456+05:30",
                                                  "1900-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
                                                  "2026-02-29T00:00:00Z", "9999-12-31T23:59:59-01:00"};
    static const std::vector<std::string> days{"2026-02-03", "2024-02-29", "1900-01-01", "9999-12-31", "2025-02-29"};
    static const std::vector<std::string> addresses{"https://example.org/a?b#c", "http://[::1]:80/", "javascript:x",
                                                    "https://example.org:99999/", "https://user:x@example.org/"};
    static const std::vector<std::string> alphabets{"x", "é", "🕳", "\\", "\"", "<b>", "a ", "%", "\t", "\u202e"};
    const auto* format = schema.if_contains("format");
    const std::string_view kind = format ? std::string_view(format->as_string()) : std::string_view{};
    if (kind == "uuid") return dice_.once_in(4) ? Uuid::make().text() : dice_.one_of(ids);
    if (kind == "email") return dice_.one_of(emails);
    if (kind == "date-time") return dice_.one_of(moments);
    if (kind == "date") return dice_.one_of(days);
    if (kind == "uri") return dice_.one_of(addresses);
    if (kind == "password" && dice_.once_in(2)) return std::string(Stack::password);
    const auto limit = [&](const char* name, std::size_t otherwise) {
      const auto* value = schema.if_contains(name);
      return value ? value->to_number<std::size_t>() : otherwise;
    };
    const auto min = limit("minLength", 0), max = limit("maxLength", 300);
    if (odd()) return repeated("x", min - std::min<std::size_t>(min, 1));
    if (odd()) return repeated(dice_.one_of(alphabets), max + 1);
    switch (dice_.below(8)) {
      case 0: return repeated(dice_.one_of(alphabets), max);
      case 1: return repeated(dice_.one_of(alphabets), min);
      default: return fmt::format("x{}", dice_.below(1'000'000));
    }
  }

  const bj::value& document_;
  Dice& dice_;
};

class RandomRequests {
 public:
  // `name` begins the names of all its worlds.
  RandomRequests(const Stack& stack, std::uint64_t seed, std::string name)
      : stack_(stack), name_(std::move(name)), dice_(seed), writer_(stack.contract().document(), dice_) {
    begin_world();
  }

  // One request; false when it was answered otherwise than it should be.
  void send(const api::Endpoint& endpoint) {
    if (dice_.once_in(40)) {  // as it should be, and made so
      const auto reply = world_->call(endpoint, world_->as(endpoint.spec.allow));
      ++(reply.status < 300 ? counts_[endpoint.spec.id].first : counts_[endpoint.spec.id].second);
      return;
    }
    writer_.wild = dice_.once_in(2);
    auto& who = actor(endpoint);
    const auto method = writer_.wild && dice_.once_in(20) ? dice_.one_of(methods_) : support::method_of(endpoint);
    const auto path = this->path(endpoint);
    const auto& operation = described(endpoint);
    auto body = this->body(endpoint, operation);
    std::vector<std::string> headers;
    if (writer_.wild && dice_.once_in(4)) headers = dice_.one_of(junk_headers);
    SCOPED_TRACE(fmt::format("{}: {} {} {} {}", endpoint.spec.id, method, path.substr(0, 300), body.substr(0, 500),
                             headers.empty() ? "" : headers.front().substr(0, 100)));
    const auto reply = who.send(method, path, body, headers);
    // 501 is about the protocol: a method or a coding that nobody implements.
    EXPECT_TRUE(reply.status < 500 || reply.status == 501) << reply.status << " " << reply.body;
    const bool served = reply.status < 300;
    auto& count = counts_[endpoint.spec.id];
    ++(served ? count.first : count.second);
    if (served && method == support::method_of(endpoint) && support::takes_body(endpoint)) {
      EXPECT_EQ(misfit(operation, body), "") << "accepted, although the document has no such body";
    }
    if (served && method != "GET" && dice_.once_in(4)) mend();
  }

  // Whatever the requests have done to the world, it is whole again.
  void mend() {
    try {
      world_->renew();
      foreign_->renew();
      remember();
    } catch (const std::exception&) { begin_world(); }
  }

  // How often each operation was served and refused.
  const std::map<std::string_view, std::pair<unsigned, unsigned>>& counts() const { return counts_; }

 private:
  void begin_world() {
    world_.emplace(stack_, fmt::format("{}{}", name_, ++worlds_));
    foreign_.emplace(stack_, fmt::format("foreign-{}{}", name_, worlds_));
    remember();
  }
  void remember() {
    const auto name = fmt::format("{}{}", name_, worlds_);
    if (!outsider_ || outsider_->get("/me").status != 200)
      outsider_ = stack_.person(fmt::format("outsider-{}{}", name_, ++outsiders_));
    writer_.ids = {world_->organization,   world_->project,   world_->task,   world_->user,
                   foreign_->organization, foreign_->project, foreign_->task, foreign_->user};
    writer_.emails = {Stack::email(name + ".newcomer"),
                      Stack::email(name + ".target"),
                      Stack::email(fmt::format("foreign-{}{}.owner", name_, worlds_)),
                      Stack::email("nobody"),
                      fmt::format("new{}@example.org", dice_.below(1'000'000)),
                      "A@B.example",
                      "a@b",
                      "é@example.org",
                      "a@xn--nxasmq6b.example",
                      "a@example.org\n",
                      repeated("a", 64) + "@example.org",
                      repeated("a", 243) + "@example.org"};
  }

  Client& actor(const api::Endpoint& endpoint) {
    switch (dice_.below(12)) {
      case 0: return anonymous_;
      case 1: return impostor();
      case 2: return foreign_->as(api::Access::owner);
      case 3: return *outsider_;
      case 4: return world_->as(api::Access::member);
      case 5: return world_->as(api::Access::manager);
      case 6: return world_->as(api::Access::admin);
      case 7: return world_->as(api::Access::owner);
      default: return world_->as(endpoint.spec.allow);
    }
  }
  // Somebody with a token that is almost one.
  Client& impostor() {
    auto token = world_->as(api::Access::owner).token;
    switch (dice_.below(6)) {
      case 0: token.pop_back(); break;
      case 1: token += "A"; break;
      case 2: token[dice_.below(token.size())] ^= 1; break;
      case 3: token[6] = 'r'; break;
      case 4: token = repeated("A", 4'000); break;
      default: token = "cairn_s_" + repeated("A", 64); break;
    }
    impostor_.token = token;
    return impostor_;
  }

  std::string path(const api::Endpoint& endpoint) {
    std::vector<std::pair<std::string, std::string>> ids;
    for (const auto& name : endpoint.path_names) {
      auto& id = ids.emplace_back(name, world_->id_of(name)).second;
      if (!writer_.odd()) continue;
      switch (dice_.below(3)) {
        case 0: id = Uuid::make().text(); break;
        case 1: id = dice_.one_of(junk_texts); break;
        default: id = dice_.one_of(writer_.ids); break;
      }
    }
    auto path = support::path_with(endpoint, ids);
    if (dice_.once_in(80)) path += dice_.one_of(junk_texts);
    return path + query(endpoint);
  }

  std::string query(const api::Endpoint& endpoint) {
    const auto& operation = described(endpoint);
    std::string text;
    const auto add = [&](std::string_view name, std::string_view value) {
      text += fmt::format("{}{}={}", text.empty() ? "?" : "&", name, value);
    };
    for (const auto& parameter : operation.at("parameters").as_array()) {
      if (parameter.at("in") != bj::value("query") || !dice_.once_in(4)) continue;
      const std::string_view name(parameter.at("name").as_string());
      if (name == "cursor" && dice_.once_in(2))
        add(name, forged_cursor());
      else
        add(name, writer_.parameter(parameter.at("schema").as_object()));
      if (dice_.once_in(30)) add(name, "x");
    }
    if (dice_.once_in(40)) add(dice_.one_of(junk_texts), dice_.one_of(junk_texts));
    if (dice_.once_in(100)) text += repeated("&a=b", 3'000);
    return text;
  }

  // A place that no page ever ended at.
  std::string forged_cursor() {
    static const std::vector<std::string> sorts{"due_date",    "-due_date",  "created_at",
                                                "-created_at", "updated_at", "name"};
    static const std::vector<std::int64_t> keys{
        INT64_MIN, INT64_MIN + 1, -210'866'803'200'000'001, -1, 0, 9'223'371'331'200'000'000, INT64_MAX - 1, INT64_MAX};
    static const std::vector<std::string> texts{"", "x", "🕳", "'", "\\", "\n", repeated("x", 900)};
    api::Cursor cursor;
    cursor.sort = dice_.one_of(sorts);
    cursor.key = dice_.one_of(keys);
    cursor.text_key = dice_.one_of(texts);
    if (dice_.once_in(2)) cursor.id = *Uuid::parse(dice_.one_of(writer_.ids));
    return cursor.encode();
  }

  std::string body(const api::Endpoint& endpoint, const bj::object& operation) {
    if (!support::takes_body(endpoint)) return dice_.once_in(40) ? "{}" : "";
    if (dice_.once_in(5)) return world_->body(endpoint);
    if (writer_.wild && dice_.once_in(8)) return dice_.one_of(junk_documents);
    auto text = writer_.value(schema(operation));
    if (dice_.once_in(300)) return text + repeated(" ", 1'100'000);
    if (writer_.odd() && !text.empty()) {
      const auto at = dice_.below(text.size());
      switch (dice_.below(3)) {
        case 0: text.resize(at); break;
        case 1: text[at] = static_cast<char>(dice_.below(256)); break;
        default: text.insert(at, dice_.one_of(junk_values)); break;
      }
    }
    return text;
  }

  const bj::object& described(const api::Endpoint& endpoint) const {
    return *stack_.contract().operation(support::method_of(endpoint), fmt::format("{}{}", api::prefix, endpoint.path));
  }
  static const bj::object& schema(const bj::object& operation) {
    return operation.at("requestBody").at("content").at("application/json").at("schema").as_object();
  }
  // Why the document does not have such a body.
  std::string misfit(const bj::object& operation, const std::string& body) const {
    boost::system::error_code error;
    const auto value = bj::parse(body, error);
    if (error) return error.message();
    return support::schema_problem(value, schema(operation), stack_.contract().document());
  }

  const std::vector<std::string_view> methods_{"GET",    "HEAD",    "POST",  "PUT", "PATCH",
                                               "DELETE", "OPTIONS", "TRACE", "get", "M"};
  const Stack& stack_;
  const std::string name_;
  Dice dice_;
  Writer writer_;
  std::optional<World> world_, foreign_;
  unsigned worlds_ = 0, outsiders_ = 0;
  Client anonymous_ = stack_.client(), impostor_ = stack_.client();
  std::unique_ptr<Client> outsider_;
  std::map<std::string_view, std::pair<unsigned, unsigned>> counts_;
};

TEST(RandomRequestsToEveryEndpoint, AreAnsweredAsDescribedAndLeaveNothingOffTheRecord) {
  const auto* given = std::getenv("CAIRN_SEED");
  const auto seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  const std::size_t wanted = std::getenv("CAIRN_CAMPAIGN") ? 100'000 : 3'000;
  std::cout << "CAIRN_SEED=" << seed << std::endl;

  // As many side by side as keep the machine busy.
  constexpr std::array names{"v", "w"};
  Stack stack;
  const auto endpoints = stack.server().api().endpoints();
  std::mutex mutex;
  std::map<std::string_view, std::pair<unsigned, unsigned>> counts;
  const auto walk = [&](std::size_t number) {
    RandomRequests requests(stack, seed + number, names.at(number));
    for (std::size_t i = 0; i < wanted / names.size(); ++i) {
      SCOPED_TRACE(fmt::format("CAIRN_SEED={}, request {} of {}", seed, i, names.at(number)));
      requests.send(*endpoints[i % endpoints.size()]);
      ASSERT_LT(testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count(), 20);
      if (i % 500 == 499) requests.mend();
    }
    const std::lock_guard lock(mutex);
    for (const auto& [id, count] : requests.counts()) {
      counts[id].first += count.first;
      counts[id].second += count.second;
    }
  };
  std::vector<std::thread> walks;
  for (std::size_t i = 0; i < names.size(); ++i) walks.emplace_back(walk, i);
  for (auto& one : walks) one.join();
  unsigned served = 0;
  for (const auto& [id, count] : counts) {
    std::cout << fmt::format("{:24} {:6} served {:6} refused\n", id, count.first, count.second);
    EXPECT_GT(count.second, 0u) << id << " was never refused";
    served += count.first;
  }
  EXPECT_GT(served, wanted / 20) << "the requests are too bad to reach what they are to test";
  auto database = stack.database();
  EXPECT_EQ(support::record_problems(database), std::vector<std::string>{});
  EXPECT_EQ(stack.person("afterwards")->get("/me").status, 200u);
}

}  // namespace
}  // namespace cairn
