#include "api/credentials.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "api/endpoint.hpp"

namespace cairn::api {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
bool same(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

std::string_view bearer(const http::Request& request) {
  const auto header = request.header("authorization");
  // The scheme is case-insensitive (RFC 9110 section 11.1).
  constexpr std::string_view scheme = "bearer ";
  if (!header || !same(header->substr(0, scheme.size()), scheme)) return {};
  return header->substr(scheme.size());
}

// "https://cairn.example" of "https://cairn.example/at/some/path".
std::string_view origin_of(std::string_view url) {
  const auto authority = url.find("://");
  if (authority == url.npos) return {};
  return url.substr(0, url.find('/', authority + 3));
}

void add_session_cookie(Call& call, std::string_view token, std::int64_t seconds) {
  call.response.add_header("Set-Cookie", fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; Secure; SameSite=Lax",
                                                     session_cookie, token, seconds));
}
void add_refresh_cookie(Call& call, std::string_view token, std::int64_t seconds) {
  call.response.add_header("Set-Cookie",
                           fmt::format("{}={}; Path=/api/v1/sessions/refresh; Max-Age={}; HttpOnly; Secure; "
                                       "SameSite=Strict",
                                       refresh_cookie, token, seconds));
}

// RFC 6265 section 4.2.1. What others on this host have set is not ours to judge.
Credentials by_cookie(const http::Request& request, std::string_view name) {
  Credentials found;
  for (const auto& field : request.headers) {
    if (!same(field.name, "cookie")) continue;
    auto rest = field.value;
    while (!rest.empty()) {
      const auto end = std::min(rest.find(';'), rest.size());
      const auto pair = trimmed(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const auto equals = std::min(pair.find('='), pair.size());
      if (pair.substr(0, equals) != name) continue;
      if (std::exchange(found.by_cookie, true)) found.ambiguous = true;
      found.token = pair.substr(std::min(equals + 1, pair.size()));
    }
  }
  if (found.token.empty()) found.by_cookie = false;
  if (found.ambiguous) found.token = {};
  return found;
}

}  // namespace

Credentials credentials(const http::Request& request) {
  Credentials found;
  found.token = bearer(request);
  if (found.token.empty()) found = by_cookie(request, session_cookie);
  return found;
}

Credentials refresh_credentials(const http::Request& request) { return by_cookie(request, refresh_cookie); }

bool same_origin(const http::Request& request, const Remote& remote, std::string_view base_url) {
  const auto site = request.header("sec-fetch-site");
  if (site && *site != "same-origin") return false;
  const auto origin = request.header("origin");
  if (!origin) return site.has_value();
  if (!base_url.empty() && same(*origin, origin_of(base_url))) return true;
  // Whoever can put a page on http://host can read that host's traffic anyway, but not what is sent over TLS.
  for (const std::string_view scheme : {"https://", "http://"})
    if (origin->starts_with(scheme))
      return !(remote.secure && scheme == "http://") && !remote.host.empty() &&
             same(origin->substr(scheme.size()), remote.host);
  return false;
}

void expect_same_origin(const Call& call) {
  if (!same_origin(call.request, call.remote, call.core.shared.config.server.base_url))
    throw Problem(Kind::forbidden, "cross_origin", "A cookie changes things only for pages of this server.");
}

void set_session_cookie(Call& call, std::string_view token) {
  add_session_cookie(call, token, std::chrono::seconds(call.core.shared.config.session.absolute_hours).count());
}
void set_refresh_cookie(Call& call, std::string_view token, std::chrono::seconds lifetime) {
  add_refresh_cookie(call, token, lifetime.count());
}

void clear_cookies(Call& call) {
  add_session_cookie(call, {}, 0);
  add_refresh_cookie(call, {}, 0);
}

}  // namespace cairn::api
