#include "embedded/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace cairn::embedded {
namespace {

struct Failure {
  const char* step;  // points into the program text, which parent and child share
  int error;
};

// The raw calls: the C library's wrappers synchronise with other threads, which a forked child does not have.
const char* drop_to(const User& user) noexcept {
  if (syscall(SYS_setgroups, user.groups.size(), user.groups.data()) != 0) return "setgroups";
  if (syscall(SYS_setresgid, user.gid, user.gid, user.gid) != 0) return "setresgid";
  if (syscall(SYS_setresuid, user.uid, user.uid, user.uid) != 0) return "setresuid";
  return nullptr;
}

// Between fork and exec, perhaps of a process with many threads: only async-signal-safe calls, no memory.
const char* become(const Command& command, int input, char* const* argv, char* const* environment,
                   pid_t parent) noexcept {
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &by_default, nullptr);
  umask(077);
  if (setsid() < 0) return "setsid";  // Ctrl-C in our terminal is for us alone
  if (dup2(input, 0) < 0 || dup2(command.output, 1) < 0 || dup2(1, 2) < 0) return "dup2";
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (command.lease >= 0 && fcntl(command.lease, F_SETFD, 0) < 0) return "fcntl";
  if (command.user)
    if (const char* step = drop_to(*command.user)) return step;
  if (chdir(command.directory.c_str()) != 0) return "chdir";
  // After the change of user, which clears it; and the parent may have died before it was set.
  if (prctl(PR_SET_PDEATHSIG, command.death_signal) != 0) return "prctl";
  if (getppid() != parent) _exit(1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(argv[0], argv, environment);
  return "execve";
}

// No handler of ours may run in the child before it has reset them.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Process::Process(const Command& command) {
  std::vector<char*> argv;
  for (const std::string& argument : command.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  // Nothing of our environment: PGPORT, PGDATA, LC_ALL, NOTIFY_SOCKET and their like change what the servers do.
  std::string path = "PATH=/usr/bin:/bin", locale = "LC_ALL=C.UTF-8";
  char* const environment[] = {path.data(), locale.data(), nullptr};
  const Fd input = open_file("/dev/null", O_RDONLY);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error{errno, std::generic_category(), "pipe2"};
  const Fd news{ends[0]};
  Fd report{ends[1]};
  const pid_t parent = getpid();
  {
    const SignalsBlocked blocked;
    pid_ = fork();
    if (pid_ == 0) {
      const char* step = become(command, input.get(), argv.data(), environment, parent);
      const Failure failure{step, errno};
      _exit(write(report.get(), &failure, sizeof failure) == sizeof failure ? 127 : 126);
    }
  }
  if (pid_ < 0) throw std::system_error{errno, std::generic_category(), "fork"};
  report = Fd{};
  // The header of glibc 2.36 declares pidfd_open without extern "C".
  pidfd_ = Fd{static_cast<int>(syscall(SYS_pidfd_open, pid_, 0))};
  Failure failure{};
  ssize_t got;
  while ((got = read(news.get(), &failure, sizeof failure)) < 0 && errno == EINTR) {}
  if (got == 0 && pidfd_.get() >= 0) return;
  const int error = got > 0 ? failure.error : errno;
  kill(pid_, SIGKILL);
  waitpid(std::exchange(pid_, 0), nullptr, 0);
  throw std::runtime_error{fmt::format("cannot run {}: {}: {}", command.argv.front(),
                                       got > 0 ? failure.step : "pidfd_open", std::generic_category().message(error))};
}

Process::~Process() {
  if (!pid_) return;
  signal(SIGKILL);
  wait(std::chrono::milliseconds{-1});
}

void Process::signal(int number) const noexcept {
  if (pid_) kill(pid_, number);  // not reaped yet, so the pid is still its own
}

bool Process::wait(std::chrono::milliseconds timeout) noexcept {
  if (!pid_) return true;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  pollfd waiting{pidfd_.get(), POLLIN, 0};
  int left = timeout.count() < 0 ? -1 : static_cast<int>(timeout.count());
  while (poll(&waiting, 1, left) < 0 && errno == EINTR)
    if (left > 0)
      left = std::max(
          0, static_cast<int>(
                 std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count()));
  if (!(waiting.revents & POLLIN)) return false;
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {}
  pid_ = 0;
  pidfd_ = Fd{};
  return true;
}

std::string Process::fate() const {
  return WIFSIGNALED(status_) ? fmt::format("was killed by signal {}", WTERMSIG(status_))
                              : fmt::format("exited with status {}", WEXITSTATUS(status_));
}

std::string output_of(std::vector<std::string> argv) {
  const Fd output{memfd_create("output", MFD_CLOEXEC)};
  Command command;
  command.argv = std::move(argv);
  command.output = output.get();
  Process{command}.wait(std::chrono::milliseconds{-1});
  return read_all(output);
}

std::optional<std::filesystem::path> first_unsearchable(std::span<const std::filesystem::path> paths,
                                                        const User& user) {
  pid_t pid;
  {
    const SignalsBlocked blocked;
    pid = fork();
    if (pid == 0) {
      if (drop_to(user)) _exit(0);  // the real start says why
      for (std::size_t i = 0; i < paths.size(); ++i)
        if (access(paths[i].c_str(), X_OK) != 0) _exit(static_cast<int>(std::min<std::size_t>(i + 1, 255)));
      _exit(0);
    }
  }
  if (pid < 0) throw std::system_error{errno, std::generic_category(), "fork"};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  const auto index = static_cast<std::size_t>(WEXITSTATUS(status));
  if (index == 0) return std::nullopt;
  return paths[std::min(index, paths.size()) - 1];
}

}  // namespace cairn::embedded
