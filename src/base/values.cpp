#include "base/values.hpp"

#include <fmt/format.h>

namespace cairn {
namespace {

std::int64_t power_of_ten(int exponent) {
  std::int64_t value = 1;
  while (exponent-- > 0) value *= 10;
  return value;
}

}  // namespace

void append_decimal(std::string& out, std::int64_t units, int scale) {
  const auto one = power_of_ten(scale);
  if (units < 0) out.push_back('-');
  const auto whole = units < 0 ? -(units / one) : units / one;
  const auto part = units < 0 ? -(units % one) : units % one;
  fmt::format_to(std::back_inserter(out), "{}", whole);
  if (scale > 0) fmt::format_to(std::back_inserter(out), ".{:0{}}", part, scale);
}

std::optional<std::int64_t> parse_decimal(std::string_view text, int precision, int scale) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto dot = text.find('.');
  const auto whole = text.substr(0, dot);
  const auto part = dot == std::string_view::npos ? std::string_view{} : text.substr(dot + 1);
  if (whole.empty() || (dot != std::string_view::npos && part.empty()) || text.size() > 40) return std::nullopt;

  const auto limit = power_of_ten(precision);
  std::int64_t units = 0;
  int digits_after = 0;
  for (char c : whole) {
    if (c < '0' || c > '9') return std::nullopt;
    units = units * 10 + (c - '0');
    if (units >= limit) return std::nullopt;
  }
  for (char c : part) {
    if (c < '0' || c > '9' || (digits_after >= scale && c != '0')) return std::nullopt;
    if (digits_after++ < scale) units = units * 10 + (c - '0');
    if (units >= limit) return std::nullopt;
  }
  for (; digits_after < scale; ++digits_after) units *= 10;
  if (units >= limit) return std::nullopt;
  return negative ? -units : units;
}

}  // namespace cairn
