#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace cairn::importer {

enum class Encoding {
  utf_8,
  latin_1,
  windows_1252,
  utf_8_else_windows_1252,  // decided field by field, for files that mix the two
};

// The names profiles use: utf-8, latin-1, windows-1252, "utf-8 else windows-1252".
std::optional<Encoding> encoding_named(std::string_view name);

struct Decoded {
  Decoded() = default;
  Decoded(std::string utf_8, bool was_converted) : text(std::move(utf_8)), converted(was_converted) {}
  std::string text;
  bool converted = false;  // the bytes changed
};
// nullopt: the bytes are not text in that encoding.
std::optional<Decoded> decode(std::string_view bytes, Encoding encoding);

}  // namespace cairn::importer
