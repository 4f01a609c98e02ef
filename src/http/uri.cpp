#include "http/uri.hpp"

#include "base/text.hpp"

namespace cairn::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<std::string> decode(std::string_view text, bool plus_is_blank) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_blank) {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      if (text.size() - i < 3) return std::nullopt;
      auto const high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  if (!count_code_points(decoded)) return std::nullopt;
  return decoded;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) { return decode(text, false); }

Query::iterator& Query::iterator::operator++() {
  std::string_view pair;
  while (pair.empty()) {
    if (rest_.empty()) return done_ = true, *this;
    auto const end = std::min(rest_.find('&'), rest_.size());
    pair = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
  }
  auto const equals = std::min(pair.find('='), pair.size());
  auto name = decode(pair.substr(0, equals), true);
  auto value = decode(pair.substr(std::min(equals + 1, pair.size())), true);
  done_ = !name || !value;
  if (!done_) {
    pair_.name = std::move(*name);
    pair_.value = std::move(*value);
  }
  return *this;
}

std::optional<std::string> Query::value(std::string_view name) const {
  for (auto const& pair : *this)
    if (pair.name == name) return pair.value;
  return std::nullopt;
}

}  // namespace cairn::http
