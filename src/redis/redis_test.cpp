#include "redis/connection.hpp"
#include "redis/keys.hpp"

#include <gtest/gtest.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

namespace cairn::redis {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using namespace std::string_literals;

class TempDir {
 public:
  TempDir() {
    if (!mkdtemp(path_.data())) throw std::runtime_error("mkdtemp");
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/cairn-redis-XXXXXX";
};

// A redis-server of its own on a unix socket. Whoever needs it ready waits as the product does: with wait_healthy.
class Server {
 public:
  explicit Server(std::vector<std::string> options = {}) : options_(std::move(options)) { start(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { kill(); }

  void start() {
    std::vector<std::string> args{"redis-server", "--port", "0", "--unixsocket", socket(), "--dir",
                                  dir_.path(),    "--save", "",  "--appendonly", "no"};
    args.insert(args.end(), options_.begin(), options_.end());
    std::vector<char*> argv;
    for (auto& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  void signal(int number) const { ::kill(pid_, number); }
  void kill() {
    if (pid_ == 0) return;
    signal(SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }

  std::string socket() const { return dir_ / "redis.sock"; }
  Settings settings() const {
    auto settings = Settings::parse(socket());
    settings.breaker_open = 200ms;
    return settings;
  }
  // For tests of anything but deadlines: no reply is late, however slow the machine.
  Settings patient() const {
    auto patient = settings();
    patient.reply_deadline = 60s;
    return patient;
  }

 private:
  TempDir dir_;
  std::vector<std::string> options_;
  pid_t pid_ = 0;
};

// Runs the coroutine, and everything it started, to the end.
template<class Body>
void run(asio::io_context& io, Body body) {
  asio::co_spawn(io, body, [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  io.run_for(120s);
  EXPECT_TRUE(io.stopped()) << "somebody waits for ever";
}

// Runs the test with a client that is connected.
template<class Body>
void with_client(Settings settings, Body body) {
  asio::io_context io(1);
  Client client(io, std::move(settings));
  run(io, [&]() -> async<> {
    client.start();
    auto healthy = co_await client.wait_healthy(30s);
    EXPECT_TRUE(healthy) << client.problem();
    if (healthy) co_await body(client);
    co_await client.close();
  });
}

// Lets everything that is ready run first.
async<> next_turn() {
  auto io = co_await asio::this_coro::executor;
  co_await asio::post(io, awaiting);
}

std::string text_of(const std::optional<Reply>& reply) { return reply ? reply->text : "(away)"; }

TEST(Settings, AreReadFromUrls) {
  auto tcp = Settings::parse("redis://ann:p%40ss@cache.example:6380/3");
  EXPECT_EQ(tcp.path, "");
  EXPECT_EQ(tcp.host, "cache.example");
  EXPECT_EQ(tcp.port, 6380);
  EXPECT_EQ(tcp.user, "ann");
  EXPECT_EQ(tcp.password, "p@ss");
  EXPECT_EQ(tcp.db, 3u);
  auto brief = Settings::parse("redis://:secret@[::1]");
  EXPECT_EQ(brief.host, "::1");
  EXPECT_EQ(brief.port, 6379);
  EXPECT_EQ(brief.user, "");
  EXPECT_EQ(brief.password, "secret");
  EXPECT_EQ(Settings::parse("redis://[::1]:7000/").port, 7000);
  auto socket = Settings::parse("unix:///run/my%20redis.sock?db=2");
  EXPECT_EQ(socket.path, "/run/my redis.sock");
  EXPECT_EQ(socket.db, 2u);
  EXPECT_EQ(Settings::parse("/run/redis.sock").path, "/run/redis.sock");
  EXPECT_EQ(Settings::parse("./redis.sock").path, "./redis.sock");
}

TEST(Settings, RefuseWhatTheyCannotMeanWithoutRepeatingIt) {
  for (const char* url :
       {"", "localhost:6379", "rediss://:hush@host", "http://:hush@host", "redis://", "redis://:6379",
        "redis://:hush@host:port", "redis://:hush@host:65536", "redis://:hush@host/zero", "redis://[::1",
        "redis://[::1]x", "unix://", "unix://host/path", "redis://:hush%@host", "redis://:hush%2g@host",
        "redis://host?timeout=hush", "redis://host?db=", "redis://host?db=-1"}) {
    try {
      Settings::parse(url);
      ADD_FAILURE() << url;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(std::string(error.what()).find("hush"), std::string::npos) << url;
    }
  }
}

TEST(Client, GivesTenThousandInterleavedCommandsTheirOwnReplies) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    int right = 0, done = 0;
    auto one = [&](int number) -> async<> {
      auto key = "k" + std::to_string(number % 97);
      auto set = co_await client.command("SET", key + "." + std::to_string(number), number);
      auto got = co_await client.command("GET", key + "." + std::to_string(number));
      auto echoed = co_await client.command("ECHO", number);
      right += text_of(set) == "OK" && text_of(got) == std::to_string(number) && text_of(echoed) == text_of(got);
      ++done;
    };
    auto io = co_await asio::this_coro::executor;
    for (int i = 0; i < 10'000; ++i) asio::co_spawn(io, one(i), asio::detached);
    while (done < 10'000) co_await next_turn();
    EXPECT_EQ(right, 10'000);
    EXPECT_EQ(client.stats().commands, 30'000u);
    EXPECT_EQ(client.stats().in_flight, 0u);
  });
}

TEST(Client, WritesTheCommandsOfOneTurnAtOnce) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    int done = 0;
    auto one = [&]() -> async<> {
      co_await client.command("PING");
      ++done;
    };
    auto io = co_await asio::this_coro::executor;
    for (int i = 0; i < 100; ++i) asio::co_spawn(io, one(), asio::detached);
    while (done < 100) co_await next_turn();
    EXPECT_EQ(client.stats().writes, 1u);
  });
}

TEST(Client, KeepsEveryByteOfAnArgument) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    std::string every;
    for (int i = 0; i < 256; ++i) every += static_cast<char>(i);
    every += "\r\n$3\r\n%s%b";
    std::string big(3'000'000, '\n');
    const std::vector<std::string_view> set{"SET", every, big};
    auto stored = co_await client.command(set);
    auto got = co_await client.command("GET", every);
    auto missing = co_await client.command("GET", "");
    EXPECT_EQ(text_of(stored), "OK");
    EXPECT_TRUE(text_of(got) == big);
    EXPECT_TRUE(missing && missing->is_nil());
  });
}

TEST(Client, TakesNumbersAndSecondsAsArguments) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    co_await client.command("SET", "n", -7, "EX", ttl::api_cache);
    auto sum = co_await client.command("INCRBY", "n", std::int64_t{1} << 40);
    auto left = co_await client.command("TTL", "n");
    EXPECT_EQ(sum->integer, (std::int64_t{1} << 40) - 7);
    EXPECT_GT(left->integer, 200);
    EXPECT_LE(left->integer, 300);
  });
}

TEST(Client, HandsOnErrorsAndArrays) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    co_await client.command("RPUSH", "list", "a", "b");
    auto wrong = co_await client.command("GET", "list");
    auto list = co_await client.command("LRANGE", "list", 0, -1);
    EXPECT_TRUE(wrong->is_error());
    EXPECT_TRUE(wrong->text.starts_with("WRONGTYPE")) << wrong->text;
    EXPECT_EQ(list->elements.size(), 2u);
    EXPECT_EQ(list->elements.at(1).text, "b");
    EXPECT_EQ(client.stats().errors, 1u);
    EXPECT_TRUE(client.healthy());
  });
}

