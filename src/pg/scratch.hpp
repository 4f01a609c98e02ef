#pragma once
// For this folder's tests only: a PostgreSQL of their own, and event loops to run coroutines in.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "pg/pool.hpp"
#include "pg/result.hpp"

namespace cairn::pg::scratch {

using namespace std::chrono_literals;

// One server per test program, on a unix socket in a directory that goes with it.
class Server {
 public:
  static Server& instance() {
    static Server server;
    return server;
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // As the superuser, as the owner of the schema, or as the runtime role.
  std::string superuser(const std::string& database = "scratch") const { return url("postgres", database); }
  std::string owner(const std::string& database = "scratch") const { return url("cairn_owner", database); }
  std::string app(const std::string& database = "scratch") const { return url("cairn_app", database); }

  // A new, empty database of the owner's.
  std::string make_database() {
    static std::atomic<int> count = 0;
    const auto name = "scratch_" + std::to_string(++count);
    execute(superuser("postgres"), "create database " + name + " owner cairn_owner");
    return name;
  }

  // The first value of the last statement, as text; throws the server's message.
  static std::string execute(const std::string& url, const std::string& sql) {
    const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectdb(url.c_str()), PQfinish);
    PQsetNoticeProcessor(
        connection.get(), [](void*, const char*) {}, nullptr);
    const Result result(PQexec(connection.get(), sql.c_str()));
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      throw std::runtime_error(PQerrorMessage(connection.get()));
    return result.rows() == 0 ? std::string() : std::string(result.field(0, 0).bytes());
  }

 private:
  Server() {
    if (::mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("mkdtemp");
    if (::geteuid() == 0) {
      const auto* user = ::getpwnam("postgres");  // PostgreSQL refuses to run as root
      if (user == nullptr) throw std::runtime_error("no OS user postgres");
      uid_ = user->pw_uid;
      gid_ = user->pw_gid;
      if (::chown(directory_.c_str(), uid_, gid_) != 0) throw std::runtime_error("chown");
    }
    const auto init = spawn({"initdb", "-D", directory_ + "/data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
                             "--locale=C.UTF-8", "--no-sync"});
    int status = 0;
    ::waitpid(init, &status, 0);
    if (status != 0) throw std::runtime_error("initdb failed");
    server_ = spawn({"postgres", "-D", directory_ + "/data", "-c", "listen_addresses=", "-c", "fsync=off", "-c",
                     "unix_socket_directories=" + directory_, "-c", "max_connections=60"});
    while (PQping(superuser("postgres").c_str()) != PQPING_OK) {
      if (::waitpid(server_, &status, WNOHANG) != 0) throw std::runtime_error("postgres ended");
      ::usleep(5000);
    }
    execute(superuser("postgres"), "create role cairn_owner login createrole");
    execute(superuser("postgres"), "create role cairn_app login");
    execute(superuser("postgres"), "create database scratch owner cairn_owner");
  }
  ~Server() {
    ::kill(server_, SIGQUIT);
    ::waitpid(server_, nullptr, 0);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::string url(const std::string& user, const std::string& database) const {
    return "host=" + directory_ + " user=" + user + " dbname=" + database;
  }

  pid_t spawn(std::vector<std::string> arguments) const {
    const std::string installed = "/usr/lib/postgresql/15/bin/" + arguments.front();
    // By its whole path: initdb looks for postgres beside where it was found, and is on nobody's PATH.
    if (::access(installed.c_str(), X_OK) == 0) arguments.front() = installed;
    std::vector<char*> pointers;
    for (auto& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const auto child = ::fork();
    if (child != 0) return child;
    if (uid_ != 0 && (::setgroups(1, &gid_) != 0 || ::setgid(gid_) != 0 || ::setuid(uid_) != 0)) ::_exit(126);
    ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    const int null = ::open("/dev/null", O_RDWR);
    for (const int stream : {0, 1, 2}) ::dup2(null, stream);
    ::execvp(pointers.front(), pointers.data());
    ::_exit(127);
  }

  std::string directory_ = "/tmp/cairn-pg-XXXXXX";
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  pid_t server_ = -1;
};

// Runs a coroutine to its end on a loop of its own; throws what it throws. A coroutine that never ends fails the test.
template<class Body>
void run(boost::asio::io_context& io, Body body) {
  std::exception_ptr failure;
  bool ended = false;
  boost::asio::co_spawn(io, body(), [&](std::exception_ptr error) {
    failure = error;
    ended = true;
    io.stop();
  });
  io.run_for(60s);
  io.restart();
  if (failure) std::rethrow_exception(failure);
  if (!ended) throw std::runtime_error("the coroutine does not end");
}

// Runs a coroutine beside the caller until `signal` cancels it.
inline void spawn(boost::asio::io_context& io, boost::asio::cancellation_signal& signal, async<> coroutine) {
  boost::asio::co_spawn(io, std::move(coroutine),
                        boost::asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
}

inline Settings settings(unsigned reads = 1, unsigned writes = 1) {
  Settings settings;
  settings.conninfo = Server::instance().app();
  settings.read_connections = reads;
  settings.commit_connections = 1;
  settings.write_connections = writes;
  return settings;
}

// A started pool and a coroutine that uses it.
template<class Body>
void with_pool(Settings settings, Body body) {
  boost::asio::io_context io(1);
  Pool pool(io, std::move(settings));
  const auto whole = [&]() -> async<> {
    co_await pool.start();
    co_await body(pool);
  };
  run(io, whole);
}

// What the awaited operation ends with; a Problem of kind `internal` and code "none" when it does not fail.
template<class T>
async<Problem> problem_of(async<T> operation) {
  Problem caught(Kind::internal, "none", "");
  try {
    co_await std::move(operation);
  } catch (const Problem& problem) { caught = problem; }
  co_return caught;
}

inline async<> pause(std::chrono::milliseconds time) {
  boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>,
                                    Executor>
      timer(co_await boost::asio::this_coro::executor, time);
  co_await timer.async_wait(awaiting);
}

}  // namespace cairn::pg::scratch
