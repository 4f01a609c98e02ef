#include "embedded/postgres.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <memory>
#include <stdexcept>

namespace cairn::embedded {
namespace {

namespace fs = std::filesystem;

constexpr std::array supported = {15, 16, 17, 18};  // the schema needs 15
constexpr std::string_view superuser = "cairn_super";

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

int number(std::string_view text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "postgres (PostgreSQL) 15.20 (Debian …)"
int major_of(const fs::path& postgres) {
  const std::string version = output_of({postgres, "-V"});
  const auto name = version.find("(PostgreSQL) ");
  return name == std::string::npos ? 0 : number(std::string_view{version}.substr(name + 13));
}

// Debian keeps the programs of every major version in a directory of its own, which is not in PATH.
fs::path find_postgres(int wanted) {
  std::vector<fs::path> candidates;
  if (auto file = find_in_path("postgres")) candidates.push_back(fs::canonical(*file));
  for (const int major : supported) candidates.push_back(fmt::format("/usr/lib/postgresql/{}/bin/postgres", major));
  int found = 0;
  for (const fs::path& file : candidates) {
    if (access(file.c_str(), X_OK) != 0) continue;
    found = major_of(file);
    if (wanted ? found == wanted : std::ranges::find(supported, found) != supported.end()) return file;
  }
  if (!wanted) throw std::runtime_error{"PostgreSQL 15 is not installed: run apt-get install postgresql-15"};
  throw std::runtime_error{fmt::format(
      "the data directory was written by PostgreSQL {0}, and {1} is installed: run apt-get install postgresql-{0}, or "
      "restore a backup into a new data directory",
      wanted, found ? fmt::format("PostgreSQL {}", found) : "no PostgreSQL")};
}

fs::path cluster(const Site& site) { return site.root / "postgres"; }

// 0: no cluster yet.
int cluster_major(const Site& site) {
  if (!fs::exists(cluster(site))) return 0;
  const std::string version = read_file(cluster(site) / "PG_VERSION");
  if (const int major = number(version)) return major;
  throw std::runtime_error{
      fmt::format("{} is not a PostgreSQL cluster: move it away or restore a backup", cluster(site).string())};
}

std::vector<std::string> server_arguments(const Site& site, const fs::path& postgres) {
  const std::uintmax_t mib = memory_bytes() >> 20;
  const auto buffers = mib <= 4096 ? std::min<std::uintmax_t>(128, mib / 4) : std::min<std::uintmax_t>(1024, mib / 16);
  const char* synced = site.durable ? "on" : "off";
  // On the command line they beat the files in the cluster, and a new release of Cairn changes them.
  std::vector<std::string> settings = {
      "listen_addresses=",
      "port=5432",  // part of the socket's name
      "unix_socket_directories=" + site.sockets.string(),
      "unix_socket_permissions=0700",
      "hba_file=" + (site.root / "pg_hba.conf").string(),
      "ident_file=" + (site.root / "pg_ident.conf").string(),
      "max_connections=60",
      fmt::format("shared_buffers={}MB", buffers),
      "wal_buffers=4MB",  // all of it is touched; changes are flushed long before more has come together
      fmt::format("effective_cache_size={}MB", std::max<std::uintmax_t>(mib / 2, 64)),
      "jit=off",
      fmt::format("fsync={}", synced),
      fmt::format("full_page_writes={}", synced),
      "synchronous_commit=on",
      // Containers give /dev/shm 64 MB, and log-outs may empty it. Without parallel queries what remains is small.
      "dynamic_shared_memory_type=mmap",
      "max_parallel_workers_per_gather=0",
      "random_page_cost=1.1",
      "effective_io_concurrency=100",
      "max_wal_size=1GB",  // bounds crash recovery
      "min_wal_size=128MB",
      "client_connection_check_interval=1s",
      "timezone=UTC",
      "log_timezone=UTC",
      "lc_messages=C",
      "logging_collector=off",
      "log_destination=stderr",
      "log_line_prefix=%m [%p] %q%u@%d ",
      "log_checkpoints=off",
      // Values are people's data: neither parameters nor the DETAIL of a violated constraint belong in a log.
      "log_parameter_max_length=0",
      "log_parameter_max_length_on_error=0",
      "log_error_verbosity=terse",
  };
  std::vector<std::string> arguments = {postgres, "-D", cluster(site)};
  for (std::string& setting : settings) {
    arguments.emplace_back("-c");
    arguments.push_back(std::move(setting));
  }
  return arguments;
}

void remove_stale(const fs::path& file) {
  if (unlink(file.c_str()) != 0 && errno != ENOENT) fail("remove", file, errno);
}

// PostgreSQL locks the cluster and the socket with files that name its pid. They survive kill -9, and by then the pid
// may be a zombie's or anybody's: PostgreSQL then refuses to start, although the lease proves that nothing of ours is
// left.
bool another_postmaster(const fs::path& directory, const fs::path& sockets) {
  const fs::path file = directory / "postmaster.pid";
  const pid_t pid = number(first_line(read_file(file)));
  if (pid > 0 && kill(pid, 0) == 0) {  // of a dead one PostgreSQL itself makes sure that its memory is not in use
    std::error_code error;
    const fs::path process = fmt::format("/proc/{}", pid);
    // A program that was upgraded while it runs is called "postgres (deleted)".
    const bool postgres = fs::read_symlink(process / "exe", error).filename().string().starts_with("postgres");
    if (postgres && fs::read_symlink(process / "cwd", error) == directory) return true;
    remove_stale(file);
  }
  remove_stale(sockets / ".s.PGSQL.5432.lock");
  return false;
}

// The eighth line is the server's state, which pg_ctl reads as well; unlike connection attempts this leaves no errors
// in the log.
bool accepts_connections(const fs::path& directory, pid_t pid) {
  const std::string text = read_file(directory / "postmaster.pid");
  if (number(first_line(text)) != pid) return false;
  std::string_view rest = text;
  for (int line = 1; line < 8; ++line) {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return false;
    rest.remove_prefix(end + 1);
  }
  return rest.starts_with("ready");
}

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};

class Connection {
 public:
  explicit Connection(const std::string& target) : connection_{PQconnectdb(target.c_str())} {
    if (PQstatus(connection_.get()) != CONNECTION_OK) complain("cannot connect to the private PostgreSQL");
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
  }
  // The number of rows.
  int run(const char* sql) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result{PQexec(connection_.get(), sql), &PQclear};
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) complain("cannot prepare the private PostgreSQL");
    return PQntuples(result.get());
  }