TEST(Client, RunsAScriptTheServerForgot) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    const Script add("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    EXPECT_EQ(add.sha().size(), 40u);
    const std::vector<std::string_view> keys{"sum"}, args{"5"};
    for (int i = 1; i <= 4; ++i) {
      if (i == 3) co_await client.command("SCRIPT", "FLUSH");
      auto sum = co_await client.script(add, keys, args);
      EXPECT_EQ(sum->integer, 5 * i);
    }
    EXPECT_EQ(client.stats().errors, 2u);  // NOSCRIPT at first and after the flush, not between
  });
}

TEST(Client, IntroducesItselfWithPasswordAndDatabase) {
  Server server({"--requirepass", "open sesame"});
  auto settings = server.patient();
  settings.password = "open sesame";
  settings.db = 5;
  with_client(settings, [](Client& client) -> async<> {
    auto info = co_await client.command("CLIENT", "INFO");
    EXPECT_NE(text_of(info).find(" db=5 "), std::string::npos) << text_of(info);
  });
}

TEST(Client, SaysWhyItIsRefusedAndNeverThePassword) {
  Server server({"--requirepass", "right", "--rename-command", "AUTH", ""});
  asio::io_context io(1);
  auto settings = server.settings();
  settings.password = "hush-hush";
  std::vector<std::string> problems;
  settings.on_change = [&](std::string_view problem) {
    problems.emplace_back(problem);
    if (problem.starts_with("AUTH")) io.stop();
  };
  Client client(io, settings);
  client.start();
  io.run();
  EXPECT_EQ(client.problem(), "AUTH: ERR");
  for (const auto& problem : problems) EXPECT_EQ(problem.find("hush"), std::string::npos) << problem;
}

