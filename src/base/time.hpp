#pragma once
#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

// A moment in UTC, microseconds since 1970-01-01 like PostgreSQL keeps them.
struct Instant {
  std::int64_t micros = 0;

  auto operator<=>(const Instant&) const = default;
  void append_to(std::string& out) const;  // 2026-02-03T04:05:06.000007Z; no fraction when it is zero
  std::string text() const;

  // RFC 3339 date-time with `Z` or an offset, years 1900 to 9999, at most 6 fraction digits kept. Never PostgreSQL's
  // words ("now", "infinity").
  static std::optional<Instant> parse(std::string_view text);
  static Instant now();
  // Sorts after every real moment; PostgreSQL's 'infinity'. Only in page cursors, never shown.
  static constexpr Instant infinity() { return {std::numeric_limits<std::int64_t>::max()}; }
};

// A day without a time zone, days since 1970-01-01. Years 1900 to 9999.
struct Date {
  std::int32_t days = 0;

  auto operator<=>(const Date&) const = default;
  void append_to(std::string& out) const;  // 2026-02-03
  std::string text() const;
  static std::optional<Date> parse(std::string_view text);
};

}  // namespace cairn
