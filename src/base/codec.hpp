#pragma once
// One declaration per type gives its JSON form three times: encode (straight into the reply's buffer), decode
// (collecting every error with its pointer) and schema (JSON Schema 2020-12, as OpenAPI 3.1 embeds it). Described
// structs follow from their members; member name = JSON key.
#include <boost/describe.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/mp11/algorithm.hpp>

#include <charconv>
#include <concepts>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/json.hpp"
#include "base/values.hpp"

namespace cairn::json {

namespace bj = boost::json;

// Collects what is wrong with an input, each with a pointer to where.
class Decoder {
 public:
  void fail(std::string_view code, std::string detail) { errors_.emplace_back(pointer_, code, std::move(detail)); }
  bool ok() const { return errors_.empty(); }
  std::vector<FieldError>& errors() { return errors_; }

  // Steps into a member or an element for the life of the object.
  class Step {
   public:
    Step(Decoder& decoder, std::string_view key) : decoder_(decoder), length_(decoder.pointer_.size()) {
      decoder.pointer_.push_back('/');
      for (char c : key) {  // RFC 6901 section 3
        if (c == '~')
          decoder.pointer_ += "~0";
        else if (c == '/')
          decoder.pointer_ += "~1";
        else
          decoder.pointer_.push_back(c);
      }
    }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;
    ~Step() { decoder_.pointer_.resize(length_); }

   private:
    Decoder& decoder_;
    std::size_t length_;
  };
  // Points at a query parameter until the next call.
  void at_parameter(std::string_view name) { pointer_ = "?" + std::string(name); }

 private:
  std::string pointer_;
  std::vector<FieldError> errors_;
};

// The named schemas of one OpenAPI document.
class Components {
 public:
  // A reference to T's schema, which is added on first use.
  template<class T>
  bj::object reference();
  const std::map<std::string, bj::object>& all() const { return all_; }

 private:
  std::map<std::string, bj::object> all_;
};

// A sentence about a member, where its name and type do not say enough: specialise for a described struct.
struct MemberDoc {
  std::string_view member, text;
};
template<class T>
inline constexpr std::array<MemberDoc, 0> member_docs{};

template<class T>
struct Codec;

template<class T>
void encode(std::string& out, const T& value) {
  Codec<T>::encode(out, value);
}
template<class T>
void decode(Decoder& decoder, const bj::value& from, T& to) {
  Codec<T>::decode(decoder, from, to);
}

// The schema name of a described struct: cairn::task::Task is "Task", cairn::task::Draft is "TaskDraft".
std::string component_name(std::string_view mangled);

// g++ 12 destroys aggregate temporaries twice around co_await (docs/adr/0006-await-rule.md), so a described struct must
// not be an aggregate unless that is harmless: it begins with `X() = default;`.
template<class T>
inline constexpr bool await_safe = !std::is_aggregate_v<T> || std::is_trivially_destructible_v<T>;

// -- plain types
// --------------------------------------------------------------------------------------------------------

template<>
struct Codec<bool> {
  static void encode(std::string& out, bool value) { out += value ? "true" : "false"; }
  static void decode(Decoder& decoder, const bj::value& from, bool& to) {
    if (const auto* value = from.if_bool())
      to = *value;
    else
      decoder.fail("wrong_type", "must be true or false");
  }
  static void from_text(Decoder& decoder, std::string_view from, bool& to) {
    if (from == "true" || from == "false")
      to = from == "true";
    else
      decoder.fail("wrong_type", "must be true or false");
  }
  static bj::object schema(Components&) { return {{"type", "boolean"}}; }
};

template<std::integral T>
struct Codec<T> {
  static void encode(std::string& out, T value) {
    std::array<char, 24> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    out.append(text.data(), end);
  }
  static void decode(Decoder& decoder, const bj::value& from, T& to) {
    if (from.is_int64() && std::in_range<T>(from.get_int64()))
      to = static_cast<T>(from.get_int64());
    else if (from.is_uint64() && std::in_range<T>(from.get_uint64()))
      to = static_cast<T>(from.get_uint64());
    else if (from.is_number())
      decoder.fail("out_of_range", "must be a whole number within " + range());
    else
      decoder.fail("wrong_type", "must be a whole number");
  }
  static void from_text(Decoder& decoder, std::string_view from, T& to) {
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), to);
    if (error != std::errc{} || end != from.data() + from.size())
      decoder.fail("wrong_type", "must be a whole number within " + range());
  }
  static bj::object schema(Components&) {
    return {{"type", "integer"}, {"format", sizeof(T) == 8 ? "int64" : "int32"}};
  }
  static std::string range() {
    return std::to_string(std::numeric_limits<T>::min()) + " to " + std::to_string(std::numeric_limits<T>::max());
  }
};