TEST(Client, AnswersAtOnceWhileRedisIsAway) {
  TempDir dir;
  asio::io_context io(1);
  Client client(io, Settings::parse(dir / "nobody.sock"));
  run(io, [&]() -> async<> {
    client.start();
    auto healthy = co_await client.wait_healthy(200ms);
    auto reply = co_await client.command("PING");
    EXPECT_FALSE(healthy);
    EXPECT_FALSE(reply);
    EXPECT_TRUE(client.problem().starts_with("connect: ")) << client.problem();
    EXPECT_EQ(client.stats().refused, 1u);
    co_await client.close();
  });
}

TEST(Client, RefusesASocketPathThatCannotExist) {
  asio::io_context io(1);
  EXPECT_THROW(Client(io, Settings::parse("/" + std::string(200, 'x'))), boost::system::system_error);
}

TEST(Client, GoesOnWithoutASilentServerAndHealsWhenItWakes) {
  Server server;
  auto settings = server.settings();
  settings.connect_deadline = 200ms;
  with_client(settings, [&](Client& client) -> async<> {
    server.signal(SIGSTOP);
    auto silent = co_await client.command("PING");
    EXPECT_FALSE(silent);
    // Nobody needs to ask again for the breaker to open: the overdue reply is enough.
    while (client.healthy()) co_await next_turn();
    EXPECT_EQ(client.problem(), "no reply in time");
    auto refused = co_await client.command("PING");
    EXPECT_FALSE(refused);
    EXPECT_EQ(client.stats().expired, 1u);
    EXPECT_EQ(client.stats().refused, 1u);
    while (client.problem() != "no answer in time") co_await client.wait_healthy(50ms);  // a probe goes unanswered
    server.signal(SIGCONT);
    auto reply = co_await client.command("ECHO", "back");
    while (!reply) {
      co_await client.wait_healthy(30s);
      reply = co_await client.command("ECHO", "back");
    }
    EXPECT_EQ(text_of(reply), "back");
    EXPECT_GE(client.stats().connects, 2u);
  });
}

