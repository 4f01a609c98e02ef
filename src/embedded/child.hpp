#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "embedded/process.hpp"

namespace cairn::embedded {

using Clock = std::chrono::steady_clock;

// Where one data directory keeps its parts, and who may touch them.
struct Site {
  Site() = default;
  std::filesystem::path root, sockets;
  User user;          // of the children; root's own files stay out of its reach
  bool drop = false;  // we are root: the children change to `user`
  bool durable = true;
  std::vector<std::string> peers;  // the OS users who may connect

  std::filesystem::path log(std::string_view name) const { return root / "log" / (std::string{name} + ".log"); }
  // Held by a server and all its processes: whoever gets it knows that none of an earlier run is left.
  std::filesystem::path lease(std::string_view name) const { return root / ("lock." + std::string{name}); }
  Command command(std::vector<std::string> argv, std::filesystem::path directory, int output, const Fd& lease) const;
};

// How one kind of server is run.
struct Recipe {
  Recipe() = default;
  std::string name;  // for people
  std::string id;    // of its directory, log and lease
  std::vector<std::string> argv;
  int quit_signal = 0;                 // asks for a clean exit; also sent when we die
  int abort_signal = 0;                // when that takes too long
  std::function<bool()> occupied;      // a server that is not ours uses the directory
  std::function<bool(pid_t)> answers;  // the server accepts work
  std::function<bool()> salvage;       // after a failed first start: true if another try makes sense
};

// One server through all its restarts. Bounded: six starts in a row that come to nothing
// end it with an exception.
class Child {
 public:
  Child(const Site& site, Recipe recipe, std::function<void(std::string_view)> report);

  // Takes every step that is due: reaps, launches, looks whether it answers. Throws when it is beyond hope.
  void advance(Clock::time_point now);
  bool ready() const { return state_ == State::ready; }
  int pidfd() const { return process_.pidfd(); }
  // When advance() has something to do even if the pidfd stays silent.
  Clock::time_point due(Clock::time_point now) const;
  void stop(std::chrono::seconds patience) noexcept;

 private:
  enum class State { down, starting, ready };
  void launch(Clock::time_point now);
  void bury(Clock::time_point now);
  [[noreturn]] void give_up(std::string_view what) const;

  const Site& site_;
  Recipe recipe_;
  std::function<void(std::string_view)> report_;
  State state_ = State::down;
  Process process_;
  off_t log_start_ = 0;
  bool was_ready_ = false;
  Clock::time_point launched_{}, retry_at_{};
  std::optional<Clock::time_point> blocked_since_;
  unsigned failed_starts_ = 0;  // in a row
};

// The last lines a server wrote since `from`, with what to do about the best known causes.
std::string diagnosis(const std::filesystem::path& log, off_t from);

// Waits for processes of an earlier run to leave.
Fd wait_for_lease(const std::filesystem::path&);

}  // namespace cairn::embedded
