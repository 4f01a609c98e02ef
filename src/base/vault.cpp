#include "base/vault.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>

namespace cairn {
namespace {

constexpr std::size_t nonce_size = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_size = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t mark_size = 16;

[[noreturn]] void fail(const std::filesystem::path& file, std::string_view what) {
  throw std::runtime_error(
      fmt::format("{} {}: it holds the key of stored secrets (docs/operating.md)", file.string(), what));
}

// Written whole under another name first: a server that starts at the same time sees it whole or not at all.
void make_key(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  std::array<unsigned char, 32> random;
  randombytes_buf(random.data(), random.size());
  std::array<char, 65> hex;
  sodium_bin2hex(hex.data(), hex.size(), random.data(), random.size());
  hex.back() = '\n';
  const auto draft = fmt::format("{}.{}", file.string(), getpid());
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
  const bool written =
      fd >= 0 && write(fd, hex.data(), hex.size()) == static_cast<ssize_t>(hex.size()) && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  const bool there = written && (link(draft.c_str(), file.c_str()) == 0 || errno == EEXIST);
  unlink(draft.c_str());
  if (!there) fail(file, "cannot be written");
}

}  // namespace

Vault::Vault(const std::filesystem::path& file) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot be initialised");
  if (!std::filesystem::exists(file)) make_key(file);
  std::ifstream in(file);
  std::string hex;
  in >> hex;
  std::size_t size = 0;
  if (!in || sodium_hex2bin(key_.data(), key_.size(), hex.data(), hex.size(), nullptr, &size, nullptr) != 0 ||
      size != key_.size())
    fail(file, "cannot be read as 64 hexadecimal digits");
  static_assert(crypto_kdf_KEYBYTES == sizeof key_);
  crypto_kdf_derive_from_key(marking_key_.data(), marking_key_.size(), 1, "marking_", key_.data());
}

const Vault& Vault::in(const std::filesystem::path& data_dir) {
  static std::mutex mutex;
  static std::map<std::string, Vault> vaults;
  const std::lock_guard lock(mutex);
  const auto found = vaults.find(data_dir.native());
  return found != vaults.end() ? found->second
                               : vaults.emplace(data_dir.native(), Vault(data_dir / "secrets.key")).first->second;
}

std::vector<std::uint8_t> Vault::seal(std::span<const std::uint8_t> plain, const Uuid& whose) const {
  const auto person = whose.text();
  std::vector<std::uint8_t> sealed(nonce_size + plain.size() + tag_size);
  randombytes_buf(sealed.data(), nonce_size);
  crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data() + nonce_size, nullptr, plain.data(), plain.size(),
                                             reinterpret_cast<const unsigned char*>(person.data()), person.size(),
                                             nullptr, sealed.data(), key_.data());
  return sealed;
}

std::optional<std::vector<std::uint8_t>> Vault::open(std::span<const std::uint8_t> sealed, const Uuid& whose) const {
  if (sealed.size() < nonce_size + tag_size) return std::nullopt;
  const auto person = whose.text();
  std::vector<std::uint8_t> plain(sealed.size() - nonce_size - tag_size);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          plain.data(), nullptr, nullptr, sealed.data() + nonce_size, sealed.size() - nonce_size,
          reinterpret_cast<const unsigned char*>(person.data()), person.size(), sealed.data(), key_.data()) != 0)
    return std::nullopt;
  return plain;
}

std::string Vault::mark(std::initializer_list<std::string_view> texts) const {
  crypto_generichash_state state;
  crypto_generichash_init(&state, marking_key_.data(), marking_key_.size(), mark_size);
  for (const auto text : texts) {
    // Its length first, so that no two lists are alike.
    const std::uint64_t size = text.size();
    std::array<unsigned char, sizeof size> bytes;
    std::memcpy(bytes.data(), &size, sizeof size);
    crypto_generichash_update(&state, bytes.data(), bytes.size());
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  std::array<unsigned char, mark_size> mark;
  crypto_generichash_final(&state, mark.data(), mark.size());
  std::string hex(2 * mark.size() + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), mark.data(), mark.size());
  hex.pop_back();
  return hex;
}

}  // namespace cairn
