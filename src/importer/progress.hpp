#pragma once
#include <chrono>
#include <cstdint>
#include <ostream>

namespace cairn::importer {

// One line that is drawn over: a bar, rows done, rate and time left. Draws at most ten times a second, nothing when
// disabled; leaves the line empty at the end.
class Progress {
 public:
  Progress(std::ostream& out, bool enabled) : out_(out), enabled_(enabled) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void total(std::uint64_t rows) { total_ = rows; }
  void at(std::uint64_t rows);

 private:
  using Clock = std::chrono::steady_clock;
  std::ostream& out_;
  bool enabled_, drawn_ = false;
  std::uint64_t total_ = 0;
  Clock::time_point start_ = Clock::now(), last_{};
};

}  // namespace cairn::importer
