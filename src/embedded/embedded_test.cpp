#include "embedded/embedded.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "embedded/process.hpp"

namespace cairn::embedded {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

struct Free {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PGresult* result) const { PQclear(result); }
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};

// The first column of the first row, "" for none; throws what the server complains about.
std::string ask(const std::string& target, const std::string& sql) {
  const std::unique_ptr<PGconn, Free> connection{PQconnectdb(target.c_str())};
  const std::unique_ptr<PGresult, Free> result{PQexec(connection.get(), sql.c_str())};
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    throw std::runtime_error{PQerrorMessage(connection.get())};
  return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
}

std::string ask_redis(const std::string& socket, const std::string& command) {
  const std::unique_ptr<redisContext, Free> context{redisConnectUnix(socket.c_str())};
  if (!context || context->err) throw std::runtime_error{"no Redis"};
  const std::unique_ptr<redisReply, Free> reply{static_cast<redisReply*>(redisCommand(context.get(), command.c_str()))};
  if (!reply) throw std::runtime_error{"Redis hung up"};
  return reply->str ? std::string{reply->str, static_cast<std::size_t>(reply->len)} : "";
}

// Polls: what it waits for is another process's doing. True if it came to pass.
bool eventually(const std::function<bool()>& fact, std::chrono::seconds patience = 30s) {
  for (const auto deadline = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < deadline;
       std::this_thread::sleep_for(5ms)) {
    try {
      if (fact()) return true;
    } catch (const std::exception&) {}
  }
  return false;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) { return error.what(); }
  return "nothing was thrown";
}

mode_t mode_of(const fs::path& path) {
  struct stat is {};
  return stat(path.c_str(), &is) == 0 ? is.st_mode & 07777 : 0;
}

// Every process that uses the directory: by its working directory, which all of both servers have there.
std::vector<pid_t> processes_in(const fs::path& data_dir) {
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator{"/proc"})
    if (fs::read_symlink(entry.path() / "cwd", error).native().starts_with(data_dir.native() + '/'))
      pids.push_back(static_cast<pid_t>(std::atoi(entry.path().filename().c_str())));
  return pids;
}

class Embedded : public ::testing::Test {
 protected:
  Embedded() {
    std::string name = "/tmp/cairn-embedded-XXXXXX";
    if (!mkdtemp(name.data())) throw std::runtime_error{"mkdtemp"};
    base_ = name;
    fs::permissions(base_, fs::perms{0755});
    options_.data_dir = base_ / "data";
    options_.durable = false;
  }
  ~Embedded() override { fs::remove_all(base_); }
  Embedded(const Embedded&) = delete;
  Embedded& operator=(const Embedded&) = delete;

  const fs::path& data() const { return options_.data_dir; }
  fs::path cluster() const { return data() / "postgres"; }
  pid_t postmaster() const {
    pid_t pid = 0;
    std::ifstream{cluster() / "postmaster.pid"} >> pid;
    return pid;
  }
  static pid_t redis_pid(const Endpoints& at) {
    const std::string info = ask_redis(at.redis_socket, "INFO server");
    return std::atoi(info.c_str() + info.find("process_id:") + 11);
  }
  std::string start_error() {
    return message_of([&] { Servers{options_}.start(); });
  }
  // Supervises on this thread while `body` runs on another.
  static void supervise_during(Servers& servers, const std::function<void()>& body) {
    const Fd wake{eventfd(0, EFD_CLOEXEC)};
    std::atomic<bool> stop = false;
    std::thread other{[&] {
      body();
      stop = true;
      eventfd_write(wake.get(), 1);
    }};
    const auto end = [&] { other.join(); };
    try {
      servers.supervise([&] { return stop.load(); }, wake.get());
    } catch (...) {
      end();
      throw;
    }
    end();
  }
  // A process that supervises until it is killed; returns when its servers answer, or at once.
  pid_t supervisor(bool wait_until_ready) const {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error{"pipe2"};
    const Fd in{ends[0]};
    Fd out{ends[1]};
    const pid_t pid = fork();
    if (pid == 0) {
      std::string news = "ready";
      const auto tell = [&] { return write(out.get(), news.data(), news.size()); };
      try {
        Servers servers{options_};
        servers.start();
        if (tell() > 0) servers.supervise([] { return false; }, -1);
      } catch (const std::exception& error) {
        news = error.what();
        static_cast<void>(tell());
      }
      _exit(1);
    }
    out = Fd{};
    if (!wait_until_ready) return pid;
    std::string news(4096, ' ');
    news.resize(static_cast<std::size_t>(std::max<ssize_t>(0, read(in.get(), news.data(), news.size()))));
    if (news != "ready") throw std::runtime_error{news};
    return pid;
  }
  static void kill_and_reap(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }

