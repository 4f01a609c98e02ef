#include "base/vault.hpp"

#include <sodium.h>

#include <cstring>
#include <map>
#include <mutex>

#include "base/hash.hpp"
#include "base/key_file.hpp"

namespace cairn {
namespace {

constexpr std::size_t nonce_size = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_size = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t mark_size = 16;

}  // namespace

Vault::Vault(const std::filesystem::path& file) : key_(key_in(file, "the key of stored secrets (docs/operating.md)")) {
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
  std::array<std::uint8_t, mark_size> mark;
  crypto_generichash_final(&state, mark.data(), mark.size());
  return hex(mark);
}

}  // namespace cairn
