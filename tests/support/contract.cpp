#include "support/contract.hpp"

#include <fmt/format.h>
#include <regex.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>

#include "base/id.hpp"
#include "base/text.hpp"
#include "base/time.hpp"

namespace cairn::support {
namespace {

namespace bj = boost::json;

std::string_view view(const bj::value& value) { return {value.get_string().data(), value.get_string().size()}; }

bool has_type(const bj::value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "integer") return value.is_int64() || value.is_uint64();
  if (type == "number") return value.is_number();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  return type == "object" && value.is_object();
}

bool matches(std::string_view text, const std::string& pattern) {
  regex_t compiled;
  if (regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) return false;
  const bool found = regexec(&compiled, std::string(text).c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return found;
}

bool has_format(std::string_view text, std::string_view format) {
  if (format == "uuid") return Uuid::parse(text).has_value();
  if (format == "date") return Date::parse(text).has_value();
  if (format == "date-time") return Instant::parse(text).has_value();
  if (format == "email") return Email::parse(text).has_value();
  if (format == "uri") return Url<500>::parse(text).has_value();
  return format == "password" || format == "int32" || format == "int64";
}

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto slash = std::min(path.find('/'), path.size());
    parts.push_back(path.substr(0, slash));
    path.remove_prefix(slash);
  }
  return parts;
}

// How many fixed words a template shares with a path, plus one; 0: it does not fit.
std::size_t fit(std::string_view pattern, std::string_view path) {
  const auto wanted = segments(pattern), given = segments(path);
  if (wanted.size() != given.size()) return 0;
  std::size_t fixed = 1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].starts_with('{')) continue;
    if (wanted[i] != given[i]) return 0;
    ++fixed;
  }
  return fixed;
}

// What any request may be answered with, whatever it is for: by the protocol or because the server is unwell.
constexpr std::array protocol = {405u, 408u, 411u, 413u, 414u, 417u, 431u, 501u, 503u, 504u, 505u};

}  // namespace

bj::value Reply::json() const {
  boost::system::error_code error;
  auto value = bj::parse(body, error);
  if (error) throw std::runtime_error("no JSON: " + std::to_string(status) + " " + body);
  return value;
}

std::string Reply::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers)
    if (name == lower_case_name) return value;
  return {};
}

std::string schema_problem(const bj::value& value, const bj::value& schema, const bj::value& document,
                           const std::string& at) {
  const auto wrong = [&](std::string_view why) { return fmt::format("{}: {}", at.empty() ? "the document" : at, why); };
  for (const auto& rule : schema.as_object()) {
    const std::string_view key(rule.key().data(), rule.key().size());
    const auto& wants = rule.value();
    if (key == "description" || key == "writeOnly" || key == "required") continue;
    if (key == "$ref") {
      constexpr std::string_view prefix = "#/components/schemas/";
      const auto* target =
          document.at("components").at("schemas").as_object().if_contains(view(wants).substr(prefix.size()));
      if (!target) return wrong("a reference to nothing");
      if (auto problem = schema_problem(value, *target, document, at); !problem.empty()) return problem;
    } else if (key == "type") {
      const auto fits = [&](const bj::value& type) { return has_type(value, view(type)); };
      const auto* types = wants.if_array();
      if (types ? std::none_of(types->begin(), types->end(), fits) : !fits(wants))
        return wrong("is " + bj::serialize(value) + " and not " + bj::serialize(wants));
    } else if (key == "anyOf") {
      const auto fits = [&](const bj::value& one) { return schema_problem(value, one, document, at).empty(); };
      if (std::none_of(wants.as_array().begin(), wants.as_array().end(), fits))
        return wrong(bj::serialize(value) + " fits nothing of " + bj::serialize(wants));
    } else if (key == "enum") {
      const auto& values = wants.as_array();
      if (std::find(values.begin(), values.end(), value) == values.end())
        return wrong(bj::serialize(value) + " is none of " + bj::serialize(wants));
    } else if (key == "minimum" || key == "maximum") {
      if (!value.is_number()) continue;
      const auto number = value.to_number<double>(), limit = wants.to_number<double>();
      if (key == "minimum" ? number < limit : number > limit) return wrong("out of range");
    } else if (key == "minLength" || key == "maxLength") {
      if (!value.is_string()) continue;
      const auto length = count_code_points(view(value));
      if (!length) return wrong("no valid text");
      if (key == "minLength" ? *length < wants.to_number<std::size_t>() : *length > wants.to_number<std::size_t>())
        return wrong("has the wrong length");
    } else if (key == "pattern") {
      if (value.is_string() && !matches(view(value), std::string(view(wants))))
        return wrong("does not match the pattern");
    } else if (key == "format") {
      if (value.is_string() && !has_format(view(value), view(wants)))
        return wrong(bj::serialize(value) + " is no " + std::string(view(wants)));
    } else if (key == "items") {
      if (!value.is_array()) continue;
      for (std::size_t i = 0; i < value.get_array().size(); ++i)
        if (auto problem = schema_problem(value.get_array()[i], wants, document, fmt::format("{}/{}", at, i));
            !problem.empty())
          return problem;
    } else if (key == "properties") {
      if (!value.is_object()) continue;
      for (const auto& property : wants.as_object())
        if (const auto* member = value.get_object().if_contains(property.key()))
          if (auto problem =
                  schema_problem(*member, property.value(), document, at + "/" + std::string(property.key()));
              !problem.empty())
            return problem;
    } else if (key == "additionalProperties") {
      if (!value.is_object() || wants != bj::value(false)) continue;
      const auto* properties = schema.as_object().if_contains("properties");
      for (const auto& member : value.get_object())
        if (!properties || !properties->as_object().contains(member.key()))
          return wrong("has a member of its own: " + std::string(member.key()));
    } else {
      return wrong("unknown keyword " + std::string(key));
    }
  }
  if (const auto* required = schema.as_object().if_contains("required"); required && value.is_object())
    for (const auto& name : required->as_array())
      if (!value.get_object().contains(view(name))) return wrong("lacks " + std::string(view(name)));
  return {};
}

