#include "http/listener.hpp"
#include "http/parser.hpp"
#include "http/static_files.hpp"
#include "http/uri.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <filesystem>
#include <future>
#include <stdexcept>
#include <thread>

namespace cairn::http {
namespace {

using namespace std::chrono_literals;
using testing::AllOf, testing::ElementsAre, testing::HasSubstr, testing::Not, testing::StartsWith;
using testing::EndsWith, testing::Optional, testing::Pair;
namespace asio = boost::asio;

// ---- the parser alone ----

Limits small_limits() {
  Limits limits;
  limits.header_bytes = 400;
  limits.headers = 5;
  limits.body_bytes = 60;
  limits.target_bytes = 100;
  return limits;
}

// What a parser made of the bytes, in words; they arrive in pieces of at most `piece` bytes, the first of `first`.
std::vector<std::string> parse(std::string_view bytes, std::size_t first, std::size_t piece, Limits const& limits) {
  Parser parser{limits, {}};
  std::vector<std::string> said;
  for (;;) {
    auto const step = parser.step();
    auto const& request = parser.request();
    if (step == Parser::Step::fault) {
      said.push_back(std::to_string(parser.status()));
      return said;
    }
    if (step == Parser::Step::complete) {
      auto line = fmt::format("{} {}|{}|{}|{}", request.method_text, request.path, request.query, request.body,
                              parser.keep_alive());
      for (auto const& [name, value] : request.headers) line += fmt::format("|{}={}", name, value);
      said.push_back(line);
      parser.next();
      continue;
    }
    if (bytes.empty()) return said;
    auto const space = parser.space();
    EXPECT_FALSE(space.empty());
    auto const size = bytes.copy(space.data(), std::min({std::exchange(first, piece), piece, space.size()}));
    bytes.remove_prefix(size);
    parser.commit(size);
  }
}

std::vector<std::string> parse(std::string_view bytes) {
  return parse(bytes, bytes.size(), bytes.size(), small_limits());
}

std::string get(std::string_view target, std::string_view fields = "Host: a\r\n") {
  return fmt::format("GET {} HTTP/1.1\r\n{}\r\n", target, fields);
}
std::string post(std::string_view fields, std::string_view body) {
  return fmt::format("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n{}", fields, body);
}

TEST(Parser, SplitsARequestIntoItsParts) {
  EXPECT_THAT(parse("PATCH /a/b%20c?x=1&y HTTP/1.1\r\nHost: a:80\r\nX-One:  two \t\r\nContent-Length: 3\r\n\r\nabc"),
              ElementsAre("PATCH /a/b%20c|x=1&y|abc|true|Host=a:80|X-One=two|Content-Length=3"));
}

TEST(Parser, ReadsTheSameWhateverTheSplit) {
  std::string const good =
      get("/1") + "\r\n" + post("Content-Length: 5\r\n", "12345") + get("/2?q", "Host: b\r\nA: b\r\n") +
      post("Transfer-Encoding: chunked\r\n", "3;x=\"y\"\r\nabc\r\n0a\r\n0123456789\r\n0\r\nT: u\r\n\r\n") +
      "GET http://h/3 HTTP/1.0\r\n\r\n";
  std::vector<std::string> inputs = {
      good,
      good + get("/" + std::string(100, 'x')),
      good + "GET / HTTP/2.0\r\n\r\n",
      good + get("/", "Host : a\r\n"),
      good + get("/", "Host: a\r\nA: b\r\n c\r\n"),
      good + get("/", "A: " + std::string(400, 'x')),
      good + get("/", "A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\nF: 1\r\n"),
      good + get("/", "Host: a\nA: b\r\n"),
      good + post("Content-Length: 61\r\n", "x"),
      good + post("Transfer-Encoding: chunked\r\n", "3c\r\n" + std::string(60, 'x') + "\r\n1\r\nx\r\n0\r\n\r\n"),
      good + post("Transfer-Encoding: chunked\r\n", "1\r\nxx\r\n"),
      good + post("Transfer-Encoding: chunked\r\n", "0\r\n" + std::string(401, 't')),
      good + "\x16\x03\x01\x02",
  };
  for (auto const& input : inputs) {
    auto const whole = parse(input);
    ASSERT_GE(whole.size(), 5u) << input;
    for (std::size_t first = 1; first < input.size(); ++first)
      ASSERT_EQ(parse(input, first, input.size(), small_limits()), whole) << "split at " << first << " of " << input;
    for (std::size_t piece = 1; piece < 40; ++piece)
      ASSERT_EQ(parse(input, piece, piece, small_limits()), whole) << "pieces of " << piece << " of " << input;
  }
}

TEST(Parser, RefusesAHeaderBeforeItIsComplete) {
  EXPECT_THAT(parse("GET /" + std::string(100, 'x')), ElementsAre("414"));
  EXPECT_THAT(parse("GET / HTTP/1.1\r\nA: " + std::string(400, 'x')), ElementsAre("431"));
  EXPECT_THAT(parse("GET / HTTP/1.1\r\nA:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\nF:1\r\n"), ElementsAre("431"));
  EXPECT_THAT(parse(std::string(33, 'X')), ElementsAre("501"));
  EXPECT_THAT(parse(std::string_view{"GET\0", 4}), ElementsAre("400"));
}

TEST(Parser, TakesWhatIsExactlyAtTheLimits) {
  auto const target = "/" + std::string(99, 'x');
  EXPECT_THAT(parse(get(target)), ElementsAre(StartsWith("GET " + target)));
  EXPECT_THAT(parse(get(target + "x")), ElementsAre("414"));
  auto const fields = "Host: a\r\nB:1\r\nC:1\r\nD:1\r\n";
  auto const padding = 400 - get("/", fields).size() - 4;
  EXPECT_THAT(parse(get("/", fields + fmt::format("A:{}\r\n", std::string(padding, 'x')))),
              ElementsAre(StartsWith("GET /|")));
  EXPECT_THAT(parse(get("/", fields + fmt::format("A:{}\r\n", std::string(padding + 1, 'x')))), ElementsAre("431"));
  EXPECT_THAT(parse(post("Content-Length: 60\r\n", std::string(60, 'x'))), ElementsAre(StartsWith("POST /|")));
  EXPECT_THAT(parse(post("Content-Length: 61\r\n", "")), ElementsAre("413"));
  EXPECT_THAT(parse(post("Transfer-Encoding: chunked\r\n", "3d\r\n")), ElementsAre("413"));
}

TEST(Parser, RefusesEveryAmbiguityAboutTheBodysEnd) {
  for (std::string_view fields : {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                                  "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                                  "Content-Length: 3\r\nContent-Length: 3\r\n",
                                  "Content-Length: 3\r\nContent-Length: 4\r\n",
                                  "Content-Length: 3, 3\r\n",
                                  "Content-Length: +3\r\n",
                                  "Content-Length: -3\r\n",
                                  "Content-Length: 0x3\r\n",
                                  "Content-Length: 3 3\r\n",
                                  "Content-Length:\r\n",
                                  "Content-Length: 99999999999999999999\r\n",
                                  "Content-Length : 3\r\n",
                                  " Content-Length: 3\r\n",
                                  "X: y\r\n Content-Length: 3\r\n",
                                  "Transfer-Encoding: chunked, identity\r\n",
                                  "Transfer-Encoding: xchunke\r\n",
                                  "Transfer-Encoding:\r\n",
                                  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                  "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
                                  "Transfer-Encoding : chunked\r\n",
                                  "Transfer-Encoding\t: chunked\r\n",
                                  "X: y\nTransfer-Encoding: chunked\r\n",
                                  "X: y\rZ: 1\r\n",
                                  "X\r\n",
                                  ": y\r\n",
                                  "X y: z\r\n",
                                  "X: a\x01\r\n",
                                  "X: a\x7f\r\n"})
    EXPECT_THAT(parse(post(fields, "abc")), ElementsAre("400")) << fields;
  EXPECT_THAT(parse(post(std::string_view{"X: a\0b\r\n", 8}, "")), ElementsAre("400"));
  EXPECT_THAT(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), ElementsAre("400"));
  EXPECT_THAT(parse(post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")), ElementsAre("501"));
  EXPECT_THAT(parse(post("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n")), ElementsAre(StartsWith("POST /|||")));
}

TEST(Parser, RefusesAMalformedChunk) {
  for (std::string_view body :
       {"x\r\n", "\r\n", "1\n", "1 \r\na\r\n", "0x1\r\na\r\n", "-1\r\n", "1;a\n", "1;\x01\r\n", "1\r\naa", "1\r\na\n",
        "1\r\na\rx", "0\r\nA: b\n", "0\r\nA: b\r\n c\r\n", "0\r\n\rx", "00000000000000001\r\n"})
    EXPECT_THAT(parse(post("Transfer-Encoding: chunked\r\n", body)), ElementsAre("400")) << body;
  EXPECT_THAT(parse(post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n")), ElementsAre("413"));
}

TEST(Parser, WantsExactlyOneHost) {
  EXPECT_THAT(parse(get("/", "")), ElementsAre("400"));
  EXPECT_THAT(parse(get("/", "Host: a\r\nHost: a\r\n")), ElementsAre("400"));
  EXPECT_THAT(parse(get("/", "Host: a/b\r\n")), ElementsAre("400"));
  EXPECT_THAT(parse(get("/", "Host: u@b\r\n")), ElementsAre("400"));
  EXPECT_THAT(parse(get("/", "Host: [::1]:80\r\n")), ElementsAre(StartsWith("GET /|")));
  EXPECT_THAT(parse("GET / HTTP/1.0\r\n\r\n"), ElementsAre("GET /|||false"));
}

TEST(Parser, KnowsTheFormsOfATarget) {
  EXPECT_THAT(parse(get("http://example.org:80/a?b")), ElementsAre(StartsWith("GET /a|b|")));
  EXPECT_THAT(parse(get("HTTPS://example.org")), ElementsAre(StartsWith("GET /||")));
  EXPECT_THAT(parse(get("http://example.org?b")), ElementsAre(StartsWith("GET /|b|")));
  EXPECT_THAT(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), ElementsAre(StartsWith("OPTIONS *||")));
  for (auto target : {"*", "a", "http://", "http:///a", "http://u@h/a", "/a#b", "/%", "/%4", "/%zz", "/%00", "/?a=%00",
                      "/%ff", "/?%c3%28", "/%ed%a0%80", "/\xff"})
    EXPECT_THAT(parse(get(target)), ElementsAre("400")) << target;
  EXPECT_THAT(parse(get("/\xc3\xa4?%C3%A4")), ElementsAre(StartsWith("GET /\xc3\xa4|%C3%A4|")));
  EXPECT_THAT(parse("CONNECT h:1 HTTP/1.1\r\nHost: a\r\n\r\n"), ElementsAre("501"));
}

TEST(Parser, TellsAnUnknownVersionFromAMalformedOne) {
  for (auto version : {"HTTP/1.2", "HTTP/2.0", "HTTP/0.9"})
    EXPECT_THAT(parse(fmt::format("GET / {}\r\nHost: a\r\n\r\n", version)), ElementsAre("505")) << version;
  for (auto version : {"HTTP/1", "HTTP/11.1", "http/1.1", "HTTP/1.1 ", "", "ICY/1.1"})
    EXPECT_THAT(parse(fmt::format("GET / {}\r\nHost: a\r\n\r\n", version)), ElementsAre("400")) << version;
  EXPECT_THAT(parse("GET /\r\n\r\n"), ElementsAre("400"));
}

TEST(Parser, ForgivesOneEmptyLineBeforeARequest) {
  EXPECT_THAT(parse("\r\n" + get("/")), ElementsAre(StartsWith("GET /|")));
  EXPECT_THAT(parse("\r\n\r\n" + get("/")), ElementsAre("400"));
}

TEST(Parser, FollowsVersionAndConnectionField) {
  auto const keeps = [](std::string_view version, std::string_view connection) {
    auto const said = parse(fmt::format("GET / HTTP/{}\r\nHost: a\r\nConnection: {}\r\n\r\n", version, connection));
    return said.at(0).starts_with("GET /|||true");
  };
  EXPECT_TRUE(keeps("1.1", "x"));
  EXPECT_FALSE(keeps("1.1", "x, Close"));
  EXPECT_FALSE(keeps("1.0", "x"));
  EXPECT_TRUE(keeps("1.0", "Keep-Alive"));
}

TEST(Request, FindsAFieldWhateverItsCase) {
  std::string const name = "X-REQUEST-id";
  Request request;
  request.headers = {{name, "1"}, {"x-request-id", "2"}};
  EXPECT_THAT(request.header("x-request-id"), Optional(std::string_view{"1"}));
  EXPECT_EQ(request.header("x-request"), std::nullopt);
}

TEST(Response, RefusesWhatWouldBreakTheHeader) {
  Response response;
  EXPECT_THROW(response.add_header("X", "a\r\nB: c"), std::invalid_argument);
  EXPECT_THROW(response.add_header("X", "a\n"), std::invalid_argument);
  EXPECT_THROW(response.add_header("X", std::string_view{"\0", 1}), std::invalid_argument);
  EXPECT_THROW(response.add_header("X:", "a"), std::invalid_argument);
  EXPECT_THROW(response.add_header("", "a"), std::invalid_argument);
  EXPECT_THROW(response.add_header("Content-LENGTH", "1"), std::invalid_argument);
  EXPECT_EQ(response.fields(), "");
}

TEST(PercentDecode, DecodesOnceAndRefusesWhatIsNotText) {
  EXPECT_EQ(percent_decode("a%20b+c%2525"), "a b+c%25");
  EXPECT_EQ(percent_decode("%c3%A4%F0%9f%98%80"), "ä😀");
  for (auto text : {"%", "%2", "%2g", "%g2", "%00", "%80", "%c3", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%+1"})
    EXPECT_EQ(percent_decode(text), std::nullopt) << text;
  EXPECT_EQ(percent_decode(std::string_view{"a\0", 2}), std::nullopt);
}

std::vector<std::pair<std::string, std::string>> pairs(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> result;
  for (auto const& [name, value] : Query{text}) result.emplace_back(name, value);
  return result;
}

TEST(Query, SplitsAndDecodesPairs) {
  EXPECT_THAT(pairs("a=1&b=x+y%2B&&c&d==&=e&"),
              ElementsAre(Pair("a", "1"), Pair("b", "x y+"), Pair("c", ""), Pair("d", "="), Pair("", "e")));
  EXPECT_THAT(pairs(""), ElementsAre());
  EXPECT_THAT(pairs("a=1&b=%00&c=2"), ElementsAre(Pair("a", "1")));
  EXPECT_THAT(Query{"a=1&%62=2&b=3"}.value("b"), Optional(std::string{"2"}));
  EXPECT_EQ(Query{"a=1"}.value("b"), std::nullopt);
}

// ---- over sockets ----

class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(to);
  }
  explicit Client(std::string const& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    connect(to);
  }
  Client(Client const&) = delete;
  Client& operator=(Client const&) = delete;
  ~Client() { ::close(socket_); }

  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      auto const sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) return;  // the server has closed: what it said first can still be read
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  // One reply with its content, as many 1xx before it as there are; "" when the server has closed.
  std::string reply(bool with_content = true) {
    while (received_.find("\r\n\r\n") == received_.npos)
      if (!receive()) return std::exchange(received_, {});
    auto const head = received_.find("\r\n\r\n") + 4;
    auto const field = std::string_view{received_}.substr(0, head).find("\r\nContent-Length: ");
    auto const length = field == received_.npos || !with_content ? 0 : std::stoul(received_.substr(field + 18));
    while (received_.size() < head + length)
      if (!receive()) return std::exchange(received_, {});
    auto const whole = received_.substr(0, head + length);
    received_.erase(0, whole.size());
    return whole;
  }

  // Everything up to and with that text, or until the server closes.
  std::string until(std::string_view text) {
    while (received_.find(text) == received_.npos)
      if (!receive()) return std::exchange(received_, {});
    auto const whole = received_.substr(0, received_.find(text) + text.size());
    received_.erase(0, whole.size());
    return whole;
  }

  // Everything until the server closes.
  std::string rest() {
    while (receive()) {}
    return std::exchange(received_, {});
  }

  // Closes with a reset, as a process that dies with unread data does.
  void reset() const {
    linger const now{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  // The server closed with bytes unread, which may have cost the client its reply.
  bool was_reset() const { return was_reset_; }
  void finish_sending() const { ::shutdown(socket_, SHUT_WR); }

 private:
  template<class Address>
  void connect(Address const& to) {
    timeval const patience{20, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::connect(socket_, reinterpret_cast<sockaddr const*>(&to), sizeof to) != 0)
      throw std::system_error{errno, std::system_category(), "connect"};
  }

  bool receive() {
    char bytes[65536];
    auto const size = ::recv(socket_, bytes, sizeof bytes, 0);
    if (size < 0 && errno == EAGAIN) ADD_FAILURE() << "no answer; so far: " << received_;
    was_reset_ = size < 0 && errno == ECONNRESET;
    if (size <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(size));
    return true;
  }

  int socket_;
  std::string received_;
  bool was_reset_ = false;
};

// Three pieces, and then what its path says.
class Pieces : public Source {
 public:
  Pieces(asio::io_context& io, std::string_view path, int& asked)
      : stopped_(io, asio::steady_timer::time_point::max()), path_(path), asked_(asked) {}

  async<void> next(std::string& piece) override {
    ++asked_;
    if (path_ == "/stream/flood") {
      piece.append(64 * 1024, 'x');
    } else if (++made_ <= 3) {
      piece = fmt::format("piece {}\n", made_);
    } else if (path_ == "/stream/cut") {
      throw std::runtime_error("secret");
    } else if (path_ == "/stream/endless" && made_ == 4) {
      co_await stopped_.async_wait(asio::as_tuple(awaiting));
      piece = "stopped\n";
    }
  }
  void stop() override { stopped_.cancel(); }

 private:
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>
      stopped_;
  std::string const path_;
  int& asked_;
  int made_ = 0;
};

Listener::Endpoint loopback() { return asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(), 0}; }

// A server in its own thread. "/hold" waits until release(), the rest of its little world is in handle().
class Server {
 public:
  explicit Server(Limits limits = {}, Listener::Endpoint const& where = loopback())
      : gate_(io_, asio::steady_timer::time_point::max()),
        listener_(
            std::in_place, io_, where, limits,
            [this](auto const& request, auto& response) { return handle(request, response); }, render) {
    listener_->start();
    thread_ = std::thread{[this] { io_.run(); }};
  }
  ~Server() {
    call([this] { listener_.reset(), gate_.cancel(), work_.reset(); });
    thread_.join();  // returns only when no session is left
  }

  std::uint16_t port() const { return listener_->port(); }
  void drain() {
    call([this] { listener_->drain(); });
  }
  // `first` and the drain in one turn of the event loop.
  void drain_after(std::function<void()> const& first) {
    call([&] { first(), listener_->drain(); });
  }
  std::size_t sessions() {
    return call([this] { return listener_->sessions(); });
  }
  void release() {
    call([this] { gate_.cancel(); });
  }
  void wait_until_held() { held_.get_future().wait(); }
  int handled() {
    return call([this] { return handled_; });
  }
  // How many pieces of streams.
  int asked() {
    return call([this] { return asked_; });
  }

 private:
  static void render(Request const&, std::string_view detail, Response& response) {
    response.content_type = "application/problem+json";
    response.body() += fmt::format(R"({{"status":{},"detail":"{}"}})", response.status, detail);
  }

  async<void> handle(Request const& request, Response& response) {
    ++handled_;
    response.content_type = "text/plain";
    auto& body = response.body();
    if (request.path == "/hold") {
      held_.set_value();
      co_await gate_.async_wait(asio::as_tuple(awaiting));
      body += "released";
    } else if (request.path.starts_with("/stream")) {
      response.stream(std::make_shared<Pieces>(io_, request.path, asked_));
    } else if (request.path == "/throw") {
      body += "half a reply";
      throw std::runtime_error("secret");
    } else if (request.path == "/bad-type") {
      response.content_type = "a\r\nB: c";
    } else if (request.path == "/large") {
      body.append(8'000'000, 'x');
    } else if (request.path == "/huge") {
      body.append(64'000'000, 'x');  // more than the kernel keeps for the two sides
    } else if (request.path == "/shared") {
      response.body_view(std::make_shared<const std::string>(100'000, 's'));
    } else if (request.path == "/empty") {
      response.status = 204;
    } else {
      body += fmt::format("{} {} {} {}", request.method_text, request.target, request.peer.to_string(), request.body);
    }
  }

  template<class F>
  std::invoke_result_t<F> call(F f) {
    std::packaged_task<std::invoke_result_t<F>()> task{std::move(f)};
    auto result = task.get_future();
    asio::post(io_, std::move(task));
    return result.get();
  }

  asio::io_context io_{1};
  asio::executor_work_guard<Executor> work_{io_.get_executor()};
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor> gate_;
  std::promise<void> held_;
  int handled_ = 0, asked_ = 0;
  std::optional<Listener> listener_;
  std::thread thread_;
};

Limits quick(std::chrono::milliseconds Limits::*which) {
  Limits limits;
  limits.*which = 150ms;
  return limits;
}

TEST(Server, AnswersAndKeepsTheConnection) {
  Server server;
  Client client{server.port()};
  for (auto path : {"/1", "/2"}) {
    client.send(get(path));
    auto const reply = client.reply();
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
    EXPECT_THAT(reply, HasSubstr(" GMT\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n"));
    EXPECT_THAT(reply, EndsWith(fmt::format("\r\n\r\nGET {} 127.0.0.1 ", path)));
  }
  EXPECT_EQ(server.sessions(), 1u);
}

TEST(Server, AnswersAHundredPipelinedRequestsInOrder) {
  Server server;
  Client client{server.port()};
  std::string requests;
  for (int i = 0; i < 100; ++i)
    requests += i % 3 == 0 ? post("Content-Length: 2\r\n", fmt::format("{:02}", i)) : get(fmt::format("/{:02}", i));
  client.send(requests);
  for (int i = 0; i < 100; ++i)
    EXPECT_THAT(client.reply(),
                EndsWith(i % 3 == 0 ? fmt::format(" {:02}", i) : fmt::format("GET /{:02} 127.0.0.1 ", i)));
}

TEST(Server, MixesLargeAndSmallRepliesInAPipeline) {
  Server server;
  Client client{server.port()};
  client.send(get("/1") + get("/shared") + get("/large") + get("/2") + get("/shared"));
  EXPECT_THAT(client.reply(), EndsWith("GET /1 127.0.0.1 "));
  EXPECT_THAT(client.reply(), EndsWith("\r\n\r\n" + std::string(100'000, 's')));
  EXPECT_THAT(client.reply(), AllOf(HasSubstr("Content-Length: 8000000\r\n"), EndsWith("xxx")));
  EXPECT_THAT(client.reply(), EndsWith("GET /2 127.0.0.1 "));
  EXPECT_THAT(client.reply(), EndsWith(std::string(100'000, 's')));
}

TEST(Server, ClosesWhenTheClientAsksForIt) {
  Server server;
  Client one{server.port()};
  one.send(get("/", "Host: a\r\nConnection: close\r\n") + get("/never"));
  EXPECT_THAT(one.rest(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("GET / 127.0.0.1 ")));
  Client two{server.port()};
  two.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(two.rest(), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Connection: close\r\n")));
  Client three{server.port()};
  three.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(three.reply(), HasSubstr("Connection: keep-alive\r\n"));
  three.send(get("/again"));
  EXPECT_THAT(three.reply(), HasSubstr("GET /again"));
}

TEST(Server, AnswersAClientThatHasFinishedSending) {
  Server server;
  Client client{server.port()};
  client.send(get("/1") + get("/2"));
  client.finish_sending();
  EXPECT_THAT(client.rest(), AllOf(HasSubstr("GET /1"), EndsWith("GET /2 127.0.0.1 ")));
}

TEST(Server, LeavesOutTheContentWhereHttpForbidsIt) {
  Server server;
  Client client{server.port()};
  client.send("HEAD /shared HTTP/1.1\r\nHost: a\r\n\r\n" + get("/empty") + get("/after"));
  EXPECT_THAT(client.reply(false), AllOf(HasSubstr("Content-Length: 100000\r\n"), EndsWith("\r\n\r\n")));
  EXPECT_THAT(client.reply(), AllOf(StartsWith("HTTP/1.1 204 No Content\r\n"), Not(HasSubstr("Content-Length"))));
  EXPECT_THAT(client.reply(), EndsWith("GET /after 127.0.0.1 "));
}

TEST(Server, AsksForTheBodyThatAwaitsAContinue) {
  Server server;
  Client client{server.port()};
  client.send(get("/before") + post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""));
  EXPECT_THAT(client.reply(), EndsWith("GET /before 127.0.0.1 "));
  EXPECT_EQ(client.reply(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("abc");
  EXPECT_THAT(client.reply(), EndsWith(" abc"));
  client.send(post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", ""));
  EXPECT_EQ(client.reply(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("3\r\nabc\r\n0\r\n\r\n");
  EXPECT_THAT(client.reply(), EndsWith(" abc"));
  client.send(post("Expect: 100-continue\r\nContent-Length: 9999999\r\n", ""));
  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 413 "));
}

TEST(Server, ReadsBodiesLargerThanItsBuffer) {
  Server server;
  Client client{server.port()};
  std::string const text(1024 * 1024, 'b');
  client.send(post(fmt::format("Content-Length: {}\r\n", text.size()), text));
  EXPECT_THAT(client.reply(), EndsWith(" 127.0.0.1 " + text));
  client.send(post("Transfer-Encoding: chunked\r\n", fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", text.size(), text)) +
              get("/next"));
  EXPECT_THAT(client.reply(), EndsWith(" 127.0.0.1 " + text));
  EXPECT_THAT(client.reply(), HasSubstr("GET /next"));
}

TEST(Server, RendersEveryProtocolErrorAndCloses) {
  Server server;
  auto const chunked = "Transfer-Encoding: chunked\r\n";
  std::vector<std::pair<int, std::string>> const cases = {
      {400, get("/%00")},
      {400, post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "abc")},
      {413, post("Content-Length: 1048577\r\n", std::string(200'000, 'x'))},
      {413, post(chunked, fmt::format("{:x}\r\n", 1048577))},
      {414, get("/" + std::string(9000, 'x'))},
      {417, get("/", "Host: a\r\nExpect: miracles\r\n")},
      {431, get("/", "A: " + std::string(20'000, 'x'))},
      {431, "HEAD / HTTP/1.1\r\nA: " + std::string(20'000, 'x')},
      {500, get("/throw")},
      {500, get("/bad-type")},
      {501, post("Transfer-Encoding: gzip, chunked\r\n", "")},
      {505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n"},
  };
  for (auto const& [status, request] : cases) {
    Client client{server.port()};
    client.send(get("/before") + request + get("/never"));
    EXPECT_THAT(client.reply(), HasSubstr("/before"));
    auto const reply = client.rest();
    EXPECT_THAT(reply, AllOf(StartsWith(fmt::format("HTTP/1.1 {} ", status)), HasSubstr("Connection: close\r\n")));
    EXPECT_THAT(reply, AllOf(HasSubstr("Content-Type: application/problem+json\r\n"), EndsWith("\"}")));
    EXPECT_THAT(reply, HasSubstr(fmt::format("{{\"status\":{}", status)));
    EXPECT_THAT(reply, Not(HasSubstr("secret")));
    EXPECT_FALSE(client.was_reset()) << status;
  }
}

TEST(Server, GivesUpOnASlowHeader) {
  Server server{quick(&Limits::header_time)};
  Client client{server.port()};
  client.send("GET / HTT");
  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
}

TEST(Server, GivesUpOnAHeaderThatDripsIn) {
  Server server{quick(&Limits::header_time)};
  Client client{server.port()};
  std::jthread const drip{[&client](std::stop_token const& stop) {
    client.send("GET / HTTP/1.1\r\nX: ");
    while (!stop.stop_requested()) {
      client.send("x");
      std::this_thread::sleep_for(1ms);
    }
  }};
  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 408 "));
}

TEST(Server, GivesUpOnASlowBody) {
  Server server{quick(&Limits::body_time)};
  Client client{server.port()};
  client.send(post("Content-Length: 10\r\n", "12345"));
  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 408 "));
}

TEST(Server, ClosesAnIdleConnectionSilently) {
  Server server{quick(&Limits::idle_time)};
  Client fresh{server.port()}, used{server.port()};
  used.send(get("/"));
  EXPECT_THAT(used.reply(), HasSubstr("200 OK"));
  EXPECT_EQ(used.rest(), "");
  EXPECT_EQ(fresh.rest(), "");
}

TEST(Server, GivesUpOnAReaderThatDoesNotRead) {
  Server server{quick(&Limits::write_time)};
  Client client{server.port()};
  client.send(get("/huge"));
  while (server.handled() == 0 || server.sessions() > 0) std::this_thread::yield();
  EXPECT_LT(client.rest().size(), 64'000'000u);
}

TEST(Server, AHandlerMayTakeLongerThanAnyLimit) {
  Limits limits;
  limits.header_time = limits.body_time = limits.idle_time = limits.write_time = 20ms;
  Server server{limits};
  Client client{server.port()}, idle{server.port()};
  client.send(get("/hold"));
  server.wait_until_held();
  EXPECT_EQ(idle.rest(), "");  // the sweep has passed
  server.release();
  EXPECT_THAT(client.reply(), EndsWith("released"));
}

TEST(Server, DrainFinishesRequestsAndClosesIdleConnections) {
  Server server;
  Client busy{server.port()}, begun{server.port()}, idle{server.port()};
  busy.send(get("/hold"));
  server.wait_until_held();
  idle.send(get("/"));
  EXPECT_THAT(idle.reply(), HasSubstr("200 OK"));
  begun.send(post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""));
  EXPECT_THAT(begun.reply(), StartsWith("HTTP/1.1 100 "));
  server.drain();
  EXPECT_EQ(idle.rest(), "");
  EXPECT_THROW(Client{server.port()}, std::system_error);
  begun.send("abc");
  EXPECT_THAT(begun.rest(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith(" abc")));
  server.release();
  EXPECT_THAT(busy.rest(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("released")));
}

TEST(Server, DrainAnswersARequestItHasNotYetRead) {
  Server server;
  Client client{server.port()};
  client.send(get("/1"));
  EXPECT_THAT(client.reply(), HasSubstr("/1"));
  server.drain_after([&client] { client.send(get("/2")); });
  EXPECT_THAT(client.rest(), AllOf(HasSubstr("Connection: close\r\n"), EndsWith("GET /2 127.0.0.1 ")));
}

constexpr std::string_view all_pieces = "\r\n\r\n8\r\npiece 1\n\r\n8\r\npiece 2\n\r\n8\r\npiece 3\n\r\n0\r\n\r\n";

TEST(Server, SendsContentWhileItIsMade) {
  Server server;
  Client client{server.port()};
  client.send(get("/before") + get("/stream") + get("/stream") + get("/after"));
  EXPECT_THAT(client.reply(), EndsWith("GET /before 127.0.0.1 "));
  for (int i = 0; i < 2; ++i) {
    auto const reply = client.until("\r\n0\r\n\r\n");
    EXPECT_THAT(reply, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith(all_pieces)));
    EXPECT_THAT(reply, AllOf(HasSubstr("\r\nTransfer-Encoding: chunked\r\n"), Not(HasSubstr("Content-Length"))));
  }
  EXPECT_THAT(client.reply(), EndsWith("GET /after 127.0.0.1 "));
}

TEST(Server, SendsItToOldClientsUntilTheConnectionCloses) {
  Server server;
  Client client{server.port()};
  client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  auto const reply = client.rest();
  EXPECT_THAT(reply, AllOf(HasSubstr("\r\nConnection: close\r\n"), Not(HasSubstr("Transfer-Encoding"))));
  EXPECT_THAT(reply, EndsWith("\r\n\r\npiece 1\npiece 2\npiece 3\n"));
  EXPECT_FALSE(client.was_reset());
}

TEST(Server, MakesNoContentForAHeadRequest) {
  Server server;
  Client client{server.port()};
  client.send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" + get("/after"));
  EXPECT_THAT(client.reply(false), EndsWith("\r\n\r\n"));
  EXPECT_THAT(client.reply(), EndsWith("GET /after 127.0.0.1 "));
  EXPECT_EQ(server.asked(), 0);
}

TEST(Server, EndsContentWithoutAnEndWhenTheClientClosesOrTheServerDrains) {
  Server server;
  Client closing{server.port()}, draining{server.port()}, gone{server.port()};
  for (auto* client : {&closing, &draining, &gone}) {
    client->send(get("/stream/endless"));
    EXPECT_THAT(client->until("piece 3\n\r\n"), HasSubstr("200 OK"));
  }
  gone.send(get("/next"));  // what waits does not hide the end for good: the next piece finds out
  closing.finish_sending();
  EXPECT_THAT(closing.rest(), EndsWith("8\r\nstopped\n\r\n0\r\n\r\n"));
  EXPECT_EQ(server.sessions(), 2u);
  server.drain();
  EXPECT_THAT(draining.rest(), EndsWith("8\r\nstopped\n\r\n0\r\n\r\n"));
  EXPECT_THAT(gone.rest(), AllOf(HasSubstr("stopped\n\r\n0\r\n\r\n"), EndsWith("GET /next 127.0.0.1 ")));
}

TEST(Server, CutsContentThatCannotBeFinished) {
  Server server;
  Client modern{server.port()}, old{server.port()};
  modern.send(get("/stream/cut") + get("/never"));
  EXPECT_THAT(modern.rest(), Not(HasSubstr("\r\n0\r\n")));
  old.send("GET /stream/cut HTTP/1.0\r\n\r\n");
  old.rest();
  EXPECT_TRUE(old.was_reset());
  while (server.sessions() > 0) std::this_thread::yield();
}

TEST(Server, MakesNoMoreContentThanIsRead) {
  Server server{quick(&Limits::write_time)};
  Client client{server.port()};
  client.send(get("/stream/flood"));
  while (server.handled() == 0 || server.sessions() > 0) std::this_thread::yield();
  auto const made = static_cast<std::size_t>(server.asked()) * 64 * 1024;
  EXPECT_LT(made, 64'000'000u);
  EXPECT_LT(client.rest().size(), made + 64 * 1024);
}

TEST(Server, SurvivesAClientThatGoesWhileItsRequestRuns) {
  Server server;
  {
    Client client{server.port()};
    client.send(get("/hold") + get("/large"));
    server.wait_until_held();
    client.reset();
  }
  server.release();
  Client other{server.port()};
  other.send(get("/still"));
  EXPECT_THAT(other.reply(), HasSubstr("GET /still"));
  while (server.sessions() > 1) std::this_thread::yield();
}

TEST(Server, RefusesOneConnectionTooMany) {
  Limits limits;
  limits.connections = 2;
  Server server{limits};
  std::optional<Client> one{std::in_place, server.port()};
  Client two{server.port()};
  for (auto* client : {&*one, &two}) {
    client->send(get("/"));
    EXPECT_THAT(client->reply(), HasSubstr("200 OK"));
  }
  Client three{server.port()};
  EXPECT_THAT(three.rest(), AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\"}")));
  one.reset();
  while (server.sessions() > 1) std::this_thread::yield();
  Client four{server.port()};
  four.send(get("/"));
  EXPECT_THAT(four.reply(), HasSubstr("200 OK"));
}

TEST(Server, SharesAPortWithAnotherCore) {
  Server one;
  Server two{{}, asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(), one.port()}};
  while (one.handled() == 0 || two.handled() == 0) {
    Client client{one.port()};
    client.send(get("/"));
    EXPECT_THAT(client.reply(), HasSubstr("200 OK"));
  }
}

TEST(Server, ListensOnAUnixSocketAndReplacesAStaleFile) {
  auto const directory = std::filesystem::temp_directory_path() / fmt::format("cairn-http-{}", ::getpid());
  std::filesystem::create_directory(directory);
  auto const path = (directory / "socket").string();
  asio::local::stream_protocol::endpoint const where{path};
  {
    asio::io_context io;
    asio::local::stream_protocol::acceptor const left_behind{io, where};
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  {
    Server server{{}, where};
    EXPECT_EQ(server.port(), 0);
    EXPECT_THROW(Server({}, where), boost::system::system_error);
    Client client{path};
    client.send(get("/"));
    EXPECT_THAT(client.reply(), EndsWith("GET / 0.0.0.0 "));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  std::filesystem::remove_all(directory);
}

// ---- static files ----

class Static : public testing::Test {
 protected:
  Static() {
    Asset asset;
    asset.content_type = "text/css";
    asset.body = std::make_shared<const std::string>("body {}");
    asset.etag = "\"v1\"";
    asset.cache_control = "public, max-age=60";
    files_.add("/docs/a.css", std::move(asset));
  }
  Response serve(Method method, std::string_view path, std::string_view if_none_match = {}) {
    Request request;
    request.method = method;
    request.path = path;
    if (!if_none_match.empty()) request.headers.push_back({"If-None-Match", if_none_match});
    Response response;
    served_ = files_.serve(request, response);
    return response;
  }
  StaticFiles files_;
  bool served_ = false;
};

TEST_F(Static, ServesAnAssetWithItsValidators) {
  for (auto method : {Method::get, Method::head}) {
    auto const response = serve(method, "/docs/a.css");
    EXPECT_EQ(response.status, 200u);
    EXPECT_EQ(response.content(), "body {}");
    EXPECT_EQ(response.content_type, "text/css");
    EXPECT_EQ(response.fields(), "ETag: \"v1\"\r\nCache-Control: public, max-age=60\r\n");
  }
}

TEST_F(Static, SavesTheClientWhatItHas) {
  for (auto tags : {"\"v1\"", "W/\"v1\"", "*", "\"v0\" , \"v1\""}) {
    auto const response = serve(Method::get, "/docs/a.css", tags);
    EXPECT_EQ(response.status, 304u) << tags;
    EXPECT_EQ(response.content(), "");
    EXPECT_THAT(std::string{response.fields()}, HasSubstr("ETag: \"v1\"\r\n"));
  }
  EXPECT_EQ(serve(Method::get, "/docs/a.css", "\"v2\", v1").status, 200u);
}

TEST_F(Static, LeavesOtherPathsAndRefusesOtherMethods) {
  auto const other = serve(Method::get, "/docs/b.css");
  EXPECT_FALSE(served_);
  EXPECT_EQ(other.fields(), "");
  EXPECT_EQ(serve(Method::post, "/docs/a.css").status, 405u);
  EXPECT_TRUE(served_);
}

}  // namespace
}  // namespace cairn::http
