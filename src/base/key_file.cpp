#include "base/key_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/hash.hpp"

namespace cairn {
namespace fs = std::filesystem;
namespace {

// Whole or not at all, and never over one that another process has just made.
bool make(const fs::path& file) {
  std::error_code ignored;
  fs::create_directories(file.parent_path(), ignored);
  auto draft = file.string() + ".XXXXXX";
  const int made = mkostemp(draft.data(), O_CLOEXEC);  // 0600
  if (made < 0) return false;
  std::array<std::uint8_t, 32> key;
  randombytes_buf(key.data(), key.size());
  const auto text = hex(key) + '\n';
  const bool written = write(made, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(made) == 0;
  const bool linked = written && (link(draft.c_str(), file.c_str()) == 0 || errno == EEXIST);
  const int cause = errno;
  close(made);
  unlink(draft.c_str());
  errno = cause;
  return linked;
}

}  // namespace

std::array<std::uint8_t, 32> key_in(const fs::path& file, std::string_view what) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot be initialised");
  const auto fail = [&](const std::string& why) {
    throw std::runtime_error(fmt::format("{}, {}, {}", file.string(), what, why));
  };
  if (!fs::exists(file) && !make(file)) fail("cannot be made: " + std::generic_category().message(errno));
  std::ifstream in(file);
  if (!in) fail("cannot be read: " + std::generic_category().message(errno));
  std::string digits;
  in >> digits;
  const auto bytes = from_hex(digits);
  std::array<std::uint8_t, 32> key;
  if (!bytes || bytes->size() != key.size()) fail("cannot be read as 64 hexadecimal digits");
  std::copy(bytes->begin(), bytes->end(), key.begin());
  return key;
}

}  // namespace cairn
