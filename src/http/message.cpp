#include "http/message.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace cairn::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool equals_lower(std::string_view text, std::string_view lower_case) {
  return std::ranges::equal(text, lower_case, {}, lower);
}

bool is_token(std::string_view text) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";  // RFC 9110 section 5.6.2
  auto const is_tchar = [&](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || marks.find(c) != marks.npos;
  };
  return !text.empty() && std::ranges::all_of(text, is_tchar);
}

constexpr std::array<std::string_view, 5> session_fields = {"content-length", "content-type", "connection", "date",
                                                            "transfer-encoding"};

}  // namespace

std::optional<std::string_view> Request::header(std::string_view lower_case_name) const {
  for (auto const& field : headers)
    if (equals_lower(field.name, lower_case_name)) return field.value;
  return std::nullopt;
}

void Response::add_header(std::string_view name, std::string_view value) {
  constexpr std::string_view forbidden{"\r\n\0", 3};
  if (!is_token(name) || value.find_first_of(forbidden) != value.npos)
    throw std::invalid_argument("a reply's field would break the header");
  if (std::ranges::any_of(session_fields, [&](auto field) { return equals_lower(name, field); }))
    throw std::invalid_argument("a field that the session writes itself");
  fields_.append(name).append(": ").append(value).append("\r\n");
}

void Response::clear() {
  status = 200;
  content_type.clear();
  fields_.clear();
  body_.clear();
  shared_body_.reset();
  source_.reset();
}

}  // namespace cairn::http
