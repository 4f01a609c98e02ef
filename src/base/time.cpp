#include "base/time.hpp"

#include <array>

namespace cairn {
namespace {

using namespace std::chrono;

std::optional<int> number(std::string_view text, std::size_t at, std::size_t length) {
  if (at + length > text.size()) return std::nullopt;
  int value = 0;
  for (char c : text.substr(at, length)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

void two(std::string& out, unsigned value) {
  out.push_back(static_cast<char>('0' + value / 10));
  out.push_back(static_cast<char>('0' + value % 10));
}

void append_day(std::string& out, std::int32_t days) {
  const year_month_day day{sys_days{std::chrono::days{days}}};
  const auto year = static_cast<unsigned>(int{day.year()});
  two(out, year / 100);
  two(out, year % 100);
  out.push_back('-');
  two(out, unsigned{day.month()});
  out.push_back('-');
  two(out, unsigned{day.day()});
}

std::optional<std::int32_t> parse_day(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto y = number(text, 0, 4), m = number(text, 5, 2), d = number(text, 8, 2);
  if (!y || !m || !d || *y < 1900) return std::nullopt;
  const year_month_day day{year{*y}, month{static_cast<unsigned>(*m)}, std::chrono::day{static_cast<unsigned>(*d)}};
  if (!day.ok()) return std::nullopt;
  return static_cast<std::int32_t>(sys_days{day}.time_since_epoch().count());
}

constexpr std::int64_t second = 1'000'000, minute = 60 * second, hour = 60 * minute, a_day = 24 * hour;

}  // namespace

void Instant::append_to(std::string& out) const {
  auto days = micros / a_day;
  auto rest = micros % a_day;
  if (rest < 0) {
    rest += a_day;
    --days;
  }
  append_day(out, static_cast<std::int32_t>(days));
  out.push_back('T');
  two(out, static_cast<unsigned>(rest / hour));
  out.push_back(':');
  two(out, static_cast<unsigned>(rest / minute % 60));
  out.push_back(':');
  two(out, static_cast<unsigned>(rest / second % 60));
  if (const auto fraction = static_cast<unsigned>(rest % second)) {
    out.push_back('.');
    two(out, fraction / 10000);
    two(out, fraction / 100 % 100);
    two(out, fraction % 100);
  }
  out.push_back('Z');
}

std::string Instant::text() const {
  std::string out;
  append_to(out);
  return out;
}

std::optional<Instant> Instant::parse(std::string_view text) {
  // The shortest form is 2026-02-03T04:05:06Z.
  if (text.size() < 20 || text.size() > 40) return std::nullopt;
  const auto day = parse_day(text.substr(0, 10));
  if (!day || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':') return std::nullopt;
  const auto h = number(text, 11, 2), m = number(text, 14, 2), s = number(text, 17, 2);
  if (!h || !m || !s || *h > 23 || *m > 59 || *s > 59) return std::nullopt;
  std::int64_t micros = *day * a_day + *h * hour + *m * minute + *s * second;

  std::size_t at = 19;
  if (text[at] == '.') {
    std::int64_t unit = second / 10;
    std::size_t seen = 0;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++seen) {
      micros += (text[at] - '0') * unit;
      unit /= 10;
    }
    if (seen == 0 || seen > 9) return std::nullopt;
  }
  const auto zone = text.substr(at);
  if (zone == "Z" || zone == "z") return Instant{micros};
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  const auto zh = number(zone, 1, 2), zm = number(zone, 4, 2);
  if (!zh || !zm || *zh > 23 || *zm > 59) return std::nullopt;
  const auto offset = *zh * hour + *zm * minute;
  return Instant{zone[0] == '+' ? micros - offset : micros + offset};
}

Instant Instant::now() { return {duration_cast<microseconds>(system_clock::now().time_since_epoch()).count()}; }

void Date::append_to(std::string& out) const { append_day(out, days); }

std::string Date::text() const {
  std::string out;
  append_to(out);
  return out;
}

std::optional<Date> Date::parse(std::string_view text) {
  if (const auto days = parse_day(text)) return Date{*days};
  return std::nullopt;
}

}  // namespace cairn