template<std::int64_t Min, std::int64_t Max>
struct Codec<Bounded<Min, Max>> {
  using T = Bounded<Min, Max>;
  static void encode(std::string& out, T value) { Codec<std::int64_t>::encode(out, value.value); }
  static void check(Decoder& decoder, std::int64_t value, T& to) {
    if (value < Min || value > Max)
      decoder.fail("out_of_range", "must be within " + std::to_string(Min) + " to " + std::to_string(Max));
    else
      to.value = value;
  }
  static void decode(Decoder& decoder, const bj::value& from, T& to) {
    if (from.is_int64())
      check(decoder, from.get_int64(), to);
    else if (from.is_number())
      check(decoder, Max == INT64_MAX ? Min - 1 : Max + 1, to);
    else
      decoder.fail("wrong_type", "must be a whole number");
  }
  static void from_text(Decoder& decoder, std::string_view from, T& to) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), value);
    if (error == std::errc{} && end == from.data() + from.size())
      check(decoder, value, to);
    else
      decoder.fail("wrong_type", "must be a whole number");
  }
  static bj::object schema(Components&) { return {{"type", "integer"}, {"minimum", Min}, {"maximum", Max}}; }
};

template<>
struct Codec<std::string> {
  static void encode(std::string& out, const std::string& value) { append_string(out, value); }
  static void decode(Decoder& decoder, const bj::value& from, std::string& to) {
    if (const auto* value = from.if_string())
      to.assign(value->data(), value->size());
    else
      decoder.fail("wrong_type", "must be a string");
  }
  // Not assigned in place: gcc 12 takes that for an overrun when it is inlined.
  static void from_text(Decoder&, std::string_view from, std::string& to) { to = std::string(from); }
  static bj::object schema(Components&) { return {{"type", "string"}}; }
};

// -- values that are strings in JSON
// ------------------------------------------------------------------------------------

// Types with `static std::optional<T> parse(string_view)`; Derived says what to answer when it fails, and the schema.
template<class T, class Derived>
struct ParsedCodec {
  static void from_text(Decoder& decoder, std::string_view from, T& to) {
    if (auto value = T::parse(from))
      to = std::move(*value);
    else
      decoder.fail("invalid", Derived::problem(from));
  }
  static void decode(Decoder& decoder, const bj::value& from, T& to) {
    if (const auto* value = from.if_string())
      Derived::from_text(decoder, {value->data(), value->size()}, to);
    else
      decoder.fail("wrong_type", "must be a string");
  }
};

template<std::size_t Min, std::size_t Max, Shape S>
struct Codec<Text<Min, Max, S>> : ParsedCodec<Text<Min, Max, S>, Codec<Text<Min, Max, S>>> {
  using T = Text<Min, Max, S>;
  static std::string problem(std::string_view from) { return T::problem(from); }
  static void encode(std::string& out, const T& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) {
    bj::object schema{{"type", "string"}, {"maxLength", Max}};
    if (Min > 0) schema["minLength"] = Min;
    return schema;
  }
};

template<>
struct Codec<Email> : ParsedCodec<Email, Codec<Email>> {
  static std::string problem(std::string_view from) { return Email::problem(from); }
  static void encode(std::string& out, const Email& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) { return {{"type", "string"}, {"format", "email"}, {"maxLength", 254}}; }
};

template<>
struct Codec<Slug> : ParsedCodec<Slug, Codec<Slug>> {
  static std::string problem(std::string_view from) { return Slug::problem(from); }
  static void encode(std::string& out, const Slug& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) {
    return {{"type", "string"}, {"minLength", 2}, {"maxLength", 63}, {"pattern", "^[a-z0-9](-?[a-z0-9])*$"}};
  }
};