Contract::Contract(bj::value document) : document_(std::move(document)) {
  for (const auto& path : document_.at("paths").as_object()) {
    for (const auto& method : path.value().as_object()) {
      auto& operation = operations_.emplace_back();
      operation.path = path.key();
      operation.method = method.key();
      for (char& c : operation.method) c = static_cast<char>(c - 'a' + 'A');
      operation.description = &method.value().as_object();
    }
  }
}

const bj::object* Contract::operation(std::string_view method, std::string_view target) const {
  if (method == "HEAD") method = "GET";
  const auto path = target.substr(0, target.find('?'));
  const bj::object* best = nullptr;
  std::size_t best_fit = 0;
  for (const auto& operation : operations_) {
    if (operation.method != method) continue;
    const auto fits = fit(operation.path, path);
    if (fits <= best_fit) continue;
    best_fit = fits;
    best = operation.description;
  }
  return best;
}

std::string Contract::problem(std::string_view method, std::string_view target, const Reply& reply) const {
  const auto wrong = [&](std::string_view why) {
    return fmt::format("{} {}: {} {}", method, target.substr(0, 200), reply.status, why);
  };
  const auto* operation = this->operation(method, target);
  const auto status = std::to_string(reply.status);
  const bj::value* schema = nullptr;
  if (reply.status >= 400) {
    const bool expected = !operation || operation->at("responses").as_object().contains(status) ||
                          std::find(protocol.begin(), protocol.end(), reply.status) != protocol.end();
    if (!expected) return wrong("is not in the document: " + reply.body);
    if (reply.header("content-type") != "application/problem+json") return wrong("without a problem document");
    schema = &document_.at("components").at("schemas").at("Problem");
  } else if (operation) {
    const auto* described = operation->at("responses").as_object().if_contains(status);
    if (!described) return wrong("is not in the document");
    const auto* content = described->as_object().if_contains("content");
    if (!content || method == "HEAD") return reply.body.empty() ? "" : wrong("with a body that nobody expects");
    const auto* media = content->as_object().if_contains(reply.header("content-type"));
    if (!media) return wrong("as " + reply.header("content-type"));
    if (!reply.header("content-type").starts_with("application/json")) return {};
    schema = &media->at("schema");
  }
  if (!schema || method == "HEAD") return {};
  if (auto problem = schema_problem(reply.json(), *schema, document_); !problem.empty()) return wrong(problem);
  return {};
}

}  // namespace cairn::support
