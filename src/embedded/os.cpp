#include "embedded/os.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace cairn::embedded {
namespace {

std::string_view remedy(int error) {
  switch (error) {
    case EROFS: return "choose a data directory on a writable file system (--data-dir)";
    case ENOSPC:
    case EDQUOT: return "free some disk space and start again";
    case EACCES:
    case EPERM: return "start Cairn as the user who owns it, or choose another data directory (--data-dir)";
    default: return "choose another data directory (--data-dir) if this cannot be mended";
  }
}

int set_lock(int fd, int command, struct flock& lock) {
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, command, &lock);
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

void fail(std::string_view action, const std::filesystem::path& path, int error) {
  throw std::runtime_error{fmt::format("cannot {} {}: {}; {}", action, path.string(),
                                       std::generic_category().message(error), remedy(error))};
}

Fd open_file(const std::filesystem::path& path, int flags, mode_t mode) {
  Fd fd{open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode)};
  if (fd.get() < 0) fail("open", path, errno);
  return fd;
}

std::string read_all(const Fd& fd, off_t from) {
  std::string text;
  std::array<char, 4096> chunk;
  for (ssize_t got; (got = pread(fd.get(), chunk.data(), chunk.size(), from)) > 0; from += got)
    text.append(chunk.data(), static_cast<std::size_t>(got));
  return text;
}

std::string read_file(const std::filesystem::path& path, off_t from) {
  return read_all(Fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)}, from);
}

void write_file(const std::filesystem::path& path, std::string_view text, gid_t group, mode_t mode) {
  const Fd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (fchown(fd.get(), static_cast<uid_t>(-1), group) != 0 || fchmod(fd.get(), mode) != 0) fail("protect", path, errno);
  if (const auto put = write(fd.get(), text.data(), text.size()); std::cmp_not_equal(put, text.size()))
    fail("write", path, put < 0 ? errno : ENOSPC);
}

std::optional<Fd> try_lock(const std::filesystem::path& path) {
  Fd fd = open_file(path, O_RDWR | O_CREAT);
  struct flock lock {};
  if (set_lock(fd.get(), F_OFD_SETLK, lock) == 0) return fd;
  if (errno != EAGAIN && errno != EACCES) fail("lock", path, errno);
  return std::nullopt;
}

bool is_locked(const std::filesystem::path& path) {
  const Fd fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (fd.get() < 0 && errno == ENOENT) return false;
  struct flock lock {};
  if (fd.get() < 0 || set_lock(fd.get(), F_OFD_GETLK, lock) != 0) fail("look at", path, errno);
  return lock.l_type != F_UNLCK;
}

void ensure_directory(const std::filesystem::path& path, uid_t owner, gid_t group, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) fail("create", path, errno);
  // By descriptor: nobody swaps it for a link between the look and the change.
  const Fd directory = open_file(path, O_RDONLY | O_DIRECTORY);
  struct stat is {};
  if (fstat(directory.get(), &is) != 0) fail("look at", path, errno);
  // Root may take any for itself; what it gives away is new, or begun by a start that was killed.
  const bool ours = is.st_uid == owner || (geteuid() == 0 && owner == 0) ||
                    (is.st_uid == geteuid() && std::filesystem::is_empty(path));
  if (!ours)
    throw std::runtime_error{fmt::format("{0} belongs to user id {1}, not to {2}: run chown -R {2} {0}", path.string(),
                                         is.st_uid, user_name(owner))};
  if ((is.st_uid != owner || is.st_gid != group) && fchown(directory.get(), owner, group) != 0)
    fail("change the owner of", path, errno);
  if ((is.st_mode & 07777) != mode && fchmod(directory.get(), mode) != 0) fail("change the mode of", path, errno);
}

std::string user_name(uid_t uid) {
  if (const passwd* entry = getpwuid(uid)) return entry->pw_name;
  throw std::runtime_error{fmt::format(
      "user id {0} has no name, which PostgreSQL needs: run echo 'cairn:x:{0}:0::/:/bin/false' >> /etc/passwd", uid)};
}

User child_user(const std::string& run_as) {
  const bool root = geteuid() == 0;
  const std::string name = !run_as.empty() ? run_as : root ? "postgres" : user_name(geteuid());
  const passwd* entry = getpwnam(name.c_str());
  if (!entry)
    throw std::runtime_error{
        fmt::format("there is no user {0} to run PostgreSQL and Redis as: install postgresql-15, or run "
                    "useradd --system {0}, or name another user (--run-as)",
                    name)};
  if (!root && entry->pw_uid != geteuid())
    throw std::runtime_error{fmt::format("only root can run PostgreSQL and Redis as {}: leave --run-as out", name)};
  if (entry->pw_uid == 0) throw std::runtime_error{"PostgreSQL refuses to run as root: name another user (--run-as)"};
  User user;
  user.name = name;
  user.uid = entry->pw_uid;
  user.gid = root ? entry->pw_gid : getegid();
  int count = 0;
  getgrouplist(name.c_str(), user.gid, nullptr, &count);
  user.groups.resize(static_cast<std::size_t>(count));
  getgrouplist(name.c_str(), user.gid, user.groups.data(), &count);
  return user;
}

std::uintmax_t memory_bytes() {
  const auto machine =
      static_cast<std::uintmax_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uintmax_t>(sysconf(_SC_PAGESIZE));
  const std::string limit = read_file("/sys/fs/cgroup/memory.max");  // "max" where there is none
  std::uintmax_t group = machine;
  std::from_chars(limit.data(), limit.data() + limit.size(), group);
  return std::min(machine, group);
}

std::optional<std::filesystem::path> find_in_path(std::string_view program) {
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path ? path : "/usr/bin:/bin"; !rest.empty();) {
    const auto end = std::min(rest.find(':'), rest.size());
    std::filesystem::path file = std::filesystem::path{rest.substr(0, end)} / program;
    if (file.is_absolute() && access(file.c_str(), X_OK) == 0) return file;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

}  // namespace cairn::embedded