template<std::size_t Max>
struct Codec<Url<Max>> : ParsedCodec<Url<Max>, Codec<Url<Max>>> {
  static std::string problem(std::string_view from) { return Url<Max>::problem(from); }
  static void encode(std::string& out, const Url<Max>& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) { return {{"type", "string"}, {"format", "uri"}, {"maxLength", Max}}; }
};

template<>
struct Codec<Secret> : ParsedCodec<Secret, Codec<Secret>> {
  static std::string problem(std::string_view from) { return Secret::problem(from); }
  static void encode(std::string& out, const Secret&) = delete;
  static bj::object schema(Components&) {
    return {{"type", "string"}, {"format", "password"}, {"maxLength", Secret::max}, {"writeOnly", true}};
  }
};

template<class Entity>
struct Codec<Id<Entity>> {
  static void encode(std::string& out, const Id<Entity>& id) {
    out.push_back('"');
    id.value.append_to(out);
    out.push_back('"');
  }
  static void from_text(Decoder& decoder, std::string_view from, Id<Entity>& to) {
    if (const auto id = Uuid::parse(from))
      to.value = *id;
    else
      decoder.fail("invalid", "must be a UUID");
  }
  static void decode(Decoder& decoder, const bj::value& from, Id<Entity>& to) {
    if (const auto* value = from.if_string())
      from_text(decoder, {value->data(), value->size()}, to);
    else
      decoder.fail("wrong_type", "must be a UUID in a string");
  }
  static bj::object schema(Components&) { return {{"type", "string"}, {"format", "uuid"}}; }
};

// An id of something whose kind another member names.
template<>
struct Codec<Uuid> {
  static void encode(std::string& out, const Uuid& id) { Codec<Id<void>>::encode(out, {id}); }
  static void from_text(Decoder& decoder, std::string_view from, Uuid& to) {
    Id<void> id;
    Codec<Id<void>>::from_text(decoder, from, id);
    to = id.value;
  }
  static void decode(Decoder& decoder, const bj::value& from, Uuid& to) {
    Id<void> id;
    Codec<Id<void>>::decode(decoder, from, id);
    to = id.value;
  }
  static bj::object schema(Components& components) { return Codec<Id<void>>::schema(components); }
};

template<class T>
struct TimeCodec : ParsedCodec<T, Codec<T>> {
  static void encode(std::string& out, const T& value) {
    out.push_back('"');
    value.append_to(out);
    out.push_back('"');
  }
};
template<>
struct Codec<Instant> : TimeCodec<Instant> {
  static std::string problem(std::string_view) { return "must be an RFC 3339 moment such as 2026-02-03T04:05:06Z"; }
  static bj::object schema(Components&) { return {{"type", "string"}, {"format", "date-time"}}; }
};
template<>
struct Codec<Date> : TimeCodec<Date> {
  static std::string problem(std::string_view) { return "must be a date such as 2026-02-03, from 1900 to 9999"; }
  static bj::object schema(Components&) { return {{"type", "string"}, {"format", "date"}}; }
};

// Money and the like: a string on the way out, so that no client's floating point bends it; string or number on the way
// in.
template<int P, int S>
struct Codec<Decimal<P, S>> {
  using T = Decimal<P, S>;
  static void encode(std::string& out, const T& value) {
    out.push_back('"');
    append_decimal(out, value.units, S);
    out.push_back('"');
  }
  static void from_text(Decoder& decoder, std::string_view from, T& to) {
    if (const auto units = parse_decimal(from, P, S))
      to.units = *units;
    else
      decoder.fail("invalid", "must be a plain decimal number with at most " + std::to_string(P - S) +
                                  " digits before and " + std::to_string(S) + " after the point");
  }
  static void decode(Decoder& decoder, const bj::value& from, T& to) {
    if (from.is_string())
      from_text(decoder, {from.get_string().data(), from.get_string().size()}, to);
    else if (from.is_number())
      from_text(decoder, text(from), to);
    else
      decoder.fail("wrong_type", "must be a decimal number in a string");
  }
  static bj::object schema(Components&) {
    return {{"type", bj::array{"string", "number"}}, {"pattern", "^-?[0-9]+(\\.[0-9]+)?$"}};
  }
};

