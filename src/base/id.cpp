#include "base/id.hpp"

#include <chrono>
#include <cstring>

#include <sodium.h>

namespace cairn {
namespace {

constexpr std::string_view digits = "0123456789abcdef";
constexpr std::array<std::size_t, 4> dashes{8, 13, 18, 23};
constexpr bool after_dash(std::size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void Uuid::append_to(std::string& out) const {
  std::array<char, 36> text;
  std::size_t at = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (after_dash(i)) text[at++] = '-';
    text[at++] = digits[bytes[i] >> 4];
    text[at++] = digits[bytes[i] & 15];
  }
  out.append(text.data(), text.size());
}

std::string Uuid::text() const {
  std::string out;
  append_to(out);
  return out;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  for (const auto dash : dashes)
    if (text[dash] != '-') return std::nullopt;
  Uuid id;
  std::size_t at = 0;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    if (after_dash(i)) ++at;
    const int high = hex(text[at]), low = hex(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return id;
}

Uuid Uuid::make() {
  Uuid id;
  randombytes_buf(id.bytes.data(), id.bytes.size());
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  for (std::size_t i = 0; i < 6; ++i) id.bytes[i] = static_cast<std::uint8_t>(now >> (40 - 8 * i));
  id.bytes[6] = static_cast<std::uint8_t>(0x70 | (id.bytes[6] & 0x0f));
  id.bytes[8] = static_cast<std::uint8_t>(0x80 | (id.bytes[8] & 0x3f));
  return id;
}

}  // namespace cairn
