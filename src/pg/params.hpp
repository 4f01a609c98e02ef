#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::pg {

// The bound values of one statement: one buffer and where each value lies in it. Codecs append to it.
class Params {
 public:
  enum class Format : int { text = 0, binary = 1 };

  Params() = default;

  // Appends one parameter (two for a Change<T>: whether it is given, and the value). Include pg/codec.hpp to use it.
  template<class T>
  Params& add(const T& value);

  void add_null();
  // `write` appends the value's bytes to the string it is given.
  template<class Write>
  void add_bytes(Write&& write, Format format = Format::binary) {
    const auto begin = bytes_.size();
    write(bytes_);
    slots_.push_back({static_cast<std::int32_t>(begin), static_cast<std::int32_t>(bytes_.size() - begin), format});
    if (format == Format::text) bytes_.push_back('\0');  // libpq measures those itself
  }

  // Appends all of another's.
  void append(const Params& more) {
    const auto before = static_cast<std::int32_t>(bytes_.size());
    slots_.reserve(slots_.size() + more.slots_.size());
    bytes_.append(more.bytes_);
    for (auto slot : more.slots_) {
      slot.offset += before;
      slots_.push_back(slot);
    }
  }

  // Forgets all but the first so many.
  void keep(std::size_t count) { slots_.resize(count); }

  std::size_t size() const { return slots_.size(); }
  bool null(std::size_t index) const { return slots_[index].length < 0; }
  Format format(std::size_t index) const { return slots_[index].format; }
  // Stays valid until the next add; empty for NULL.
  std::string_view value(std::size_t index) const {
    return null(index) ? std::string_view{} : std::string_view(bytes_).substr(at(index), length(index));
  }

 private:
  struct Slot {
    std::int32_t offset, length;  // length -1: NULL
    Format format;
  };
  std::size_t at(std::size_t index) const { return static_cast<std::size_t>(slots_[index].offset); }
  std::size_t length(std::size_t index) const { return static_cast<std::size_t>(slots_[index].length); }

  std::string bytes_;
  std::vector<Slot> slots_;
};

}  // namespace cairn::pg
