#include "redis/subscriber.hpp"

#include "redis/codec.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <chrono>
#include <vector>

namespace cairn::redis {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

using Stream = asio::generic::stream_protocol;
using Clock = std::chrono::steady_clock;
constexpr auto outcome = asio::as_tuple(awaiting);
constexpr std::chrono::seconds pause_between{1};

}  // namespace

class Subscriber::Core {
 public:
  Core(asio::io_context& io, Settings settings, std::string channel, std::function<void()> heard)
      : settings_(std::move(settings)),
        channel_(std::move(channel)),
        heard_(std::move(heard)),
        socket_(io.get_executor()),
        pause_(io.get_executor()) {}

  static async<> run(std::shared_ptr<Core> self) {
    while (!self->stopped_) {
      co_await self->listen();
      if (self->stopped_) break;
      self->pause_.expires_after(pause_between);
      co_await self->pause_.async_wait(outcome);
    }
  }

  void stop() {
    stopped_ = true;
    error_code ignored;
    socket_.close(ignored);
    pause_.cancel();
  }

  Executor executor() { return socket_.get_executor(); }

 private:
  // Until the connection ends.
  async<> listen() {
    error_code ignored;
    socket_.close(ignored);
    std::vector<Stream::endpoint> endpoints;
    if (!settings_.path.empty()) {
      endpoints.emplace_back(asio::local::stream_protocol::endpoint(settings_.path));
    } else {
      asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver(executor());
      const auto port = std::to_string(settings_.port);
      const auto [failure, found] = co_await resolver.async_resolve(settings_.host, port, outcome);
      if (failure) co_return;
      for (const auto& entry : found) endpoints.emplace_back(entry.endpoint());
    }
    bool connected = false;
    for (const auto& endpoint : endpoints) {
      if (stopped_) co_return;
      socket_.close(ignored);
      const auto [failure] = co_await socket_.async_connect(endpoint, outcome);
      connected = !failure;
      if (connected) break;
    }
    if (!connected || stopped_) co_return;
    socket_.set_option(asio::socket_base::keep_alive(true), ignored);

    std::vector<std::string_view> login{"AUTH"}, subscription{"SUBSCRIBE", channel_};
    if (!settings_.user.empty()) login.push_back(settings_.user);
    login.push_back(settings_.password);
    std::string wire;
    if (!settings_.password.empty()) wire += encode(login);
    wire += encode(subscription);
    const auto bytes = asio::buffer(wire);
    const auto [failure, sent] = co_await asio::async_write(socket_, bytes, outcome);
    if (failure) co_return;
    Decoder decoder;
    std::array<char, 4096> input;
    while (!stopped_ && !decoder.broken()) {
      const auto space = asio::buffer(input);
      const auto [error, size] = co_await socket_.async_read_some(space, outcome);
      if (error) co_return;
      decoder.feed(std::string_view(input.data(), size));
      // Many at once say no more than one. The first reply says that the subscription stands: what was published before
      // was not heard.
      bool any = false;
      while (decoder.next()) any = true;
      if (any && !stopped_) heard_();
    }
  }

  Settings settings_;
  std::string channel_;
  std::function<void()> heard_;
  asio::basic_stream_socket<Stream, Executor> socket_;
  asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor> pause_;
  bool stopped_ = false;
};

Subscriber::Subscriber(asio::io_context& io, Settings settings, std::string channel, std::function<void()> heard)
    : core_(std::make_shared<Core>(io, std::move(settings), std::move(channel), std::move(heard))) {}
Subscriber::~Subscriber() { core_->stop(); }
void Subscriber::start() { asio::co_spawn(core_->executor(), Core::run(core_), asio::detached); }
void Subscriber::stop() { core_->stop(); }

}  // namespace cairn::redis