  fs::path base_;
  Options options_;
};

TEST_F(Embedded, MakesTheRolesTheDatabaseAndWhatOnlyASuperuserCan) {
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(ask(at.owner_url, "select current_user || current_database()"), "cairn_ownercairn");
  EXPECT_EQ(ask(at.app_url, "select current_user || current_database()"), "cairn_appcairn");
  EXPECT_EQ(ask(at.superuser_url, "show data_checksums"), "on");
  EXPECT_EQ(ask(at.superuser_url, "show server_encoding"), "UTF8");
  EXPECT_EQ(ask(at.superuser_url, "select pg_get_userbyid(datdba) from pg_database where datname = 'cairn'"),
            "cairn_owner");
  EXPECT_EQ(ask(at.superuser_url,
                "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb from pg_roles where "
                "rolname = 'cairn_app'"),
            "f");
  EXPECT_EQ(ask(at.app_url,
                "select concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'), "
                "current_setting('idle_in_transaction_session_timeout'))"),
            "5s 2s 10s");
  ask(at.owner_url,
      "create table mine (id uuid primary key default uuid_generate_v4()); grant select on mine to cairn_app");
  EXPECT_EQ(ask(at.app_url, "select count(*) from mine"), "0");
  EXPECT_THAT(message_of([&] { ask(at.app_url, "insert into mine default values"); }), HasSubstr("permission denied"));
  EXPECT_THAT(message_of([&] { ask(at.app_url, "create table theirs (id int)"); }), HasSubstr("permission denied"));
  ask(at.superuser_url, "create database cairn_copy");
  const std::string copy = at.superuser_url + "_copy";
  EXPECT_EQ(ask(copy,
                "select count(*) from pg_proc where proleakproof and proname in ('enum_eq', 'enum_ne', 'enum_lt', "
                "'enum_le', 'enum_gt', 'enum_ge', 'arrayoverlap', 'arraycontains')"),
            "8");
  EXPECT_EQ(ask(copy, "select count(*) from pg_extension where extname = 'uuid-ossp'"), "1");
}

TEST_F(Embedded, LogsNeitherParametersNorTheRowsThatBreakAConstraint) {
  Servers servers{options_};
  const Endpoints at = servers.start();
  ask(at.owner_url, "create table people (email text unique); insert into people values (lower('SECRET@example.org'))");
  EXPECT_THAT(message_of([&] { ask(at.owner_url, "insert into people select email from people"); }),
              HasSubstr("secret@example.org"));
  const std::string log = read_file(data() / "log/postgres.log");
  EXPECT_THAT(log, HasSubstr("duplicate key"));
  EXPECT_THAT(log, ::testing::Not(HasSubstr("secret@example.org")));
}

TEST_F(Embedded, KeepsEverythingOverARestart) {
  options_.durable = true;
  {
    Servers servers{options_};
    const Endpoints at = servers.start();
    ask(at.owner_url, "create table kept (n int); insert into kept values (7)");
    ask_redis(at.redis_socket, "SET kept 8");
  }
  EXPECT_TRUE(processes_in(data()).empty());
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(ask(at.owner_url, "select n from kept"), "7");
  EXPECT_EQ(ask_redis(at.redis_socket, "GET kept"), "8");
}

TEST_F(Embedded, PutsBackWhatARestoreForgot) {
  {
    Servers servers{options_};
    const Endpoints at = servers.start();
    ask(at.superuser_url, "alter function enum_eq not leakproof; drop extension \"uuid-ossp\"; drop role cairn_app");
  }
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(ask(at.app_url, "select proleakproof from pg_proc where proname = 'enum_eq'"), "t");
  EXPECT_EQ(ask(at.app_url, "select length(uuid_generate_v4()::text)"), "36");
  EXPECT_EQ(ask(at.app_url, "show statement_timeout"), "5s");
}

