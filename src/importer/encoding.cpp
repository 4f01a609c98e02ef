#include "importer/encoding.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.hpp"

namespace cairn::importer {
namespace {

// Bytes 0x80 to 0x9F of windows-1252; zero where it defines none.
// https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/
constexpr std::array<char16_t, 32> windows_1252_high{0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                     0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                                     0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                     0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

void append_code_point(std::string& out, char16_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::optional<Decoded> decode_single_bytes(std::string_view bytes, bool windows) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    const auto code = windows && value >= 0x80 && value < 0xA0 ? windows_1252_high[value - 0x80u] : char16_t{value};
    if (code == 0) return std::nullopt;
    append_code_point(text, code);
  }
  return Decoded(std::move(text), true);
}

}  // namespace

std::optional<Encoding> encoding_named(std::string_view name) {
  if (name == "utf-8") return Encoding::utf_8;
  if (name == "latin-1") return Encoding::latin_1;
  if (name == "windows-1252") return Encoding::windows_1252;
  if (name == "utf-8 else windows-1252") return Encoding::utf_8_else_windows_1252;
  return std::nullopt;
}

std::optional<Decoded> decode(std::string_view bytes, Encoding encoding) {
  const bool ascii = std::ranges::all_of(bytes, [](char c) { return c > 0; });
  if (ascii) return Decoded(std::string(bytes), false);
  switch (encoding) {
    case Encoding::latin_1: return decode_single_bytes(bytes, false);
    case Encoding::windows_1252: return decode_single_bytes(bytes, true);
    case Encoding::utf_8:
    case Encoding::utf_8_else_windows_1252: break;
  }
  if (count_code_points(bytes)) return Decoded(std::string(bytes), false);
  if (encoding == Encoding::utf_8) return std::nullopt;
  return decode_single_bytes(bytes, true);
}

}  // namespace cairn::importer
