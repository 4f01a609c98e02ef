#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace cairn {

// 32 secret bytes from a file of 64 hexadecimal digits and a line break, which is made, for its owner's eyes only, when
// there is none. Throws std::runtime_error, which says what the file is for.
std::array<std::uint8_t, 32> key_in(const std::filesystem::path& file, std::string_view what);

}  // namespace cairn
