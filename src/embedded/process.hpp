#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "embedded/os.hpp"

namespace cairn::embedded {

struct Command {
  Command() = default;
  std::vector<std::string> argv;  // argv[0] is an absolute path
  std::filesystem::path directory = "/";
  std::optional<User> user;  // drop to; none: stay ourselves
  int output = 2;            // descriptor for stdout and stderr
  int lease = -1;            // a descriptor that the program and all its children keep open
  int death_signal = 9;      // sent by the kernel when the thread that spawned it ends
};

// A child process, killed and reaped by the destructor if need be.
class Process {
 public:
  Process() = default;
  explicit Process(const Command&);  // returns once exec succeeded, throws when it did not
  Process(Process&& other) noexcept
      : pid_{std::exchange(other.pid_, 0)}, status_{other.status_}, pidfd_{std::move(other.pidfd_)} {}
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(status_, other.status_);
    std::swap(pidfd_, other.pidfd_);
    return *this;
  }
  ~Process();

  pid_t pid() const { return pid_; }          // 0: not running
  int pidfd() const { return pidfd_.get(); }  // readable when it has exited; -1 when not running
  void signal(int number) const noexcept;
  bool wait(std::chrono::milliseconds timeout) noexcept;  // true: it has exited; negative: for ever
  bool succeeded() const { return status_ == 0; }
  std::string fate() const;  // after the exit, for people: "exited with status 1", "was killed by signal 9"

 private:
  pid_t pid_ = 0;
  int status_ = 0;
  Fd pidfd_;
};

// Runs to the end as ourselves; what it wrote to stdout and stderr.
std::string output_of(std::vector<std::string> argv);

// The first of the paths which the user may not search; none if all may.
std::optional<std::filesystem::path> first_unsearchable(std::span<const std::filesystem::path>, const User&);

}  // namespace cairn::embedded