template<JsonKind K>
struct Codec<JsonText<K>> {
  static constexpr bool object = K == JsonKind::object;
  static void encode(std::string& out, const JsonText<K>& value) { out += value.str(); }
  static void decode(Decoder& decoder, const bj::value& from, JsonText<K>& to) {
    if (object ? !from.is_object() : !from.is_array())
      return decoder.fail("wrong_type", object ? "must be an object" : "must be an array");
    auto written = text(from);
    if (auto problem = stored_problem(from, written); !problem.empty())
      decoder.fail("too_large", std::move(problem));
    else
      to = JsonText<K>::trusted(std::move(written));
  }
  static bj::object schema(Components&) { return {{"type", object ? "object" : "array"}}; }
};

template<>
struct Codec<RawJson> {
  static void encode(std::string& out, const RawJson& value) { out += value.str(); }
  static void decode(Decoder&, const bj::value& from, RawJson& to) { to = RawJson(text(from)); }  // of what we remember
  static bj::object schema(Components&) { return {}; }
};

// -- enums
// --------------------------------------------------------------------------------------------------------------

template<class E>
requires boost::describe::has_describe_enumerators<E>::value struct Codec<E> {
  using List = boost::describe::describe_enumerators<E>;
  static std::string_view name(E value) { return boost::describe::enum_to_string(value, ""); }
  static void encode(std::string& out, E value) {
    out.push_back('"');
    out += name(value);
    out.push_back('"');
  }
  static void from_text(Decoder& decoder, std::string_view from, E& to) {
    bool found = false;
    boost::mp11::mp_for_each<List>([&](auto item) {
      if (from == item.name) {
        to = item.value;
        found = true;
      }
    });
    if (found) return;
    std::string names;
    boost::mp11::mp_for_each<List>([&](auto item) { names += (names.empty() ? "" : ", ") + std::string(item.name); });
    decoder.fail("invalid", "must be one of " + names);
  }
  static void decode(Decoder& decoder, const bj::value& from, E& to) {
    if (const auto* value = from.if_string())
      from_text(decoder, {value->data(), value->size()}, to);
    else
      decoder.fail("wrong_type", "must be a string");
  }
  static bj::object schema(Components&) {
    bj::array names;
    boost::mp11::mp_for_each<List>([&](auto item) { names.emplace_back(item.name); });
    return {{"type", "string"}, {"enum", std::move(names)}};
  }
};

// -- optional, Change, vector
// -------------------------------------------------------------------------------------------

template<class T>
struct Codec<std::optional<T>> {
  static void encode(std::string& out, const std::optional<T>& value) {
    if (value)
      Codec<T>::encode(out, *value);
    else
      out += "null";
  }
  static void decode(Decoder& decoder, const bj::value& from, std::optional<T>& to) {
    if (from.is_null())
      to.reset();
    else
      Codec<T>::decode(decoder, from, to.emplace());
  }
  static void from_text(Decoder& decoder, std::string_view from, std::optional<T>& to) {
    Codec<T>::from_text(decoder, from, to.emplace());
  }
  static bj::object schema(Components& components) {
    auto schema = Codec<T>::schema(components);
    if (auto* type = schema.if_contains("type"); type && type->is_string() && !schema.contains("enum")) {
      *type = bj::array{*type, "null"};
      return schema;
    }
    if (schema.empty()) return schema;
    return {{"anyOf", bj::array{std::move(schema), bj::object{{"type", "null"}}}}};
  }
};

template<class T>
struct Codec<Change<T>> {
  static void decode(Decoder& decoder, const bj::value& from, Change<T>& to) {
    T value{};
    Codec<T>::decode(decoder, from, value);
    to.set(std::move(value));
  }
  static bj::object schema(Components& components) { return Codec<T>::schema(components); }
};

