// The real program under write load, while it or its PostgreSQL is killed at random moments. What was acknowledged must
// be there afterwards, exactly once and on the record. A short form runs every time, the long one with
// CAIRN_CAMPAIGN=1.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "embedded/embedded.hpp"

namespace cairn {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

bool long_form() { return getenv("CAIRN_CAMPAIGN") != nullptr; }

std::string read_file(const fs::path& path) {
  std::ifstream in(path);
  std::string text;
  std::getline(in, text, '\0');  // does not throw when the process that a file is about ends meanwhile
  return text;
}

// The parent of a process, or 0 when it is gone or a zombie.
pid_t parent_of(pid_t pid) {
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid));
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

template<class Condition>
bool within(Clock::duration limit, Condition condition) {
  for (const auto end = Clock::now() + limit; Clock::now() < end; std::this_thread::sleep_for(5ms))
    if (condition()) return true;
  return condition();
}

struct Answer {
  Answer() = default;
  unsigned status = 0;  // 0: no complete answer
  std::string body;
};

// One request on a connection of its own: what a client with retries sees when servers come and go.
Answer ask(std::uint16_t port, const std::string& method, const std::string& path, const std::string& token,
           const std::string& body = {}) {
  Answer answer;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{15, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
  if (!token.empty()) request += "Authorization: Bearer " + token + "\r\n";
  if (!body.empty()) request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  request += "\r\n" + body;
  std::string reply;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    std::array<char, 16384> part;
    for (ssize_t n; (n = recv(fd, part.data(), part.size(), 0)) > 0;)
      reply.append(part.data(), static_cast<std::size_t>(n));
  }
  close(fd);
  const auto head = reply.find("\r\n\r\n");
  if (head == std::string::npos || reply.size() < 12) return answer;
  std::size_t length = 0;
  if (const auto at = reply.find("Content-Length: "); at < head)
    std::from_chars(reply.data() + at + 16, reply.data() + head, length);
  if (reply.size() - head - 4 < length) return answer;
  answer.status = static_cast<unsigned>(std::atoi(reply.c_str() + 9));
  answer.body = reply.substr(head + 4, length);
  return answer;
}

std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

// `cairn serve` as an operator starts it.
class Program {
 public:
  Program() : port_(free_port()) {
    std::string name = (fs::temp_directory_path() / "cairn-campaign-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    fs::permissions(directory_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
    start();
  }
  ~Program() {
    if (pid_ > 0) {
      kill(pid_, SIGTERM);
      waitpid(pid_, nullptr, 0);
    }
    fs::remove_all(directory_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void start() {
    const auto binary = (fs::read_symlink("/proc/self/exe").parent_path() / "cairn").string();
    const auto data = data_dir().string(), listen = fmt::format("127.0.0.1:{}", port_),
               log = (directory_ / "log").string();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      dup2(fd, STDERR_FILENO);
      setenv("CAIRN_PASSWORD__MEMORY_KIB", "7168", 1);
      setenv("CAIRN_LIMITS__READ", "1000000", 1);
      setenv("CAIRN_LIMITS__WRITE", "1000000", 1);
      setenv("CAIRN_LIMITS__FAILURES", "1000000", 1);  // no server lives long enough to know its clients' tokens
      execl(binary.c_str(), "cairn", "serve", "--data-dir", data.c_str(), "--listen", listen.c_str(), "--log-access",
            "off", nullptr);
      _exit(127);
    }
  }
  bool ready() const { return ask(port_, "GET", "/readyz", {}).status == 200; }
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  pid_t pid() const { return pid_; }
  std::uint16_t port() const { return port_; }
  fs::path data_dir() const { return directory_ / "data"; }
  std::string log() const { return read_file(directory_ / "log"); }
  pid_t postmaster() const { return std::atoi(read_file(data_dir() / "postgres" / "postmaster.pid").c_str()); }

 private:
  std::uint16_t port_;
  fs::path directory_;
  pid_t pid_ = -1;
};

// People who write without pause and remember what was acknowledged.
class Writers {
 public:
  Writers(std::uint16_t port, std::string token, std::string project, unsigned count, std::uint64_t seed)
      : port_(port), token_(std::move(token)), project_(std::move(project)) {
    for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this, i, seed] { write(i, seed + i); });
  }
  ~Writers() { stop(); }

  void stop() {
    stopped_ = true;
    for (auto& thread : threads_)
      if (thread.joinable()) thread.join();
  }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t refused() const { return refused_; }