 private:
  [[noreturn]] void complain(std::string_view what) const {
    throw std::runtime_error{fmt::format("{}: {}", what, PQerrorMessage(connection_.get()))};
  }
  std::unique_ptr<PGconn, Finish> connection_;
};

constexpr const char* make_roles = R"sql(
do $$ begin
  if to_regrole('cairn_owner') is null then
    create role cairn_owner login createrole;
  end if;
  if to_regrole('cairn_app') is null then
    create role cairn_app login nosuperuser nobypassrls;
    alter role cairn_app set statement_timeout = '5s';
    alter role cairn_app set lock_timeout = '2s';
    alter role cairn_app set idle_in_transaction_session_timeout = '10s';
  end if;
end $$)sql";

// A row-level security policy is a barrier: below it only leakproof operators may be index conditions, lest an error
// message or a side effect tell about rows the policy hides. Comparing enum values raises no error that names them;
// comparing arrays calls the element type's equality, which is leakproof for every type the schema keeps in arrays.
constexpr const char* equip = R"sql(
create extension if not exists "uuid-ossp";
do $$ declare f regprocedure; begin
  for f in select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace and not proleakproof
      and proname in ('enum_eq', 'enum_ne', 'enum_lt', 'enum_le', 'enum_gt', 'enum_ge', 'arrayoverlap', 'arraycontains')
  loop
    execute format('alter function %s leakproof', f);
  end loop;
end $$)sql";

}  // namespace

std::string conninfo(const fs::path& sockets, std::string_view user, std::string_view database) {
  return fmt::format("host={} port=5432 user={} dbname={}", sockets.string(), user, database);
}

Recipe postgres_recipe(const Site& site) {
  Recipe recipe;
  recipe.name = "PostgreSQL";
  recipe.id = "postgres";
  recipe.argv = server_arguments(site, find_postgres(cluster_major(site)));
  recipe.quit_signal = SIGINT;  // fast: ends the clients' transactions, then a checkpoint
  recipe.abort_signal = SIGQUIT;
  const fs::path directory = cluster(site);
  recipe.occupied = [directory, sockets = site.sockets] { return another_postmaster(directory, sockets); };
  recipe.answers = [directory](pid_t pid) { return accepts_connections(directory, pid); };
  recipe.salvage = [] { return false; };
  return recipe;
}

void ensure_cluster(const Site& site, const Recipe& recipe) {
  std::string allowed, map;
  for (const std::string_view role : {superuser, std::string_view{"cairn_owner"}, std::string_view{"cairn_app"}}) {
    allowed += fmt::format("local all {} peer map=cairn\n", role);
    for (const std::string& peer : site.peers) map += fmt::format("cairn \"{}\" {}\n", peer, role);
  }
  allowed += fmt::format("local replication {} peer map=cairn\n", superuser);
  write_file(site.root / "pg_hba.conf", allowed, site.user.gid, 0640);
  write_file(site.root / "pg_ident.conf", map, site.user.gid, 0640);
  if (fs::exists(cluster(site))) {
    ensure_directory(cluster(site), site.user.uid, site.user.gid, 0700);
    return;
  }
  const Fd lease = wait_for_lease(site.lease(recipe.id));
  const fs::path unfinished = site.root / "postgres.new";
  fs::remove_all(unfinished);
  ensure_directory(unfinished, site.user.uid, site.user.gid, 0700);
  const fs::path log_file = site.log("initdb");
  const Fd log = open_file(log_file, O_WRONLY | O_CREAT | O_TRUNC);
  std::vector<std::string> argv = {fs::path{recipe.argv.front()}.replace_filename("initdb"),
                                   "--pgdata",
                                   unfinished,
                                   "--encoding=UTF8",
                                   "--locale=C.UTF-8",
                                   "--data-checksums",
                                   "--auth=peer",
                                   fmt::format("--username={}", superuser)};
  if (!site.durable) argv.emplace_back("--no-sync");
  Process initdb{site.command(std::move(argv), unfinished, log.get(), lease)};
  initdb.wait(std::chrono::milliseconds{-1});
  if (!initdb.succeeded())
    throw std::runtime_error{fmt::format("initdb {}; {}", initdb.fate(), diagnosis(log_file, 0))};
  fs::rename(unfinished, cluster(site));
  if (fsync(open_file(site.root, O_RDONLY | O_DIRECTORY).get()) != 0) fail("sync", site.root, errno);
}

void bootstrap(const Site& site) {
  Connection pattern{conninfo(site.sockets, superuser, "template1")};  // test databases are made from it
  pattern.run(equip);
  pattern.run(make_roles);
  if (pattern.run("select from pg_database where datname = 'cairn'") == 0)
    pattern.run("create database cairn owner cairn_owner");
  Connection{conninfo(site.sockets, superuser)}.run(equip);
}

}  // namespace cairn::embedded
