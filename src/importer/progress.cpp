#include "importer/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace cairn::importer {

Progress::~Progress() {
  if (drawn_) out_ << "\r\x1b[K" << std::flush;
}

void Progress::at(std::uint64_t rows) {
  const auto now = Clock::now();
  if (!enabled_ || (drawn_ && now - last_ < std::chrono::milliseconds(100))) return;
  last_ = now;
  drawn_ = true;
  constexpr std::size_t width = 30;
  const double done = total_ == 0 ? 1 : std::min(1.0, static_cast<double>(rows) / static_cast<double>(total_));
  const double seconds = std::max(std::chrono::duration<double>(now - start_).count(), 1e-3);
  const double rate = static_cast<double>(rows) / seconds;
  const auto left = rows == 0 ? 0 : static_cast<std::uint64_t>(seconds * (1 - done) / std::max(done, 1e-9));
  const auto filled = static_cast<std::size_t>(done * width);
  out_ << fmt::format("\r\x1b[K[{}{}] {:3.0f}%  {}/{} rows  {:.0f} rows/s  {}:{:02} left", std::string(filled, '='),
                      std::string(width - filled, ' '), done * 100, rows, total_, rate, left / 60, left % 60)
       << std::flush;
}

}  // namespace cairn::importer