TEST_F(Embedded, RefusesASecondStartAndNamesTheFirst) {
  Servers servers{options_};
  servers.start();
  EXPECT_THAT(start_error(), HasSubstr(fmt::format("(pid {})", getpid())));
}

TEST_F(Embedded, TellsOtherCommandsWhereItListensOnlyWhileItRuns) {
  EXPECT_THAT(message_of([&] { endpoints(data()); }), HasSubstr("no Cairn runs"));
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(endpoints(data()).app_url, at.app_url);
  EXPECT_EQ(endpoints(data()).redis_socket, at.redis_socket);
  servers.stop();
  EXPECT_THAT(message_of([&] { endpoints(data()); }), HasSubstr("no Cairn runs"));
}

TEST_F(Embedded, LeavesACleanlyShutDownClusterEvenWithAnOpenSession) {
  Servers servers{options_};
  const Endpoints at = servers.start();
  const std::unique_ptr<PGconn, Free> idle{PQconnectdb((at.app_url).c_str())};
  ASSERT_EQ(PQstatus(idle.get()), CONNECTION_OK);
  const fs::path program = fs::read_symlink(fmt::format("/proc/{}/exe", postmaster()));
  servers.stop();
  EXPECT_TRUE(processes_in(data()).empty());
  EXPECT_THAT(output_of({fs::path{program}.replace_filename("pg_controldata"), cluster()}),
              ::testing::ContainsRegex("cluster state: +shut down\n"));
}

TEST_F(Embedded, HealsAKilledPostmaster) {
  std::vector<std::string> reports;
  options_.report = [&](std::string_view line) { reports.emplace_back(line); };
  Servers servers{options_};
  const Endpoints at = servers.start();
  ask(at.owner_url, "create table kept (n int); insert into kept values (7)");
  const pid_t before = postmaster();
  const std::unique_ptr<PGconn, Free> open{PQconnectdb(at.app_url.c_str())};
  supervise_during(servers, [&] {
    kill(before, SIGKILL);
    EXPECT_TRUE(eventually([&] { return postmaster() != before && ask(at.owner_url, "select n from kept") == "7"; }));
  });
  EXPECT_THAT(reports, ::testing::Contains("PostgreSQL was killed by signal 9 and is restarted"));
}

TEST_F(Embedded, HealsAKilledRedis) {
  Servers servers{options_};
  const Endpoints at = servers.start();
  const pid_t before = redis_pid(at);
  supervise_during(servers, [&] {
    kill(before, SIGKILL);
    EXPECT_TRUE(eventually([&] { return redis_pid(at) != before; }));
  });
}

TEST_F(Embedded, GivesUpOnAServerThatCannotComeBackAndShowsItsLog) {
  Servers servers{options_};
  servers.start();
  fs::rename(cluster() / "global/pg_control", cluster() / "global/pg_control.gone");
  kill(postmaster(), SIGKILL);
  const std::string message = message_of([&] { servers.supervise([] { return false; }, -1); });
  EXPECT_THAT(message, HasSubstr("while starting, 6 times in a row"));
  EXPECT_THAT(message, HasSubstr("could not find the database system"));
}

TEST_F(Embedded, LeavesNoChildBehindWhenItIsKilledAndStartsAgain) {
  const pid_t pid = supervisor(true);
  const Endpoints at = endpoints(data());
  ask(at.owner_url, "create table kept (n int); insert into kept values (7)");
  const std::unique_ptr<PGconn, Free> open{PQconnectdb(at.app_url.c_str())};
  ASSERT_GE(processes_in(data()).size(), 3U);
  kill_and_reap(pid);
  EXPECT_TRUE(eventually([&] { return processes_in(data()).empty(); }, 5s));
  Servers servers{options_};
  EXPECT_EQ(ask(servers.start().owner_url, "select n from kept"), "7");
}

TEST_F(Embedded, WaitsForTheOrphansOfAKilledRun) {
  const pid_t pid = supervisor(true);
  ask(endpoints(data()).owner_url, "create table kept as select generate_series(1, 100000) as n");
  kill_and_reap(pid);
  Servers servers{options_};
  EXPECT_EQ(ask(servers.start().owner_url, "select count(*) from kept"), "100000");
}

