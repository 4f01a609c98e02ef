// A request is only as credible as what it shows: one session cookie is somebody's, two are nobody's, and only a page
// of this server changes anything with it.
#include <algorithm>
#include <vector>

#include "api/credentials.hpp"
#include "fuzz/fuzz.hpp"

namespace cairn::fuzz {

// Each line of the input is a field, "Name: value".
void run(std::string_view bytes) {
  http::Request request;
  while (!bytes.empty()) {
    const auto end = std::min(bytes.find('\n'), bytes.size());
    const auto line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    const auto colon = std::min(line.find(": "), line.size());
    request.headers.push_back({line.substr(0, colon), line.substr(std::min(colon + 2, line.size()))});
  }

  const auto shown = api::credentials(request);
  require(!shown.ambiguous || shown.token.empty(), "two session cookies are none");
  require(!shown.by_cookie || shown.ambiguous || !shown.token.empty(), "a cookie shows a token");
  const auto has = [&](std::string_view part) {
    return std::ranges::any_of(request.headers, [&](const auto& field) { return field.value.find(part) != part.npos; });
  };
  require(shown.token.empty() || has(shown.token), "a token is there as it was sent");
  require(!shown.by_cookie || has(api::session_cookie), "only the cookie of that name counts");
  require(shown.token.find(';') == shown.token.npos || !shown.by_cookie, "a cookie ends where it ends");
  if (shown.by_cookie && !shown.ambiguous) {
    // The same again beside it, wherever it comes from.
    auto twice = request;
    const auto other = std::string(api::session_cookie) + "=x";
    twice.headers.push_back({"Cookie", other});
    require(api::credentials(twice).ambiguous, "a second session cookie is noticed");
  }

  api::Remote remote;
  remote.host = "cairn.example";
  for (const bool secure : {false, true}) {
    remote.secure = secure;
    if (!api::same_origin(request, remote, "https://base.example/path")) continue;
    const auto origin = request.header("origin");
    const auto site = request.header("sec-fetch-site");
    require(!site || *site == "same-origin", "another site is another site");
    require(origin || site, "nothing said is no");
    if (!origin) continue;
    std::string lower(*origin);
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    require(lower == "https://base.example" || lower == "https://cairn.example" ||
                (!secure && lower == "http://cairn.example"),
            "an origin is the server's own");
  }
}

}  // namespace cairn::fuzz
