#pragma once
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <optional>
#include <string>

#include "base/async.hpp"
#include "base/text.hpp"

namespace cairn {

// Argon2id (RFC 9106, by libsodium) on threads of its own behind a bounded queue: a flood of logins must slow logins,
// not the event loops. Safe from any thread; every coroutine continues on the executor it was called from.
class Hasher {
 public:
  struct Settings {
    std::size_t memory_bytes = 19'456UL * 1024;
    unsigned iterations = 2;
    unsigned queue = 32;  // hashes waiting or running; more are refused with Problem (unavailable)
  };
  explicit Hasher(Settings settings);
  ~Hasher();

  // A PHC string of 97 characters.
  async<std::string> hash(Secret password);
  struct Verdict {
    bool right = false;
    bool outdated = false;  // made with weaker parameters than ours: hash again
  };
  // Against nullopt or an unusable hash it costs the same and is never right, so that nobody learns which accounts
  // exist.
  async<Verdict> verify(Secret password, std::optional<std::string> hash);

 private:
  template<class Work>
  auto in_pool(Work work) -> async<std::invoke_result_t<Work&>>;

  Settings settings_;
  std::string decoy_;
  std::atomic<unsigned> waiting_{0};
  boost::asio::thread_pool pool_{1};
};

}  // namespace cairn
