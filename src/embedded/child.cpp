#include "embedded/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <stdexcept>
#include <thread>
#include <utility>

namespace cairn::embedded {
namespace {

using namespace std::chrono_literals;

constexpr unsigned max_failed_starts = 6;
constexpr auto lease_patience = 30s;  // orphans disconnect their clients and write a checkpoint before they leave
constexpr off_t log_limit = 8 << 20;

[[noreturn]] void refuse_lease(const std::filesystem::path& lease) {
  throw std::runtime_error{
      fmt::format("processes of an earlier run still use {}: find them with fuser -v {}, stop them "
                  "and start again",
                  lease.parent_path().string(), lease.string())};
}

// A server that was up is restarted at once, one that does not come up after ever longer pauses.
Clock::duration backoff(unsigned failed_starts) { return failed_starts < 1 ? 0ms : 250ms * (1 << (failed_starts - 1)); }

}  // namespace

Command Site::command(std::vector<std::string> argv, std::filesystem::path directory, int output,
                      const Fd& lease) const {
  Command command;
  command.argv = std::move(argv);
  command.directory = std::move(directory);
  if (drop) command.user = user;
  command.output = output;
  command.lease = lease.get();
  return command;
}

std::string diagnosis(const std::filesystem::path& log, off_t from) {
  std::error_code error;
  const auto size = static_cast<off_t>(std::filesystem::file_size(log, error));
  std::string text = read_file(log, error ? from : std::max(from, size - 16384));
  std::size_t start = text.size();
  for (int lines = 0; start > 0 && lines < 15; ++lines) start = start < 2 ? 0 : text.rfind('\n', start - 2) + 1;
  text.erase(0, start);
  const auto says = [&](std::string_view words) { return text.find(words) != std::string::npos; };
  const std::string_view remedy = says("No space left on device")
                                      ? "\nThe disk is full: free some space and start again."
                                  : says("Read-only file system") ? "\nThe disk is read-only: mount it for writing."
                                                                  : "";
  return fmt::format("{} ends with:\n{}{}", log.string(), text, remedy);
}

Fd wait_for_lease(const std::filesystem::path& path) {
  for (const auto deadline = Clock::now() + lease_patience; Clock::now() < deadline; std::this_thread::sleep_for(5ms))
    if (auto lease = try_lock(path)) return std::move(*lease);
  refuse_lease(path);
}

Child::Child(const Site& site, Recipe recipe, std::function<void(std::string_view)> report)
    : site_{site}, recipe_{std::move(recipe)}, report_{std::move(report)} {}

void Child::advance(Clock::time_point now) {
  if (process_.pid() && process_.wait(0ms)) bury(now);
  if (state_ == State::down && now >= retry_at_) launch(now);
  if (state_ == State::starting && recipe_.answers(process_.pid())) {
    state_ = State::ready;
    failed_starts_ = 0;
    if (was_ready_ && report_) report_(fmt::format("{} runs again", recipe_.name));
    was_ready_ = true;
  }
}

Clock::time_point Child::due(Clock::time_point now) const {
  switch (state_) {
    case State::down: return retry_at_;
    case State::starting: return now + (now - launched_ < 2s ? 3ms : 50ms);
    case State::ready: break;
  }
  return Clock::time_point::max();
}

void Child::launch(Clock::time_point now) {
  const auto lease = try_lock(site_.lease(recipe_.id));
  if (!lease || recipe_.occupied()) {
    if (!blocked_since_) blocked_since_ = now;
    if (now - *blocked_since_ > lease_patience) refuse_lease(site_.lease(recipe_.id));
    retry_at_ = now + 10ms;
    return;
  }
  blocked_since_.reset();
  const auto path = site_.log(recipe_.id);
  struct stat is {};
  if (lstat(path.c_str(), &is) == 0 && is.st_size > log_limit) std::filesystem::rename(path, path.string() + ".1");
  const Fd log = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
  if (fstat(log.get(), &is) == 0) log_start_ = is.st_size;
  Command command = site_.command(recipe_.argv, site_.root / recipe_.id, log.get(), *lease);
  command.death_signal = recipe_.quit_signal;
  process_ = Process{command};
  launched_ = now;
  state_ = State::starting;
}

void Child::bury(Clock::time_point now) {
  const bool came_up = std::exchange(state_, State::down) == State::ready;
  if (!was_ready_) {
    if (recipe_.salvage()) return;
    give_up("while starting");
  }
  // One that comes up again each time still serves, however often it falls: only one that stays down is beyond hope.
  if (!came_up && ++failed_starts_ >= max_failed_starts)
    give_up(fmt::format("while starting, {} times in a row", max_failed_starts));
  retry_at_ = now + backoff(failed_starts_);
  if (report_) report_(fmt::format("{} {} and is restarted", recipe_.name, process_.fate()));
}

void Child::give_up(std::string_view what) const {
  throw std::runtime_error{
      fmt::format("{} {} {}; {}", recipe_.name, process_.fate(), what, diagnosis(site_.log(recipe_.id), log_start_))};
}

void Child::stop(std::chrono::seconds patience) noexcept {
  state_ = State::down;
  process_.signal(recipe_.quit_signal);
  if (process_.wait(patience)) return;
  process_.signal(recipe_.abort_signal);
  if (process_.wait(5s)) return;
  process_.signal(SIGKILL);
  process_.wait(-1ms);
}

}  // namespace cairn::embedded
