#pragma once
#include <chrono>
#include <string_view>

#include "api/remote.hpp"
#include "http/message.hpp"

namespace cairn::api {

struct Call;

// The session of a browser. A name with this prefix is taken by browsers only from a secure origin, for the whole host
// and for no other (draft-ietf-httpbis-rfc6265bis section 4.1.3.2).
inline constexpr std::string_view session_cookie = "__Host-cairn_session";

// What a browser that stays logged in gets its next session by. It goes to that one address only, and with requests of
// this server's own pages only.
inline constexpr std::string_view refresh_cookie = "__Secure-cairn_refresh";

// What a request shows of who sends it.
struct Credentials {
  std::string_view token;  // empty: nothing
  bool by_cookie = false;
  bool ambiguous = false;  // the cookie is there twice: who set the other?
};

// `Authorization: Bearer ...` wins over the cookie, which a browser sends whether it is meant or not.
Credentials credentials(const http::Request& request);

// The refresh token that a browser shows.
Credentials refresh_credentials(const http::Request& request);

// Whether a browser says that the page which sends the request is this server's own: by Origin, or where that is
// missing by Sec-Fetch-Site. Nothing said is no.
bool same_origin(const http::Request& request, const Remote& remote, std::string_view base_url);
// Throws Problem (forbidden) unless it is. For whatever reads or sets the cookie and changes something.
void expect_same_origin(const Call& call);

// These go with the reply.
void set_session_cookie(Call& call, std::string_view token);
void set_refresh_cookie(Call& call, std::string_view token, std::chrono::seconds lifetime);
void clear_cookies(Call& call);

}  // namespace cairn::api
