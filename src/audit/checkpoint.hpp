#pragma once
// Proof that the record is what it was: see db/migrations/0026_checkpoints.sql and docs/adr/0010.
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/registry.hpp"
#include "base/async.hpp"
#include "pg/pool.hpp"

namespace cairn::audit {

using PublicKey = std::array<std::uint8_t, 32>;
std::optional<PublicKey> parse_key(std::string_view hex);

// The server's Ed25519 key. It is in no database: whoever can rewrite the record cannot sign what they made of it.
class SigningKey {
 public:
  // From the file, which is made, for its owner's eyes only, when there is none. Throws std::runtime_error.
  static SigningKey open(const std::filesystem::path& file);
  static std::filesystem::path file_in(const std::filesystem::path& data_dir) { return data_dir / "checkpoint.key"; }

  const PublicKey& public_key() const { return public_key_; }
  std::string sign(std::string_view text) const;  // 64 bytes

 private:
  SigningKey() = default;
  std::array<std::uint8_t, 64> secret_{};
  PublicKey public_key_{};
};

// Signs what has come to the record since the last checkpoint, if anything has. Throws when that takes longer.
async<> seal(pg::Pool& database, const SigningKey& key, std::chrono::seconds patience);

// The list of checkpoints for administrators of the server.
void mount_checkpoints(api::Api& api);

// The following are blocking, as the database's owner.

// One checkpoint a line, as JSON.
std::string export_checkpoints(const std::string& owner_conninfo);

struct Verification {
  Verification() = default;
  std::int64_t entries = 0, covered = 0, redacted = 0, checkpoints = 0;
  std::string last_made_at;           // empty: there is no checkpoint
  std::vector<std::string> problems;  // at most a thousand
};
// Compares the record with the tables, with itself and with its checkpoints, whose keys must be among `trusted`, and
// these with those of an export, if there is one.
Verification verify(const std::string& owner_conninfo, const std::vector<PublicKey>& trusted,
                    const std::optional<std::string>& exported = {});

}  // namespace cairn::audit
