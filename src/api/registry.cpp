#include "api/registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "http/uri.hpp"

namespace cairn::api {
namespace {

namespace bj = boost::json;

std::string_view media_type(std::string_view content_type) {
  auto type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return type;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return lower(x) == lower(y);
  });
}

// `"7"` names version 7. Weak tags never match a strong comparison (RFC 9110 section 8.8.3.2).
std::optional<std::int64_t> version_in(std::string_view tag) {
  if (tag.size() < 3 || tag.front() != '"' || tag.back() != '"') return std::nullopt;
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(tag.data() + 1, tag.data() + tag.size() - 1, version);
  if (error != std::errc{} || end != tag.data() + tag.size() - 1) return std::nullopt;
  return version;
}

}  // namespace

QueryValues query_values(const http::Request& request) {
  QueryValues values;
  for (const auto& [name, value] : http::Query{request.query}) {
    const auto same = [&](const auto& other) { return other.first == name; };
    if (std::any_of(values.begin(), values.end(), same))
      throw Problem(Kind::malformed, "duplicate_parameter", fmt::format("The parameter \"{}\" is given twice.", name));
    values.emplace_back(name, value);
  }
  return values;
}

bj::value body_document(const Call& call) {
  const auto type = call.request.header("content-type");
  const bool patch = call.request.method == http::Method::patch;
  const auto media = type ? media_type(*type) : std::string_view{};
  if (!same_ignoring_case(media, "application/json") &&
      !(patch && same_ignoring_case(media, "application/merge-patch+json")))
    throw Problem(Kind::unsupported_media,
                  patch ? "Send a merge patch as application/merge-patch+json or application/json."
                        : "Send the body as application/json.");
  return json::parse(call.request.body);
}

void expect_no_body(const Call& call) {
  if (!call.request.body.empty()) throw Problem(Kind::malformed, "unexpected_body", "This endpoint takes no body.");
  if (!call.request.query.empty()) {
    std::vector<FieldError> errors;
    for (const auto& [name, value] : query_values(call.request))
      errors.emplace_back("?" + name, "unknown_parameter", "is not a parameter of this endpoint");
    if (!errors.empty()) throw Problem(Kind::invalid, "This endpoint takes no parameters.").with(std::move(errors));
  }
}

IfMatch if_match(const Call& call) {
  IfMatch match;
  const auto header = call.request.header("if-match");
  if (!header || *header == "*") return match;
  match.version = version_in(*header);
  if (!match.version)
    throw Problem(Kind::stale, "If-Match must be the ETag of the thing as you last read it, such as \"7\".");
  return match;
}

Uuid path_id(const Call& call, std::size_t index) {
  // Anything that is no id names nothing: the same answer as an id that nobody has.
  if (const auto id = Uuid::parse(call.path_values[index])) return *id;
  throw Problem(Kind::not_found);
}

bool conditional(Call& call, std::int64_t version) {
  std::array<char, 24> tag;
  tag[0] = '"';
  auto* end = std::to_chars(tag.data() + 1, tag.data() + tag.size() - 1, version).ptr;
  *end++ = '"';
  const std::string_view etag(tag.data(), static_cast<std::size_t>(end - tag.data()));
  call.response.add_header("ETag", etag);
  if (call.request.method != http::Method::get && call.request.method != http::Method::head) return false;
  const auto known = call.request.header("if-none-match");
  if (!known || (*known != etag && *known != "*" && *known != fmt::format("W/{}", etag))) return false;
  call.response.status = 304;
  return true;
}

void set_location(Call& call, std::string id) {
  std::string location(call.endpoint->spec.location);
  if (location.empty()) return;
  if (const auto at = location.find("{id}"); at != std::string::npos) location.replace(at, 4, id);
  for (std::size_t i = 0; i < call.endpoint->path_names.size(); ++i) {
    const auto name = "{" + call.endpoint->path_names[i] + "}";
    if (const auto at = location.find(name); at != std::string::npos)
      location.replace(at, name.size(), call.path_values[i]);
  }
  call.response.add_header("Location", std::string(prefix) + location);
}

void announce(Call& call) {
  if (call.core.witness) call.core.witness->changed();
}

void throw_invalid(json::Decoder& decoder) {
  const auto count = decoder.errors().size();
  const bool query = decoder.errors().front().pointer.starts_with('?');
  throw Problem(Kind::invalid, count == 1
                                   ? fmt::format("One {} is not acceptable.", query ? "parameter" : "member")
                                   : fmt::format("{} {} are not acceptable.", count, query ? "parameters" : "members"))
      .with(std::move(decoder.errors()));
}

Afterwards::Afterwards(const Call& of) : token_(of.token), call_(of.core, request_, response_) {
  request_.method = of.request.method;
  request_.peer = of.request.peer;
  call_.request_id = of.request_id;
  call_.remote = of.remote;
  call_.address = of.address;
  call_.user_agent = of.user_agent;
  call_.endpoint = of.endpoint;
  call_.token = token_;
  call_.by_cookie = of.by_cookie;
  call_.identity = of.identity;
  call_.authenticator = of.authenticator;
  for (std::size_t i = 0; i < path_values_.size(); ++i) {
    path_values_[i] = of.path_values[i];
    call_.path_values[i] = path_values_[i];
  }
}

async<> Afterwards::learn() { call_.identity = co_await (*call_.authenticator)(call_, call_.token, true); }

void Api::insert(std::unique_ptr<Endpoint> endpoint, std::size_t ids) {
  std::string_view rest = endpoint->path;
  for (auto open = rest.find('{'); open != std::string_view::npos; open = rest.find('{')) {
    const auto close = rest.find('}', open);
    endpoint->path_names.emplace_back(rest.substr(open + 1, close - open - 1));
    rest = rest.substr(close + 1);
  }
  if (endpoint->path_names.size() != ids)
    throw std::logic_error(
        fmt::format("{} names {} things, its handler takes {}", endpoint->path, endpoint->path_names.size(), ids));
  for (const auto& other : endpoints_) {
    if (other->spec.id == endpoint->spec.id || (other->path == endpoint->path && other->method == endpoint->method))
      throw std::logic_error(fmt::format("{} {} is registered twice", endpoint->spec.id, endpoint->path));
  }
  endpoints_.push_back(std::move(endpoint));
}

}  // namespace cairn::api
