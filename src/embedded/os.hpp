#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The little of Linux that the supervisor needs. Failures are std::runtime_error with a remedy in the text.
namespace cairn::embedded {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_{fd} {}
  Fd(Fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// The OS user that children run as.
struct User {
  User() = default;
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

[[noreturn]] void fail(std::string_view action, const std::filesystem::path&, int error);

// O_CLOEXEC and O_NOFOLLOW are always on.
Fd open_file(const std::filesystem::path&, int flags, mode_t mode = 0600);
std::string read_all(const Fd&, off_t from = 0);
std::string read_file(const std::filesystem::path&, off_t from = 0);  // empty when it cannot be read
void write_file(const std::filesystem::path&, std::string_view text, gid_t group, mode_t mode);

// Open-file-description locks (fcntl(2)): they die with the last process that holds the descriptor, and can be asked
// about without taking them.
std::optional<Fd> try_lock(const std::filesystem::path&);
bool is_locked(const std::filesystem::path&);

// Creates or repairs: afterwards a real directory with exactly this owner and mode. Refuses a stranger's.
void ensure_directory(const std::filesystem::path&, uid_t owner, gid_t group, mode_t mode);

std::string user_name(uid_t);                // throws when the uid has no name
User child_user(const std::string& run_as);  // see Options::run_as
std::uintmax_t memory_bytes();               // of the machine or of our control group, whichever is less
std::optional<std::filesystem::path> find_in_path(std::string_view program);

}  // namespace cairn::embedded
