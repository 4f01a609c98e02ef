#include "api/router.hpp"

namespace cairn::api {
namespace {

constexpr std::size_t max_segments = 8;

// Splits "/a/b" into a and b; false when there are too many.
bool split(std::string_view path, std::array<std::string_view, max_segments>& parts, std::size_t& count) {
  count = 0;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto slash = path.find('/');
    if (count == parts.size()) return false;
    parts[count++] = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash);
  }
  return true;
}

}  // namespace

Router::Router(std::span<const std::unique_ptr<Endpoint>> endpoints) : by_length_(max_segments + 1) {
  for (const auto& endpoint : endpoints) {
    std::array<std::string_view, max_segments> parts;
    std::size_t count = 0;
    split(endpoint->path, parts, count);
    Route route;
    route.endpoint = endpoint.get();
    for (std::size_t i = 0; i < count; ++i)
      route.segments.push_back(parts[i].starts_with('{') ? std::string_view{} : parts[i]);
    by_length_[count].push_back(std::move(route));
  }
}

Router::Match Router::find(http::Method method, std::string_view path, std::array<std::string_view, 4>& values) const {
  Match match;
  std::array<std::string_view, max_segments> parts;
  std::size_t count = 0;
  if (!split(path, parts, count)) return match;
  if (method == http::Method::head) method = http::Method::get;
  // A fixed word wins over a {name}, whatever the order of registration.
  std::size_t best = 0;
  for (const auto& route : by_length_[count]) {
    std::size_t fixed = 1;
    bool fits = true;
    for (std::size_t i = 0; i < count && fits; ++i) {
      if (route.segments[i].empty())
        fits = !parts[i].empty();
      else if (route.segments[i] == parts[i])
        ++fixed;
      else
        fits = false;
    }
    if (!fits) continue;
    if (route.endpoint->method != method) {
      match.allowed.push_back(route.endpoint->method);
      continue;
    }
    if (fixed <= best) continue;
    best = fixed;
    match.endpoint = route.endpoint;
    std::size_t next = 0;
    for (std::size_t i = 0; i < count; ++i)
      if (route.segments[i].empty()) values[next++] = parts[i];
  }
  return match;
}

}  // namespace cairn::api
