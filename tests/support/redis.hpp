#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "embedded/process.hpp"

namespace cairn::support {

// Where keys are not the specification's: each must match one of its nine patterns, and live for as long as that says
// and no longer. Empty when all is well.
std::vector<std::string> redis_key_problems();
std::vector<std::string> redis_key_problems(const std::string& socket);

// A Redis of one's own, to be ill-treated. Belongs to the main thread.
class OwnRedis {
 public:
  OwnRedis();
  ~OwnRedis();
  OwnRedis(const OwnRedis&) = delete;
  OwnRedis& operator=(const OwnRedis&) = delete;

  const std::string& socket() const { return socket_; }
  void freeze() const;
  void thaw() const;
  // Takes a snapshot, for a later return to it.
  void snapshot();
  // Killed, and there again with what the snapshot holds.
  void crash_and_return();

 private:
  void start();

  std::filesystem::path directory_;
  std::string socket_;
  embedded::Process process_;
};

}  // namespace cairn::support
