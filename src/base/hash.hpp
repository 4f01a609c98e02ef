#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

using Hash = std::array<std::uint8_t, 32>;

Hash sha256(std::string_view bytes);

// Two lower-case digits a byte.
std::string hex(std::span<const std::uint8_t> bytes);
// Nothing when it is not pairs of hexadecimal digits, of either case.
std::optional<std::vector<std::uint8_t>> from_hex(std::string_view text);

inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace cairn
