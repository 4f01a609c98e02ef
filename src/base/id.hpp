#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
  bool nil() const { return *this == Uuid{}; }
  std::string text() const;
  void append_to(std::string& out) const;  // 36 characters, lower case

  // RFC 9562 text form, 36 characters, either case; nothing else (no braces, no missing dashes).
  static std::optional<Uuid> parse(std::string_view text);
  // Version 7 (RFC 9562): time-ordered, so new rows land together at the end of a B-tree.
  static Uuid make();
};

// An id of one entity; ids of different entities do not convert into each other.
template<class Entity>
struct Id {
  Uuid value;
  auto operator<=>(const Id&) const = default;
  std::string text() const { return value.text(); }
  static Id make() { return Id{Uuid::make()}; }
};

}  // namespace cairn

template<>
struct std::hash<cairn::Uuid> {
  std::size_t operator()(const cairn::Uuid& id) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()});
  }
};