template<class T>
struct Codec<std::vector<T>> {
  static void encode(std::string& out, const std::vector<T>& values) {
    char separator = '[';
    for (const auto& value : values) {
      out.push_back(separator);
      Codec<T>::encode(out, value);
      separator = ',';
    }
    out += separator == '[' ? "[]" : "]";
  }
  static void decode(Decoder& decoder, const bj::value& from, std::vector<T>& to) {
    const auto* array = from.if_array();
    if (!array) return decoder.fail("wrong_type", "must be an array");
    to.clear();
    to.reserve(array->size());
    for (std::size_t i = 0; i < array->size(); ++i) {
      const Decoder::Step step(decoder, std::to_string(i));
      Codec<T>::decode(decoder, (*array)[i], to.emplace_back());
    }
  }
  // A comma-separated list; an empty text is an empty list.
  static void from_text(Decoder& decoder, std::string_view from, std::vector<T>& to) {
    while (!from.empty()) {
      const auto comma = from.find(',');
      Codec<T>::from_text(decoder, from.substr(0, comma), to.emplace_back());
      from = comma == std::string_view::npos ? std::string_view{} : from.substr(comma + 1);
    }
  }
  static bj::object schema(Components& components) {
    return {{"type", "array"}, {"items", Codec<T>::schema(components)}};
  }
};

// -- described structs
// --------------------------------------------------------------------------------------------------

template<class T>
concept Described = boost::describe::has_describe_members<T>::value && !std::is_union_v<T>;

template<class T>
using members_of = boost::describe::describe_members<T, boost::describe::mod_public | boost::describe::mod_inherited>;

template<Described T>
struct Codec<T> {
  static_assert(await_safe<T>, "begin the struct with `X() = default;`");

  static void encode(std::string& out, const T& value) {
    char separator = '{';
    boost::mp11::mp_for_each<members_of<T>>([&](auto member) {
      static constexpr std::string_view name = member.name;
      out.push_back(separator);
      out.push_back('"');
      out += name;
      out += "\":";
      json::encode(out, value.*member.pointer);
      separator = ',';
    });
    out += separator == '{' ? "{}" : "}";
  }

  static void decode(Decoder& decoder, const bj::value& from, T& to) {
    const auto* object = from.if_object();
    if (!object) return decoder.fail("wrong_type", "must be an object");
    std::size_t known = 0;
    boost::mp11::mp_for_each<members_of<T>>([&](auto member) {
      using Member = std::remove_cvref_t<decltype(to.*member.pointer)>;
      const Decoder::Step step(decoder, member.name);
      if (const auto* value = object->if_contains(member.name)) {
        ++known;
        Codec<Member>::decode(decoder, *value, to.*member.pointer);
      } else if constexpr (!is_optional<Member>::value && !is_change<Member>::value) {
        decoder.fail("required", "is required");
      }
    });
    if (known == object->size()) return;
    for (const auto& member : *object) {
      bool found = false;
      boost::mp11::mp_for_each<members_of<T>>([&](auto m) { found = found || member.key() == m.name; });
      if (found) continue;
      const Decoder::Step step(decoder, {member.key().data(), member.key().size()});
      decoder.fail("unknown_member", "is not a member of this object");
    }
  }

  static bj::object schema(Components& components) { return components.reference<T>(); }

  static bj::object definition(Components& components) {
    bj::object properties;
    bj::array required;
    boost::mp11::mp_for_each<members_of<T>>([&](auto member) {
      using Member = std::remove_cvref_t<decltype(std::declval<T&>().*member.pointer)>;
      auto schema = Codec<Member>::schema(components);
      for (const auto& doc : member_docs<T>)
        if (doc.member == member.name) schema["description"] = bj::string(doc.text);
      properties[member.name] = std::move(schema);
      // A member that is read is always there, if only as null; one that is written may be left out when it is
      // optional.
      if (T::always_present ? !is_change<Member>::value : !is_optional<Member>::value && !is_change<Member>::value)
        required.emplace_back(member.name);
    });
    bj::object schema{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
    if (!required.empty()) schema["required"] = std::move(required);
    return schema;
  }
};

template<class T>
bj::object Components::reference() {
  const auto name = component_name(typeid(T).name());
  if (!all_.contains(name)) {
    all_[name] = {};  // before its members, so that a recursive type ends
    all_[name] = Codec<T>::definition(*this);
  }
  return {{"$ref", "#/components/schemas/" + name}};
}

// Structs say which way they go: a row is read (every member is always present), a draft or an edit is written.
struct Read {
  static constexpr bool always_present = true;
};
struct Written {
  static constexpr bool always_present = false;
};

}  // namespace cairn::json
