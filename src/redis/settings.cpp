#include "redis/connection.hpp"

#include <charconv>
#include <stdexcept>
#include <utility>

namespace cairn::redis {

namespace {

[[noreturn]] void refuse(const char* why) { throw std::invalid_argument(why); }

template<class T>
T number(std::string_view text, const char* why) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) refuse(why);
  return value;
}

// What stands before and after the separator; the second is empty when there is none.
std::pair<std::string_view, std::string_view> cut(std::string_view text, std::size_t at) {
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned char byte = 0;
    auto* from = text.data() + i + 1;
    if (text.size() - i < 3 || std::from_chars(from, from + 2, byte, 16).ptr != from + 2) {
      refuse("the Redis URL has a % that is not followed by two hex digits");
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

void set_address(Settings& settings, std::string_view address) {
  auto colon = address.rfind(':');
  if (address.starts_with('[')) {
    auto close = address.find(']');
    if (close == std::string_view::npos) refuse("the Redis URL has a [ without ]");
    settings.host = address.substr(1, close - 1);
    if (close + 1 == address.size()) return;
    if (colon != close + 1) refuse("the Redis URL has something else than a port after ]");
  } else {
    settings.host = address.substr(0, colon);
  }
  if (settings.host.empty()) refuse("the Redis URL names no host");
  if (colon == std::string_view::npos) return;
  settings.port = number<std::uint16_t>(address.substr(colon + 1), "the port in the Redis URL is no port");
}

}  // namespace

Settings Settings::parse(std::string_view url) {
  Settings settings;
  if (url.starts_with('/') || url.starts_with('.')) {
    settings.path = url;
    return settings;
  }
  auto scheme = url.substr(0, url.find("://"));
  if (scheme == url || (scheme != "unix" && scheme != "redis")) {
    refuse("the Redis URL must start with unix:// or redis://, or be the path of a socket");
  }
  auto [location, query] = cut(url.substr(scheme.size() + 3), url.substr(scheme.size() + 3).find('?'));
  auto slash = location.find('/');
  auto authority = location.substr(0, slash);
  auto path = slash == std::string_view::npos ? std::string_view() : location.substr(slash);

  if (auto at = authority.rfind('@'); at != std::string_view::npos) {
    auto [user, password] = cut(authority.substr(0, at), authority.substr(0, at).find(':'));
    settings.user = percent_decoded(user);
    settings.password = percent_decoded(password);
    authority.remove_prefix(at + 1);
  }
  if (scheme == "unix") {
    if (!authority.empty() || path.size() < 2) refuse("a unix:// URL needs an absolute path: unix:///run/redis.sock");
    settings.path = percent_decoded(path);
  } else {
    set_address(settings, authority);
    if (path.size() > 1) settings.db = number<unsigned>(path.substr(1), "the database in the Redis URL is no number");
  }
  if (query.starts_with("db=")) {
    settings.db = number<unsigned>(query.substr(3), "the database in the Redis URL is no number");
  } else if (!query.empty()) {
    refuse("the Redis URL has another parameter than db");
  }
  return settings;
}

}  // namespace cairn::redis
