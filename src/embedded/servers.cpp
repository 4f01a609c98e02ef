#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "embedded/embedded.hpp"
#include "embedded/postgres.hpp"
#include "embedded/redis.hpp"

namespace cairn::embedded {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::uintmax_t space_first = 128 << 20, space_later = 32 << 20;  // a new cluster and its first WAL take 60 MB

// A socket's path has at most 107 bytes, of which PostgreSQL's file name takes 14; and the directory becomes part of
// lists and connection strings with their own syntax.
bool holds_sockets(const fs::path& directory) {
  return directory.native().size() <= 93 && std::ranges::all_of(directory.native(), [](unsigned char c) {
           return std::isalnum(c) || c == '/' || c == '.' || c == '_' || c == '-' || c == '+';
         });
}

// FNV-1a: only has to keep data directories apart, here as for the next release.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return value;
}

fs::path socket_directory(const fs::path& root, bool drop) {
  if (holds_sockets(root / "run")) return root / "run";
  const std::string name = fmt::format("cairn-{:016x}", hash(root.native()));
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (!drop && runtime && fs::path{runtime}.is_absolute() && fs::is_directory(runtime) &&
      holds_sockets(fs::path{runtime} / name))
    return fs::path{runtime} / name;
  return fs::path{"/tmp"} / name;
}

bool is_foreign(const fs::path& root) {
  if (fs::exists(root / "lock")) return false;
  return std::ranges::any_of(fs::directory_iterator{root},
                             [](const auto& entry) { return entry.path().filename() != "lost+found"; });
}

void require_search(const fs::path& root, const User& user) {
  std::vector<fs::path> ancestors;
  fs::path path;
  for (const fs::path& part : root) ancestors.push_back(path /= part);
  if (const auto closed = first_unsearchable(ancestors, user))
    throw std::runtime_error{
        fmt::format("{0} is closed to the user {1}, who runs PostgreSQL and Redis: choose a data "
                    "directory elsewhere (--data-dir /var/lib/cairn), or run chmod o+x {0}",
                    closed->string(), user.name)};
}

void require_space(const fs::path& root, std::uintmax_t needed) {
  if (const auto free = fs::space(root).available; free < needed)
    throw std::runtime_error{
        fmt::format("the disk that holds {} is full: {} MB are free and {} MB are needed; free some "
                    "space and start again",
                    root.string(), free >> 20, needed >> 20)};
}

Site prepare(const Options& options, const fs::path& root) {
  Site site;
  site.root = root;
  site.user = child_user(options.run_as);
  site.drop = site.user.uid != geteuid();
  site.durable = options.durable;
  site.sockets = socket_directory(root, site.drop);
  site.peers = {site.user.name};
  if (site.drop) site.peers.push_back(user_name(geteuid()));
  // What the children must not change stays ours; the group may pass through to what is theirs.
  ensure_directory(root, geteuid(), site.user.gid, site.drop ? 0710 : 0700);
  ensure_directory(root / "log", geteuid(), getegid(), 0700);
  ensure_directory(root / "redis", site.user.uid, site.user.gid, 0700);
  ensure_directory(site.sockets, site.user.uid, site.user.gid, 0700);
  if (site.drop) require_search(root, site.user);
  require_space(root, fs::exists(root / "postgres") ? space_later : space_first);
  return site;
}

// The lock file holds the pid and, once the servers answer, the sockets' directory.
struct Holder {
  explicit Holder(const fs::path& root) {
    const std::string text = read_file(root / "lock");
    const auto end = text.find('\n');
    pid = text.substr(0, end);
    if (end != std::string::npos) sockets = text.substr(end + 1, text.find('\n', end + 1) - end - 1);
  }
  std::string pid, sockets;
};

Endpoints endpoints_at(const fs::path& sockets) {
  Endpoints at;
  at.owner_url = conninfo(sockets, "cairn_owner");
  at.app_url = conninfo(sockets, "cairn_app");
  at.superuser_url = conninfo(sockets, "cairn_super");
  at.redis_socket = sockets / "redis.sock";
  return at;
}

}  // namespace

class Servers::Impl {
 public:
  explicit Impl(Options options) : options_{std::move(options)} {}

  Endpoints start() {
    check_thread();
    if (lock_) throw std::logic_error{"the servers were started before"};
    try {
      return try_start();
    } catch (const fs::filesystem_error& error) { fail("use", error.path1(), error.code().value()); }
  }