  // What each task must hold: its last acknowledged number, or one that was tried later and not answered.
  struct Expected {
    std::uint64_t acknowledged = 0, tried = 0;
  };
  std::map<std::string, Expected> tasks() const { return tasks_; }

 private:
  void write(unsigned writer, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::string> own;
    for (std::uint64_t number = 1; !stopped_; ++number) {
      const auto title = fmt::format("writer {} number {}", writer, number);
      const auto body = fmt::format(R"({{"title": "{}", "actual_hours": {}}})", title, number);
      if (own.empty() || random() % 4 == 0) {
        const auto answer = ask(port_, "POST", "/api/v1/projects/" + project_ + "/tasks", token_, body);
        if (!count(answer, 201)) continue;
        const auto id = std::string(boost::json::parse(answer.body).at("id").as_string());
        own.push_back(id);
        const std::lock_guard lock(mutex_);
        tasks_[id].acknowledged = tasks_[id].tried = number;
      } else {
        const auto& id = own[random() % own.size()];
        {
          const std::lock_guard lock(mutex_);
          tasks_[id].tried = number;
        }
        const auto answer = ask(port_, "PATCH", "/api/v1/tasks/" + id, token_, body);
        if (!count(answer, 200)) continue;
        const std::lock_guard lock(mutex_);
        tasks_[id].acknowledged = number;
      }
    }
  }
  bool count(const Answer& answer, unsigned wanted) {
    if (answer.status == wanted) {
      ++acknowledged_;
      return true;
    }
    ++refused_;
    // Nobody listens, or not yet again: a client pauses before it tries once more.
    EXPECT_TRUE(answer.status == 0 || answer.status == 503 || answer.status == 504)
        << answer.status << " " << answer.body;
    std::this_thread::sleep_for(10ms);
    return false;
  }

  std::uint16_t port_;
  std::string token_, project_;
  std::atomic<bool> stopped_{false};
  std::atomic<std::uint64_t> acknowledged_{0}, refused_{0};
  mutable std::mutex mutex_;
  std::map<std::string, Expected> tasks_;
  std::vector<std::thread> threads_;
};

class Campaign : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(within(60s, [&] { return program.ready(); })) << program.log();
    const auto post = [&](const std::string& path, const std::string& body) {
      const auto answer = ask(program.port(), "POST", "/api/v1" + path, token, body);
      EXPECT_EQ(answer.status, 201u) << answer.body;
      return boost::json::parse(answer.body);
    };
    post("/accounts",
         R"({"email":"ada@example.org","password":"correct horse battery staple","first_name":"A","last_name":"B"})");
    token = post("/sessions", R"({"email":"ada@example.org","password":"correct horse battery staple"})")
                .at("token")
                .as_string();
    const std::string organization(post("/organizations", R"({"name":"Acme","slug":"acme"})").at("id").as_string());
    project = post("/organizations/" + organization + "/projects", R"({"name":"P"})").at("id").as_string();
    RecordProperty("seed", std::to_string(seed));
    fmt::print("seed {}\n", seed);
  }

  std::unique_ptr<PGconn, void (*)(PGconn*)> database() const {
    return {PQconnectdb(embedded::endpoints(program.data_dir()).superuser_url.c_str()), &PQfinish};
  }

  // Every acknowledged write is there, and each task has exactly one entry on the record per version.
  void check(const Writers& writers) {
    const auto connection = database();
    ASSERT_EQ(PQstatus(connection.get()), CONNECTION_OK) << PQerrorMessage(connection.get());
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(
        PQexec(connection.get(),
               "select id, title, actual_hours, version, (select count(*) from audit_logs a where a.entity_type = "
               "'tasks' and "
               "a.entity_id = t.id and a.user_id is not null) from tasks t"),
        &PQclear);
    ASSERT_EQ(PQresultStatus(result.get()), PGRES_TUPLES_OK) << PQerrorMessage(connection.get());
    std::map<std::string, int> rows;
    for (int row = 0; row < PQntuples(result.get()); ++row) rows[PQgetvalue(result.get(), row, 0)] = row;
    std::uint64_t lost = 0;
    for (const auto& [id, expected] : writers.tasks()) {
      const auto found = rows.find(id);
      if (found == rows.end()) {
        ++lost;
        ADD_FAILURE() << "task " << id << " was acknowledged and is not there";
        continue;
      }
      const auto field = [&](int column) { return std::string(PQgetvalue(result.get(), found->second, column)); };
      const auto number = std::stoull(field(2));
      if (number < expected.acknowledged || number > expected.tried) ++lost;
      EXPECT_GE(number, expected.acknowledged) << id;
      EXPECT_LE(number, expected.tried) << id;
      EXPECT_TRUE(field(1).ends_with(fmt::format("number {}", number)))
          << "half of a change: " << field(1) << ", " << number;
      EXPECT_EQ(field(3), field(4)) << "entries on the record of " << id;
    }
    EXPECT_EQ(lost, 0u);
  }

  // Cycles `strike` under load; each ends with a server that is ready.
  template<class Strike>
  void run(int rounds, Strike strike) {
    std::mt19937_64 random(seed);
    Writers writers(program.port(), token, project, 8, seed);
    Clock::duration slowest{};
    for (int round = 0; round < rounds && !HasFatalFailure(); ++round) {
      // Only a server that is writing can lose something.
      const auto before = writers.acknowledged();
      ASSERT_TRUE(within(30s, [&] { return writers.acknowledged() > before + 20; })) << program.log();
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
      strike();
      const auto begun = Clock::now();
      ASSERT_TRUE(within(10s, [&] { return program.ready(); })) << "round " << round << "\n" << program.log();
      slowest = std::max(slowest, Clock::now() - begun);
    }
    const auto before = writers.acknowledged();
    EXPECT_TRUE(within(30s, [&] { return writers.acknowledged() > before + 20; })) << program.log();
    writers.stop();
    fmt::print("{} rounds, {} writes acknowledged, {} not, {} tasks, ready again after at most {} ms\n", rounds,
               writers.acknowledged(), writers.refused(), writers.tasks().size(),
               std::chrono::duration_cast<std::chrono::milliseconds>(slowest).count());
    check(writers);
  }

  const std::uint64_t seed = getenv("CAIRN_SEED") ? std::stoull(getenv("CAIRN_SEED")) : std::random_device()();
  Program program;
  std::string token, project;
};

