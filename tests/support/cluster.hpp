#pragma once
#include <signal.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "audit/checkpoint.hpp"
#include "embedded/embedded.hpp"
#include "embedded/process.hpp"
#include "support/stack.hpp"

namespace cairn::support {

// The real program, twice, over one PostgreSQL and one Redis: processes that can be killed and frozen one by one. The
// nodes belong to the story's thread; ports and lives may be asked by any.
class Cluster {
 public:
  // Tells the story on a thread of its own, while this one, which must be the main thread, restarts PostgreSQL and
  // Redis whenever they end. What the story throws is thrown here.
  static void run(const std::function<void(Cluster&)>& story);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  static constexpr unsigned nodes = 2;
  std::uint16_t port(unsigned node) const { return nodes_[node].port; }
  // How often it was started: connections to an earlier life are of no use.
  unsigned life(unsigned node) const { return nodes_[node].life; }
  // Starts it and returns when it answers. A node that was not ended by us fails the test.
  void start(unsigned node);
  void kill(unsigned node);
  // Asks it to stop, which must succeed.
  void stop(unsigned node);
  void freeze(unsigned node) const { nodes_[node].process.signal(SIGSTOP); }
  void thaw(unsigned node) const { nodes_[node].process.signal(SIGCONT); }
  void expect_alive(unsigned node);
  // The ends of logs, for when something went wrong.
  std::string log(unsigned node) const;
  std::string postgres_log() const;

  // Each returns when it has happened; what was killed comes back by itself.
  void kill_postgres(bool one_connection_only);
  void kill_redis();
  // Frozen as a whole.
  std::vector<pid_t> freeze_postgres() const;
  std::vector<pid_t> freeze_redis() const;
  static void thaw(const std::vector<pid_t>& processes);

  // Waits for PostgreSQL when it is not there.
  Database database() const;
  const embedded::Endpoints& endpoints() const { return endpoints_; }
  const Contract& contract() const { return contract_; }
  std::vector<audit::PublicKey> keys() const;

 private:
  struct Node {
    Node() = default;
    std::uint16_t port = 0;
    std::atomic<unsigned> life{0};
    std::filesystem::path directory;
    embedded::Process process;
  };

  Cluster(std::filesystem::path directory, embedded::Endpoints endpoints);
  std::vector<pid_t> postgres() const;  // the first is the postmaster
  pid_t redis() const;

  std::filesystem::path directory_;
  embedded::Endpoints endpoints_;
  Contract contract_;
  std::array<Node, nodes> nodes_;
};

}  // namespace cairn::support
