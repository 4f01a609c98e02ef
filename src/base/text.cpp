#include "base/text.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <sodium.h>

namespace cairn {
namespace {

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// Words that are, or may become, the first part of an address of our own.
constexpr std::array reserved = std::to_array<std::string_view>(
    {"account",  "accounts",      "admin",   "api",      "app",      "assets",   "audit",        "auth",
     "billing",  "board",         "boards",  "calendar", "cairn",    "contact",  "dashboard",    "docs",
     "events",   "healthz",       "help",    "home",     "import",   "inbox",    "invitation",   "invitations",
     "invite",   "legal",         "login",   "logout",   "mail",     "me",       "members",      "metrics",
     "new",      "notifications", "null",    "oauth",    "oidc",     "openapi",  "organization", "organizations",
     "password", "privacy",       "profile", "project",  "projects", "public",   "readyz",       "recovery",
     "register", "reset",         "root",    "saml",     "search",   "security", "session",      "sessions",
     "settings", "setup",         "signin",  "signup",   "sso",      "static",   "status",       "support",
     "system",   "task",          "tasks",   "team",     "teams",    "terms",    "tokens",       "undefined",
     "user",     "users",         "verify",  "webhooks", "www"});

// The code point that begins at `at`, which is moved behind it. Only for text that count_code_points() has accepted.
char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto first = static_cast<unsigned char>(text[at++]);
  if (first < 0x80) return first;
  const int tails = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  auto point = static_cast<char32_t>(first & (0x3F >> tails));
  for (int i = 0; i < tails; ++i) point = point << 6 | (static_cast<unsigned char>(text[at++]) & 0x3F);
  return point;
}

// Unicode's white space, and what it calls control characters and line and paragraph separators.
bool is_blank(char32_t c) {
  return c == 0x20 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}
bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x2028 || c == 0x2029; }

}  // namespace

std::optional<std::size_t> count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++count) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const auto tail = [&](std::size_t at) { return at < text.size() && (byte(at) & 0xC0) == 0x80; };
    const unsigned char first = byte(i);
    if (first == 0) return std::nullopt;
    if (first < 0x80) {
      i += 1;
    } else if (first >= 0xC2 && first <= 0xDF) {
      if (!tail(i + 1)) return std::nullopt;
      i += 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
      if (!tail(i + 1) || !tail(i + 2)) return std::nullopt;
      // No overlong forms and no surrogates (RFC 3629 section 4).
      if ((first == 0xE0 && byte(i + 1) < 0xA0) || (first == 0xED && byte(i + 1) > 0x9F)) return std::nullopt;
      i += 3;
    } else if (first >= 0xF0 && first <= 0xF4) {
      if (!tail(i + 1) || !tail(i + 2) || !tail(i + 3)) return std::nullopt;
      if ((first == 0xF0 && byte(i + 1) < 0x90) || (first == 0xF4 && byte(i + 1) > 0x8F)) return std::nullopt;
      i += 4;
    } else {
      return std::nullopt;
    }
  }
  return count;
}

std::string text_problem(std::string_view text, std::size_t min, std::size_t max, Shape shape) {
  const auto length = count_code_points(text);
  if (!length) return "must be valid UTF-8 without NUL characters";
  if (*length < min) return min == 1 ? "must not be empty" : fmt::format("must have at least {} characters", min);
  if (*length > max) return fmt::format("must have at most {} characters, has {}", max, *length);
  if (shape == Shape::line && !text.empty()) {
    char32_t first = 0, last = 0;
    for (std::size_t at = 0; at < text.size();) {
      const bool begins = at == 0;
      last = next_code_point(text, at);
      if (begins) first = last;
      if (is_control(last)) return "must be one line without control characters";
    }
    if (is_blank(first) || is_blank(last)) return "must not begin or end with a space";
  }
  return {};
}

std::string Email::problem(std::string_view value) {
  // The addr-spec of RFC 5321 without quoted local parts, comments and address literals: what mail is really sent to.
  if (value.size() > 254) return "must have at most 254 characters";
  const auto at = value.find('@');
  if (at == std::string_view::npos || at == 0 || value.find('@', at + 1) != std::string_view::npos)
    return "must be an e-mail address such as ada@example.org";
  const auto local = value.substr(0, at), domain = value.substr(at + 1);
  constexpr std::string_view specials = "!#$%&'*+-/=?^_`{|}~.";
  const auto atom = [&](char c) {
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z') || specials.find(c) != std::string_view::npos;
  };
  if (local.size() > 64 || !std::all_of(local.begin(), local.end(), atom) || local.front() == '.' ||
      local.back() == '.' || local.find("..") != std::string_view::npos)
    return "has characters before the @ that are not allowed";
  if (domain.find('.') == std::string_view::npos) return "needs a domain with a dot";
  std::size_t begin = 0;
  while (begin <= domain.size()) {
    const auto end = std::min(domain.find('.', begin), domain.size());
    const auto label = domain.substr(begin, end - begin);
    const auto letter = [](char c) { return lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '-'; };
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(), letter))
      return "has a domain that is not valid; write international domains in their xn-- form";
    begin = end + 1;
  }
  return {};
}

std::optional<Email> Email::parse(std::string_view value) {
  if (!problem(value).empty()) return std::nullopt;
  std::string lower(value);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return trusted(std::move(lower));
}

std::string Slug::problem(std::string_view value) {
  if (value.size() < 2 || value.size() > 63) return "must have 2 to 63 characters";
  for (std::size_t i = 0; i < value.size(); ++i) {
    const bool dash = value[i] == '-';
    if (!dash && !lower_or_digit(value[i])) return "may hold a-z, 0-9 and single dashes only";
    if (dash && (i == 0 || i + 1 == value.size() || value[i - 1] == '-'))
      return "must not begin or end with a dash or hold two in a row";
  }
  if (std::find(reserved.begin(), reserved.end(), value) != reserved.end()) return "is a reserved word";
  return {};
}

std::optional<Slug> Slug::parse(std::string_view value) {
  if (!problem(value).empty()) return std::nullopt;
  return trusted(std::string(value));
}

std::string url_problem(std::string_view value, std::size_t max) {
  if (value.size() > max) return fmt::format("must have at most {} characters", max);
  const auto rest = value.starts_with("https://")  ? value.substr(8)
                    : value.starts_with("http://") ? value.substr(7)
                                                   : "";
  if (rest.empty() || rest.front() == '/') return "must be an absolute http or https address";
  if (std::any_of(value.begin(), value.end(),
                  [](char c) { return c <= 0x20 || c == 0x7F || c == '"' || c == '<' || c == '>' || c == '\\'; }))
    return "must hold ASCII characters only, without spaces, quotes and angle brackets";
  return {};
}

std::string Secret::problem(std::string_view value) {
  if (value.size() > max) return fmt::format("must have at most {} bytes", max);
  if (!count_code_points(value)) return "must be valid UTF-8 without NUL characters";
  return {};
}

Secret::~Secret() { sodium_memzero(value_.data(), value_.size()); }

}  // namespace cairn
