#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

// A private PostgreSQL and a private Redis, run as children on unix sockets inside one data directory.
namespace cairn::embedded {

struct Options {
  Options() = default;
  std::filesystem::path data_dir;                // created when missing; its parents must be searchable by `run_as`
  std::string run_as;                            // who the children run as when we are root; empty: "postgres"
  bool durable = true;                           // false, for tests only: nothing is ever synced to disk
  std::function<void(std::string_view)> report;  // one line per restart of a child, on the supervising thread
};

// The first three are libpq conninfo strings: runtime objects belong to the owner, the server runs as the app role.
struct Endpoints {
  Endpoints() = default;
  std::string owner_url, app_url, superuser_url, redis_socket;
};

// Every method belongs to the thread that made the object, and that must be the main thread: the kernel sends the
// children their parent-death signal when the forking *thread* ends (prctl(2), PR_SET_PDEATHSIG).
// Failures are std::runtime_error; the text says what happened and what to do.
class Servers {
 public:
  explicit Servers(Options);
  ~Servers();  // stop()
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;

  // Returns when both answer and roles, database and extensions are in place; the first start also runs initdb.
  // Crash recovery may take long and is not interruptible: leave SIGINT and SIGTERM at their defaults until here, since
  // the children follow when we die.
  Endpoints start();

  // Restarts children that exit, with backoff, until `stop` returns true; throws once one does not come up any more.
  // `stop` is asked after every wake-up and drains `wake_fd` (readable: ask again); -1 for none.
  void supervise(const std::function<bool()>& stop, int wake_fd);

  // Redis first, then PostgreSQL (fast shutdown); harder signals after deadlines. Idempotent.
  void stop() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Where the servers of a data directory listen; throws when none runs there.
Endpoints endpoints(const std::filesystem::path& data_dir);

}  // namespace cairn::embedded
