// Only what a page hands out is a cursor: each has one spelling, and survives the way there and back.
#include "api/paging.hpp"
#include "fuzz/fuzz.hpp"

namespace cairn::fuzz {

void run(std::string_view bytes) {
  if (const auto cursor = api::Cursor::decode(bytes)) require(cursor->encode() == bytes, "a cursor has one spelling");

  // One of ours, made of the bytes: its key and id, then the text of its sort and key.
  api::Cursor made;
  std::copy_n(bytes.begin(), std::min<std::size_t>(bytes.size(), 8), reinterpret_cast<char*>(&made.key));
  bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 8));
  std::copy_n(bytes.begin(), std::min<std::size_t>(bytes.size(), 16), reinterpret_cast<char*>(made.id.bytes.data()));
  bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 16));
  const auto half = std::min(bytes.find('\n'), bytes.size());
  made.sort = bytes.substr(0, half);
  made.text_key = bytes.substr(half);
  if (!count_code_points(bytes) || bytes.size() > 1000) return;
  const auto back = api::Cursor::decode(made.encode());
  require(back && back->key == made.key && back->id == made.id && back->sort == made.sort &&
              back->text_key == made.text_key,
          "a cursor of ours means what it meant");
}

}  // namespace cairn::fuzz