TEST_F(Embedded, StartsAfterEveryProcessWasKilledAtOnce) {
  for (int round = 0; round < 3; ++round) {
    const pid_t pid = supervisor(true);
    const std::string url = endpoints(data()).owner_url;
    ask(url, "create table if not exists kept (n int)");
    ask(url, fmt::format("insert into kept values ({})", round));
    kill(pid, SIGSTOP);
    for (const pid_t child : processes_in(data())) kill(child, SIGKILL);
    kill_and_reap(pid);
  }
  Servers servers{options_};
  EXPECT_EQ(ask(servers.start().owner_url, "select count(*) from kept"), "3");
}

TEST_F(Embedded, StartsAfterItWasKilledDuringTheFirstStart) {
  const pid_t pid = supervisor(false);
  EXPECT_TRUE(eventually([&] { return fs::exists(data() / "postgres.new/global"); }));
  kill_and_reap(pid);
  EXPECT_FALSE(fs::exists(cluster()));
  Servers servers{options_};
  EXPECT_EQ(ask(servers.start().app_url, "select 1"), "1");
  EXPECT_FALSE(fs::exists(data() / "postgres.new"));
}

TEST_F(Embedded, StartsThoughTheLockFilesNameALiveProcessOfTheSameUser) {
  Servers{options_}.start();
  const User user = child_user("");
  Command command;
  command.argv = {"/bin/sleep", "600"};
  if (geteuid() == 0) command.user = user;
  const Process stranger{command};
  for (const fs::path& file : {cluster() / "postmaster.pid", data() / "run/.s.PGSQL.5432.lock"}) {
    std::ofstream{file} << fmt::format("{}\n{}\n1700000000\n5432\n/tmp\n\n  5432001    65536\nready   \n",
                                       stranger.pid(), cluster().string());
    ASSERT_EQ(chown(file.c_str(), user.uid, static_cast<gid_t>(-1)), 0);
  }
  Servers servers{options_};
  EXPECT_EQ(ask(servers.start().app_url, "select 1"), "1");
}

TEST_F(Embedded, WorksInADirectoryWhosePathIsTooLongForASocket) {
  options_.data_dir = base_ / std::string(200, 'd');
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(ask(at.app_url, "select 1"), "1");
  EXPECT_EQ(ask_redis(at.redis_socket, "PING"), "PONG");
  const fs::path sockets = fs::path{at.redis_socket}.parent_path();
  EXPECT_EQ(mode_of(sockets), 0700U);
  servers.stop();
  fs::remove_all(sockets);
}

TEST_F(Embedded, WorksInADirectoryWhoseNameConnectionStringsCannotHold) {
  options_.data_dir = base_ / "with, space's \"quote\"";
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(ask(at.app_url, "select 1"), "1");
  servers.stop();
  fs::remove_all(fs::path{at.redis_socket}.parent_path());
}

TEST_F(Embedded, ListensOnNoTcpPort) {
  Servers servers{options_};
  const Endpoints at = servers.start();
  EXPECT_EQ(ask(at.superuser_url, "show listen_addresses"), "");
  // Every socket of every child, held against the kernel's list of TCP sockets.
  std::stringstream tcp;
  tcp << std::ifstream{"/proc/net/tcp"}.rdbuf() << std::ifstream{"/proc/net/tcp6"}.rdbuf();
  const std::string listed = tcp.str();
  int sockets = 0;
  for (const pid_t pid : processes_in(data()))
    for (const auto& fd : fs::directory_iterator{fmt::format("/proc/{}/fd", pid)}) {
      std::error_code error;
      const std::string target = fs::read_symlink(fd.path(), error);
      if (!target.starts_with("socket:[")) continue;
      ++sockets;
      EXPECT_EQ(listed.find(fmt::format(" {} ", target.substr(8, target.size() - 9))), std::string::npos) << target;
    }
  EXPECT_GE(sockets, 2);
}

