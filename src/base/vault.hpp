#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.hpp"

namespace cairn {

// Seals what must be stored and read again, such as the secrets of second factors: whoever has the database, or a copy
// of it, has not the key. And marks what is kept where others may write. Any thread.
class Vault {
 public:
  // With the key in `<data_dir>/secrets.key`, which is made when it is not there; read once in the life of the process.
  // Throws std::runtime_error, whose text says what to do.
  static const Vault& in(const std::filesystem::path& data_dir);

  // XChaCha20-Poly1305. What is sealed for one person opens for no other.
  std::vector<std::uint8_t> seal(std::span<const std::uint8_t> plain, const Uuid& whose) const;
  // Nothing when it was sealed with another key, for another or not at all.
  std::optional<std::vector<std::uint8_t>> open(std::span<const std::uint8_t> sealed, const Uuid& whose) const;

  // What only a server with this key can say of these texts, in this order: 32 hexadecimal digits (keyed BLAKE2b).
  std::string mark(std::initializer_list<std::string_view> texts) const;

 private:
  explicit Vault(const std::filesystem::path& file);
  std::array<std::uint8_t, 32> key_, marking_key_{};
};

}  // namespace cairn