TEST_F(Campaign, LosesNoAcknowledgedWriteWhenTheServerIsKilled) {
  run(long_form() ? 30 : 3, [&] {
    const auto children = children_of(program.pid());
    ASSERT_GE(children.size(), 2u);
    kill(program.pid(), SIGKILL);
    program.wait();
    EXPECT_TRUE(within(5s, [&] {
      return std::all_of(children.begin(), children.end(), [](pid_t pid) { return parent_of(pid) == 0; });
    })) << "children outlive the server";
    program.start();
  });
}

TEST_F(Campaign, LosesNoAcknowledgedWriteWhenPostgresIsKilled) {
  run(long_form() ? 30 : 3, [&] {
    const auto victim = program.postmaster();
    ASSERT_GT(victim, 0);
    kill(victim, SIGKILL);
    ASSERT_TRUE(within(5s, [&] { return parent_of(victim) == 0; }));
    // Until the server has noticed, it would still say that it is ready.
    within(2s, [&] { return !program.ready(); });
  });
}

TEST_F(Campaign, AnswersWhatItHasBegunWhenItIsToldToStop) {
  Writers writers(program.port(), token, project, 8, seed);
  ASSERT_TRUE(within(30s, [&] { return writers.acknowledged() > 50; })) << program.log();
  kill(program.pid(), SIGTERM);
  const int status = program.wait();
  writers.stop();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << program.log();
  program.start();
  ASSERT_TRUE(within(60s, [&] { return program.ready(); })) << program.log();
  check(writers);
  // What was tried and not acknowledged never reached the server: a drained server answers all that it has read.
  for (const auto& [id, expected] : writers.tasks()) {
    const auto answer = ask(program.port(), "GET", "/api/v1/tasks/" + id, token);
    ASSERT_EQ(answer.status, 200u);
    EXPECT_EQ(boost::json::parse(answer.body).at("actual_hours").to_number<std::uint64_t>(), expected.acknowledged);
  }
}

TEST_F(Campaign, GoesOnWithoutRedis) {
  const auto redis = [&]() -> pid_t {
    for (const auto child : children_of(program.pid()))
      if (read_file(fmt::format("/proc/{}/comm", child)).starts_with("redis")) return child;
    return 0;
  }();
  ASSERT_GT(redis, 0);
  kill(redis, SIGSTOP);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(program.port(), "GET", "/api/v1/me", token).status, 200u);
  EXPECT_EQ(ask(program.port(), "GET", "/readyz", {}).status, 200u);
  kill(redis, SIGCONT);
  kill(redis, SIGKILL);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(program.port(), "GET", "/api/v1/me", token).status, 200u);
  EXPECT_TRUE(within(10s, [&] { return ask(program.port(), "GET", "/readyz", {}).body == R"({"status":"ready"})"; }));
}

}  // namespace
}  // namespace cairn