TEST_F(Embedded, LetsNoOtherUserIn) {
  Servers servers{options_};
  const Endpoints at = servers.start();
  const fs::path sockets = fs::path{at.redis_socket}.parent_path();
  EXPECT_EQ(mode_of(sockets), 0700U);
  EXPECT_EQ(mode_of(data()) & 07, 0U);
  if (geteuid() != 0) return;  // only root can become somebody else
  Command command;
  command.user = child_user("nobody");
  const Fd output{open_file(base_ / "output", O_WRONLY | O_CREAT)};
  command.output = output.get();
  const auto succeeds = [&](const std::string& script) {
    command.argv = {"/bin/sh", "-c", script};
    Process process{command};
    process.wait(-1ms);
    return process.succeeded();
  };
  const std::string psql = fmt::format("psql '{}' -c 'select 1'", at.superuser_url);
  const std::string redis = fmt::format("redis-cli -s '{}' PING", at.redis_socket);
  EXPECT_FALSE(succeeds(psql));
  EXPECT_FALSE(succeeds(redis));
  EXPECT_TRUE(succeeds("true"));
  // Even past the directories PostgreSQL asks who it is.
  fs::permissions(data(), fs::perms{0755});
  fs::permissions(sockets, fs::perms{0755});
  fs::permissions(sockets / ".s.PGSQL.5432", fs::perms{0777});
  EXPECT_FALSE(succeeds(psql));
  EXPECT_THAT(read_file(base_ / "output"), HasSubstr("Peer authentication failed"));
  command.user = child_user("");
  EXPECT_TRUE(succeeds(psql)) << read_file(base_ / "output");
}

TEST_F(Embedded, RepairsPermissionsThatAreTooWide) {
  Servers{options_}.start();
  fs::permissions(data(), fs::perms{0755});
  fs::permissions(cluster(), fs::perms{0755});
  Servers servers{options_};
  EXPECT_EQ(ask(servers.start().app_url, "select 1"), "1");
  EXPECT_EQ(mode_of(data()), geteuid() == 0 ? 0710U : 0700U);
  EXPECT_EQ(mode_of(cluster()), 0700U);
}

TEST_F(Embedded, NamesBothVersionsWhenTheClusterIsOfAnother) {
  Servers{options_}.start();
  std::ofstream{cluster() / "PG_VERSION"} << "14\n";
  const std::string message = start_error();
  EXPECT_THAT(message, HasSubstr("written by PostgreSQL 14"));
  EXPECT_THAT(message, ::testing::ContainsRegex("and PostgreSQL 1[5-8] is installed"));
}

TEST_F(Embedded, NamesThePackageWhenAProgramIsMissing) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  const std::string message = start_error();
  setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(message, HasSubstr("apt-get install redis-server"));
}

TEST_F(Embedded, RefusesADirectoryThatHoldsSomethingElse) {
  fs::create_directories(data());
  std::ofstream{data() / "thesis.tex"} << "x";
  const mode_t before = mode_of(data());
  EXPECT_THAT(start_error(), HasSubstr("not Cairn's"));
  EXPECT_EQ(mode_of(data()), before);
}

TEST_F(Embedded, NamesTheParentThatTheChildrenCannotSearch) {
  if (geteuid() != 0) return;  // the children are ourselves
  fs::create_directories(base_ / "closed");
  fs::permissions(base_ / "closed", fs::perms{0700});
  options_.data_dir = base_ / "closed/inner/data";
  EXPECT_THAT(start_error(), HasSubstr(fmt::format("run chmod o+x {}/closed", base_.string())));
}

TEST_F(Embedded, ExplainsAFileInPlaceOfTheDirectory) {
  std::ofstream{data()} << "x";
  EXPECT_THAT(start_error(), HasSubstr("Not a directory"));
}

TEST_F(Embedded, SetsAnUnreadableRedisFileAside) {
  {
    Servers servers{options_};
    ask_redis(servers.start().redis_socket, "SET lost 1");
  }
  for (const auto& entry : fs::directory_iterator{data() / "redis/appendonlydir"})
    if (entry.path().native().ends_with(".manifest")) std::ofstream{entry.path()} << "nonsense\n";
  Servers servers{options_};
  EXPECT_EQ(ask_redis(servers.start().redis_socket, "PING"), "PONG");
  EXPECT_TRUE(fs::exists(data() / "redis/appendonlydir.broken"));
}

TEST_F(Embedded, BelongsToOneThread) {
  Servers servers{options_};
  std::string message;
  std::thread{[&] { message = message_of([&] { servers.start(); }); }}.join();
  EXPECT_THAT(message, HasSubstr("one thread"));
}

}  // namespace
}  // namespace cairn::embedded