  void supervise(const std::function<bool()>& stop, int wake_fd) {
    check_thread();
    if (!postgres_) throw std::logic_error{"the servers were not started"};
    attend(stop, wake_fd);
  }

  void stop() noexcept {
    if (redis_) redis_->stop(10s);
    if (postgres_) postgres_->stop(40s);
    redis_.reset();
    postgres_.reset();
    if (lock_) sign_off();
    lock_.reset();
  }

 private:
  Endpoints try_start() {
    const fs::path root = fs::weakly_canonical(fs::absolute(options_.data_dir));
    fs::create_directories(root);
    if (is_foreign(root))
      throw std::runtime_error{
          fmt::format("{} holds files that are not Cairn's: choose an empty or new data directory "
                      "(--data-dir)",
                      root.string())};
    lock_ = try_lock(root / "lock");
    if (!lock_)
      throw std::runtime_error{
          fmt::format("Cairn already runs with the data directory {} (pid {}): stop it first, or "
                      "choose another data directory (--data-dir)",
                      root.string(), Holder{root}.pid)};
    sign(root / "lock", "");
    site_ = prepare(options_, root);
    Recipe postgres = postgres_recipe(site_);
    Recipe redis = redis_recipe(site_);
    ensure_cluster(site_, postgres);
    postgres_.emplace(site_, std::move(postgres), options_.report);
    redis_.emplace(site_, std::move(redis), options_.report);
    attend([this] { return postgres_->ready() && redis_->ready(); }, -1);
    bootstrap(site_);
    sign(root / "lock", site_.sockets.native() + '\n');
    return endpoints_at(site_.sockets);
  }

  void attend(const std::function<bool()>& done, int wake_fd) {
    for (;;) {
      auto now = Clock::now();
      auto due = Clock::time_point::max();
      for (Child* child : {&*postgres_, &*redis_}) {
        child->advance(now);
        due = std::min(due, child->due(now));
      }
      if (done()) return;
      now = Clock::now();
      const auto pause = due == Clock::time_point::max()
                             ? -1ms
                             : std::max(0ms, std::chrono::ceil<std::chrono::milliseconds>(due - now));
      std::array<pollfd, 3> events{
          {{postgres_->pidfd(), POLLIN, 0}, {redis_->pidfd(), POLLIN, 0}, {wake_fd, POLLIN, 0}}};
      poll(events.data(), events.size(), static_cast<int>(pause.count()));  // an interrupted one is a wake-up, too
    }
  }

  void sign(const fs::path& path, const std::string& rest) const {
    const std::string text = fmt::format("{}\n{}", getpid(), rest);
    if (ftruncate(lock_->get(), 0) != 0 ||
        std::cmp_not_equal(pwrite(lock_->get(), text.data(), text.size(), 0), text.size()))
      fail("write", path, errno);
  }

  void sign_off() const noexcept {
    // A name that stays is harmless: without the lock nobody believes it.
    [[maybe_unused]] const int rc = ftruncate(lock_->get(), 0);
  }

  void check_thread() const {
    if (std::this_thread::get_id() != thread_) throw std::logic_error{"embedded::Servers belongs to one thread"};
  }

  Options options_;
  std::thread::id thread_ = std::this_thread::get_id();
  std::optional<Fd> lock_;
  Site site_;
  std::optional<Child> postgres_, redis_;
};

Servers::Servers(Options options) : impl_{std::make_unique<Impl>(std::move(options))} {}
Servers::~Servers() { stop(); }
Endpoints Servers::start() { return impl_->start(); }
void Servers::supervise(const std::function<bool()>& stop, int wake_fd) { impl_->supervise(stop, wake_fd); }
void Servers::stop() noexcept { impl_->stop(); }

Endpoints endpoints(const fs::path& data_dir) {
  const fs::path root = fs::weakly_canonical(fs::absolute(data_dir));
  if (!is_locked(root / "lock"))
    throw std::runtime_error{
        fmt::format("no Cairn runs with the data directory {}: start it with cairn serve, or name "
                    "its data directory (--data-dir)",
                    root.string())};
  const Holder holder{root};
  if (holder.sockets.empty())
    throw std::runtime_error{fmt::format("Cairn (pid {}) is still starting: try again in a moment", holder.pid)};
  return endpoints_at(holder.sockets);
}

}  // namespace cairn::embedded