TEST(Client, GivesUpOnEveryoneAtOnceWhenTheServerDiesAndHealsWhenItReturns) {
  Server server;
  with_client(server.patient(), [&](Client& client) -> async<> {
    server.signal(SIGSTOP);
    int away = 0, done = 0;
    auto one = [&]() -> async<> {
      auto reply = co_await client.command("PING");
      away += !reply;
      ++done;
    };
    auto io = co_await asio::this_coro::executor;
    for (int i = 0; i < 100; ++i) asio::co_spawn(io, one(), asio::detached);
    while (client.stats().in_flight < 100) co_await next_turn();
    server.kill();
    while (done < 100) co_await next_turn();
    EXPECT_EQ(away, 100);
    EXPECT_FALSE(client.healthy());
    server.start();
    auto healthy = co_await client.wait_healthy(30s);
    auto reply = co_await client.command("ECHO", "back");
    EXPECT_TRUE(healthy) << client.problem();
    EXPECT_EQ(text_of(reply), "back");
  });
}

TEST(Client, NeverHandsAnAbandonedReplyToAnother) {
  Server server;
  with_client(server.patient(), [&](Client& client) -> async<> {
    auto io = co_await asio::this_coro::executor;
    Client other(io.context(), server.patient());
    other.start();
    co_await other.wait_healthy(30s);

    // BLPOP holds back the replies of the whole connection until the other client pushes.
    asio::cancellation_signal cancel;
    std::string popped = "(waits)", echoed = "(waits)";
    auto pop = [&]() -> async<> {
      auto reply = co_await client.command("BLPOP", "queue", 0);
      popped = text_of(reply);
    };
    auto echo = [&]() -> async<> {
      auto reply = co_await client.command("ECHO", "mine");
      echoed = text_of(reply);
    };
    asio::co_spawn(io, pop(), asio::bind_cancellation_slot(cancel.slot(), asio::detached));
    while (client.stats().in_flight < 1) co_await next_turn();
    cancel.emit(asio::cancellation_type::terminal);
    while (popped == "(waits)") co_await next_turn();
    EXPECT_EQ(popped, "(away)");
    EXPECT_EQ(client.stats().in_flight, 1u);

    asio::co_spawn(io, echo(), asio::detached);
    while (client.stats().in_flight < 2) co_await next_turn();
    EXPECT_EQ(echoed, "(waits)");
    co_await other.command("RPUSH", "queue", "theirs");
    while (echoed == "(waits)") co_await next_turn();
    EXPECT_EQ(echoed, "mine");
    EXPECT_EQ(client.stats().in_flight, 0u);
    EXPECT_TRUE(client.healthy());
    co_await other.close();
  });
}

TEST(Client, NeverHandsALateReplyToAnother) {
  Server server;
  auto settings = server.settings();
  settings.reply_deadline = 500ms;
  with_client(settings, [&](Client& client) -> async<> {
    auto io = co_await asio::this_coro::executor;
    Client other(io.context(), server.patient());
    other.start();
    co_await other.wait_healthy(30s);
    // Expires after 500 ms or a little more; the breaker would open two sweeps of 100 ms later.
    auto late = co_await client.command("BLPOP", "queue", 0);
    EXPECT_FALSE(late);
    co_await other.command("RPUSH", "queue", "theirs");
    auto reply = co_await client.command("ECHO", "mine");
    EXPECT_TRUE(!reply || reply->text == "mine") << text_of(reply);  // away, where the machine is that slow
    co_await other.close();
  });
}

TEST(Client, WaitersOfAClosedClientGoOnWithout) {
  Server server;
  with_client(server.patient(), [](Client& client) -> async<> {
    auto io = co_await asio::this_coro::executor;
    bool away = false;
    auto pop = [&]() -> async<> {
      auto reply = co_await client.command("BLPOP", "queue", 0);
      away = !reply;
    };
    asio::co_spawn(io, pop(), asio::detached);
    while (client.stats().in_flight < 1) co_await next_turn();
    co_await client.close();
    while (!away) co_await next_turn();
    auto reply = co_await client.command("PING");
    EXPECT_FALSE(reply);
    EXPECT_EQ(client.problem(), "closed");
  });
}

