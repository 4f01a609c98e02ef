// JSON that is accepted can be printed and read again without a loss, and keeps the rules of json::parse. What fits our
// types does so too.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <cmath>

#include "base/codec.hpp"
#include "fuzz/fuzz.hpp"

namespace cairn::fuzz {
namespace {

namespace bj = boost::json;

BOOST_DEFINE_ENUM_CLASS(Word, todo, in_progress, done)

// One member of each kind.
struct Everything : json::Written {
  Everything() = default;
  std::optional<bool> yes;
  std::optional<std::int32_t> small;
  std::optional<std::int64_t> large;
  std::optional<Bounded<-5, 1'000'000>> bounded;
  std::optional<Text<1, 20>> line;
  std::optional<Markdown> text;
  std::optional<Email> email;
  std::optional<Slug> slug;
  std::optional<Url<100>> url;
  std::optional<Uuid> id;
  std::optional<Instant> moment;
  std::optional<Date> day;
  std::optional<Decimal<12, 2>> money;
  std::optional<JsonObject> object;
  std::optional<JsonArray> array;
  std::optional<Word> word;
  std::optional<std::vector<Text<1, 20>>> list;
};
BOOST_DESCRIBE_STRUCT(Everything, (),
                      (yes, small, large, bounded, line, text, email, slug, url, id, moment, day, money, object, array,
                       word, list))

std::string_view view(const bj::string& text) { return {text.data(), text.size()}; }

// Numbers by value, as 1 and 1.0 print alike, and nearly, as Boost's own parser rounds to a neighbour now and then.
bool same(const bj::value& a, const bj::value& b) {
  if (a.is_number() && b.is_number()) {
    const auto x = a.to_number<double>(), y = b.to_number<double>();
    return x == y || std::abs(x - y) <= std::abs(x) * 1e-15;
  }
  if (a.kind() != b.kind()) return false;
  if (const auto* array = a.if_array())
    return std::equal(array->begin(), array->end(), b.get_array().begin(), b.get_array().end(), same);
  if (const auto* object = a.if_object()) {
    if (object->size() != b.get_object().size()) return false;
    for (const auto& member : *object) {
      const auto* other = b.get_object().if_contains(member.key());
      if (!other || !same(member.value(), *other)) return false;
    }
    return true;
  }
  return a == b;
}

void check(const bj::value& value, std::size_t depth) {
  require(depth <= json::DocumentLimits().depth, "no deeper than the limit");
  if (const auto* text = value.if_string())
    require(count_code_points(view(*text)).has_value(), "strings are UTF-8 without NUL");
  if (const auto* array = value.if_array())
    for (const auto& item : *array) check(item, depth + 1);
  if (const auto* object = value.if_object())
    for (const auto& member : *object) {
      require(count_code_points({member.key().data(), member.key().size()}).has_value(), "names are UTF-8 without NUL");
      check(member.value(), depth + 1);
    }
}

std::optional<bj::value> parsed(std::string_view text) {
  try {
    return json::parse(text);
  } catch (const Problem& problem) {
    require(problem.kind == Kind::malformed && count_code_points(problem.detail).has_value(),
            "a refusal is the sender's fault, in words");
    return std::nullopt;
  }
}

void decode(const bj::value& value) {
  Everything first, second;
  json::Decoder decoder, again;
  json::decode(decoder, value, first);
  for (const auto& error : decoder.errors())
    require(error.pointer.empty() || error.pointer.starts_with('/'), "an error points somewhere");
  if (!decoder.ok()) return;
  std::string printed, reprinted;
  json::encode(printed, first);
  json::decode(again, json::parse(printed), second);
  require(again.ok(), "what a type accepts and prints, it accepts again");
  json::encode(reprinted, second);
  require(printed == reprinted, "and prints the same");
}

}  // namespace

void run(std::string_view bytes) {
  const auto value = parsed(bytes);
  boost::system::error_code error;
  bj::parse_options options;
  options.max_depth = 40;
  const auto other = bj::parse({bytes.data(), bytes.size()}, error, {}, options);
  if (!value) return;
  require(!error && same(*value, other), "nothing is read that another parser reads otherwise");
  check(*value, value->is_structured() ? 1 : 0);
  const auto printed = json::text(*value);
  const auto again = parsed(printed);
  require(again && same(*again, *value), "print and parse: the same value");
  require(json::text(*again) == printed, "parse and print: the same text");
  if (const auto* object = value->if_object()) {
    if (!object->empty()) {
      std::string twice = "{";
      json::append_string(twice, {object->begin()->key().data(), object->begin()->key().size()});
      require(!parsed(twice + ":0," + printed.substr(1)), "no member is given twice");
    }
    decode(*value);
  }
}

}  // namespace cairn::fuzz
