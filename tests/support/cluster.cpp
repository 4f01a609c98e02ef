#include "support/cluster.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/json/parse.hpp>

#include <charconv>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <thread>

#include "api/openapi.hpp"
#include "pg/migrate.hpp"
#include "server/site.hpp"

namespace cairn::support {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

template<class Condition>
void within(std::chrono::seconds limit, const std::string& what, Condition condition) {
  for (const auto end = std::chrono::steady_clock::now() + limit; !condition(); std::this_thread::sleep_for(2ms))
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error(what);
}

// The parent of a process, or 0 when it is gone or a zombie.
pid_t parent_of(pid_t pid) {
  const auto stat = embedded::read_file(fmt::format("/proc/{}/stat", pid));
  const auto end = stat.rfind(") ");
  if (end == std::string::npos || stat[end + 2] == 'Z') return 0;
  pid_t parent = 0;
  std::from_chars(stat.data() + end + 4, stat.data() + stat.size(), parent);
  return parent;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size() && parent_of(pid) == parent) found.push_back(pid);
  }
  return found;
}

std::uint16_t free_port() {
  const embedded::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

std::string end_of(const fs::path& file) {
  const auto text = embedded::read_file(file);
  return text.substr(text.size() - std::min<std::size_t>(text.size(), 20'000));
}

class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "cairn-cluster-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path = name;
    fs::permissions(path, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  fs::path path;
};

}  // namespace

void Cluster::run(const std::function<void(Cluster&)>& story) {
  static_cast<void>(signal(SIGPIPE, SIG_IGN));  // hiredis writes to a Redis that was killed
  const Directory directory;
  embedded::Options options;
  options.data_dir = directory.path / "data";
  options.durable = false;  // processes are killed, not the machine: what was written stays written
  embedded::Servers servers(std::move(options));
  const auto endpoints = servers.start();
  pg::migrate(endpoints.owner_url);

  const embedded::Fd over(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::atomic<bool> told{false};
  std::exception_ptr failure;
  std::thread teller([&] {
    try {
      Cluster cluster(directory.path, endpoints);
      for (unsigned node = 0; node < nodes; ++node) cluster.start(node);
      story(cluster);
      for (unsigned node = 0; node < nodes; ++node) cluster.stop(node);
    } catch (...) { failure = std::current_exception(); }
    told = true;
    eventfd_write(over.get(), 1);
  });
  try {
    servers.supervise([&] { return told.load(); }, over.get());
  } catch (const std::exception& error) { ADD_FAILURE() << error.what(); }
  teller.join();
  servers.stop();
  if (failure) std::rethrow_exception(failure);
}

Cluster::Cluster(fs::path directory, embedded::Endpoints endpoints)
    : directory_(std::move(directory)),
      endpoints_(std::move(endpoints)),
      contract_(boost::json::parse(api::openapi(server::make_api(1), {}))) {
  for (unsigned i = 0; i < nodes; ++i) {
    auto& node = nodes_[i];
    node.port = free_port();
    node.directory = directory_ / fmt::format("node-{}", i);
    fs::create_directory(node.directory);
    const auto file = embedded::open_file(node.directory / "cairn.toml", O_WRONLY | O_CREAT);
    const auto text = fmt::format(R"toml(
[server]
listen = "127.0.0.1:{}"
threads = 2
[database]
url = "{}"
owner_url = "{}"
commit_connections = 2
write_connections = 2
[redis]
url = "{}"
[log]
access = "off"
[password]
memory_kib = 7168
iterations = 1
[mail]
deliver = false
[limits]
read = 0
write = 0
login = 0
mail = 0
register = 0
token = 0
account = 0
failures = 0
)toml",
                                  node.port, endpoints_.app_url, endpoints_.owner_url, endpoints_.redis_socket);
    if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("the settings cannot be written");
  }
}

Cluster::~Cluster() {
  for (auto& node : nodes_) node.process.signal(SIGKILL);
}

void Cluster::start(unsigned index) {
  auto& node = nodes_[index];
  const auto log_file = embedded::open_file(node.directory / "log", O_WRONLY | O_CREAT | O_APPEND);
  embedded::Command command;
  command.argv = {(fs::read_symlink("/proc/self/exe").parent_path() / "cairn").string(), "serve", "--data-dir",
                  node.directory.string()};
  command.output = log_file.get();
  ++node.life;
  node.process = embedded::Process(command);
  within(60s, fmt::format("node {} does not start", index), [&] {
    if (node.process.wait(0ms))
      throw std::runtime_error(fmt::format("node {} {}:\n{}", index, node.process.fate(), log(index)));
    try {
      return Client(node.port, contract_).get("//healthz").status == 200;  // it listens once it has a database
    } catch (const std::runtime_error&) { return false; }
  });
}

void Cluster::expect_alive(unsigned index) {
  auto& node = nodes_[index];
  if (node.process.wait(0ms))
    throw std::runtime_error(fmt::format("node {} {}:\n{}", index, node.process.fate(), log(index)));
}

void Cluster::kill(unsigned index) {
  expect_alive(index);
  nodes_[index].process.signal(SIGKILL);
  nodes_[index].process.wait(-1ms);
}

void Cluster::stop(unsigned index) {
  expect_alive(index);
  auto& process = nodes_[index].process;
  process.signal(SIGTERM);
  if (!process.wait(60s)) throw std::runtime_error(fmt::format("node {} does not stop:\n{}", index, log(index)));
  if (!process.succeeded()) throw std::runtime_error(fmt::format("node {} {}:\n{}", index, process.fate(), log(index)));
}

std::string Cluster::log(unsigned node) const { return end_of(nodes_[node].directory / "log"); }
std::string Cluster::postgres_log() const { return end_of(directory_ / "data" / "log" / "postgres.log"); }

std::vector<pid_t> Cluster::postgres() const {
  std::vector<pid_t> all;
  within(60s, "PostgreSQL does not come back", [&] {
    const auto file = embedded::read_file(directory_ / "data" / "postgres" / "postmaster.pid");
    pid_t postmaster = 0;
    std::from_chars(file.data(), file.data() + file.size(), postmaster);
    if (postmaster <= 1 || parent_of(postmaster) != getpid()) return false;
    all = children_of(postmaster);
    all.insert(all.begin(), postmaster);
    return all.size() > 1;
  });
  return all;
}

pid_t Cluster::redis() const {
  pid_t found = 0;
  within(60s, "Redis does not come back", [&] {
    for (const auto child : children_of(getpid())) {
      std::error_code gone;
      if (fs::read_symlink(fmt::format("/proc/{}/cwd", child), gone) == directory_ / "data" / "redis") found = child;
    }
    return found != 0;
  });
  return found;
}

void Cluster::kill_postgres(bool one_connection_only) {
  const auto all = postgres();
  // One that dies makes the postmaster end all the others and recover; without the postmaster they end by themselves.
  const auto victim = one_connection_only ? all.back() : all.front();
  ::kill(victim, SIGKILL);
  within(60s, "PostgreSQL outlives SIGKILL", [&] { return parent_of(victim) == 0; });
  database();
}

void Cluster::kill_redis() {
  const auto victim = redis();
  ::kill(victim, SIGKILL);
  within(60s, "Redis outlives SIGKILL", [&] { return parent_of(victim) == 0; });
  within(60s, "Redis does not come back", [&] {
    try {
      return support::redis({"PING"}, endpoints_.redis_socket).front() == "PONG";
    } catch (const std::runtime_error&) { return false; }
  });
}

std::vector<pid_t> Cluster::freeze_postgres() const {
  // Without the postmaster, who goes first, none is added.
  auto all = postgres();
  ::kill(all.front(), SIGSTOP);
  all = postgres();
  for (const auto pid : all) ::kill(pid, SIGSTOP);
  return all;
}

std::vector<pid_t> Cluster::freeze_redis() const {
  const auto pid = redis();
  ::kill(pid, SIGSTOP);
  return {pid};
}

void Cluster::thaw(const std::vector<pid_t>& processes) {
  for (auto pid = processes.rbegin(); pid != processes.rend(); ++pid) ::kill(*pid, SIGCONT);
}

Database Cluster::database() const {
  for (const auto end = std::chrono::steady_clock::now() + 60s;; std::this_thread::sleep_for(5ms)) {
    try {
      Database database(endpoints_.superuser_url);
      database.run("select set_config('app.system', 'test', false), set_config('app.ip', '127.0.0.1', false)");
      return database;
    } catch (const std::runtime_error&) {
      if (std::chrono::steady_clock::now() > end) throw;
    }
  }
}

std::vector<audit::PublicKey> Cluster::keys() const {
  std::vector<audit::PublicKey> all;
  for (const auto& node : nodes_)
    all.push_back(audit::SigningKey::open(audit::SigningKey::file_in(node.directory)).public_key());
  return all;
}

}  // namespace cairn::support