TEST(Client, MayGoWhileOthersWait) {
  Server server;
  asio::io_context io(1);
  auto client = std::make_unique<Client>(io, server.patient());
  client->start();
  bool away = false;
  auto pop = [&]() -> async<> {
    co_await client->wait_healthy(30s);
    auto reply = co_await client->command("BLPOP", "queue", 0);
    away = !reply;
  };
  asio::co_spawn(io, pop(), asio::detached);
  while (client->stats().in_flight < 1) io.run_one();
  client.reset();
  io.run();
  EXPECT_TRUE(away);
}

TEST(Client, LeavesNothingBehindWhenTheLoopEndsFirst) {  // the leak check speaks
  Server server;
  asio::io_context io(1);
  Client client(io, server.patient());
  client.start();
  auto pop = [&]() -> async<> {
    co_await client.wait_healthy(30s);
    co_await client.command("BLPOP", "queue", 0);
  };
  asio::co_spawn(io, pop(), asio::detached);
  while (client.stats().in_flight < 1) io.run_one();
}

// A server that greets like Redis and then says what the test wants.
class Impostor {
 public:
  explicit Impostor(asio::io_context& io, std::string answer)
      : answer_(std::move(answer)), acceptor_(io, asio::local::stream_protocol::endpoint(dir_ / "sock")) {
    asio::co_spawn(io, serve(), asio::detached);
  }
  Settings settings() const {
    auto settings = Settings::parse(dir_ / "sock");
    settings.breaker_open = 50ms;
    settings.reply_deadline = 60s;
    return settings;
  }
  void close() { acceptor_.close(); }

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::local::stream_protocol, Executor>;
  using Peer = asio::basic_stream_socket<asio::local::stream_protocol, Executor>;

  async<> serve() {
    for (;;) {
      Peer peer(acceptor_.get_executor());
      co_await acceptor_.async_accept(peer, awaiting);
      asio::co_spawn(acceptor_.get_executor(), talk(std::move(peer), answer_), asio::detached);
    }
  }
  static async<> talk(Peer peer, std::string answer) {
    std::string line;
    auto input = asio::dynamic_buffer(line);
    co_await asio::async_read_until(peer, input, "PING\r\n", awaiting);
    line.clear();
    auto pong = asio::buffer("+PONG\r\n", 7);
    co_await asio::async_write(peer, pong, awaiting);
    co_await asio::async_read_until(peer, input, "\r\n", awaiting);
    auto bytes = asio::buffer(answer);
    co_await asio::async_write(peer, bytes, awaiting);
    co_await asio::async_read_until(peer, input, "never", awaiting);
  }

  TempDir dir_;
  std::string answer_;
  Acceptor acceptor_;
};

class ConnectionInDoubt : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(ConnectionInDoubt, IsClosedAndNeverUsedAgain) {
  asio::io_context io(1);
  const auto answer = GetParam().first, problem = GetParam().second;
  Impostor impostor(io, answer);
  auto settings = impostor.settings();
  std::vector<std::string> problems;
  settings.on_change = [&](std::string_view text) { problems.emplace_back(text); };
  Client client(io, settings);
  run(io, [&]() -> async<> {
    client.start();
    for (int round = 0; round < 2; ++round) {
      auto healthy = co_await client.wait_healthy(30s);
      EXPECT_TRUE(healthy);
      auto first = co_await client.command("PING");
      while (client.healthy()) co_await next_turn();
      auto second = co_await client.command("PING");
      EXPECT_EQ(text_of(first), answer.starts_with("+one") ? "one" : "(away)");
      EXPECT_FALSE(second);
    }
    EXPECT_EQ(client.stats().connects, 2u);
    co_await client.close();
    impostor.close();
  });
  EXPECT_EQ(problems, (std::vector{""s, problem, ""s, problem}));
}

INSTANTIATE_TEST_SUITE_P(Answers, ConnectionInDoubt,
                         testing::Values(std::pair("HTTP/1.1 400 Bad Request\r\n\r\n"s,
                                                   "the answer is not Redis protocol"s),
                                         std::pair("+one\r\n+two\r\n"s, "a reply that nothing asked for"s)));

}  // namespace
}  // namespace cairn::redis
