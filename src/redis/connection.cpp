#include "redis/connection.hpp"

#include "redis/codec.hpp"
#include "redis/pipeline.hpp"

#include <openssl/sha.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <list>
#include <random>
#include <utility>
#include <vector>

namespace cairn::redis {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

namespace {

using Clock = std::chrono::steady_clock;
using Stream = asio::generic::stream_protocol;
using Socket = asio::basic_stream_socket<Stream, Executor>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
using MaybeReply = std::optional<Reply>;
using Waiter = asio::async_result<asio::use_awaitable_t<Executor>, void(MaybeReply)>::handler_type;

constexpr auto outcome = asio::as_tuple(awaiting);
constexpr int overdue_sweeps_to_open = 3;
constexpr milliseconds first_pause{50};
constexpr std::size_t read_bytes = 16 * 1024;

// What lives and dies with one connection. Never reused once in doubt: what still comes belongs to nobody.
struct Link {
  explicit Link(const Executor& executor) : socket(executor), input(read_bytes) {}

  void close() {
    closed = true;
    error_code ignored;
    socket.close(ignored);
  }

  Socket socket;
  Decoder decoder;
  Pipeline<Waiter> pipeline;
  std::string pending;  // commands of this turn
  std::string sending;
  bool flushing = false;  // a flush is posted, or a write is under way
  bool closed = false;    // a closed socket does not tell: async_connect opens it again
  std::vector<char> input;
};

// Lets coroutines wait for a change of state.
class Signal {
 public:
  explicit Signal(Executor executor) : executor_(std::move(executor)) {}

  void notify() {
    for (auto& timer : timers_) timer.cancel();
  }
  async<void> wait_until(Clock::time_point end) {
    auto timer = timers_.emplace(timers_.end(), executor_, end);
    co_await timer->async_wait(outcome);
    timers_.erase(timer);
  }

 private:
  Executor executor_;
  std::list<Timer> timers_;
};

}  // namespace

Script::Script(std::string_view source) : source_(source) {
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(source_.data()), source_.size(), digest.data());
  for (auto byte : digest) {
    constexpr std::string_view hex = "0123456789abcdef";
    sha_ += hex[byte >> 4];
    sha_ += hex[byte & 15];
  }
}

class Client::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(asio::io_context& io, Settings settings)
      : executor_(io.get_executor()),
        settings_(std::move(settings)),
        timer_(executor_),
        sweeper_(executor_),
        changed_(executor_) {
    if (!settings_.path.empty()) endpoints_.emplace_back(asio::local::stream_protocol::endpoint(settings_.path));
  }

  void start() {
    if (std::exchange(running_, true)) return;
    // Nothing in run() is expected to throw: what does, must not pass unseen.
    asio::co_spawn(executor_, run(shared_from_this()), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }

  void stop() {
    if (std::exchange(stopping_, true)) return;
    if (connecting_) connecting_->close();
    drop(link_, {});
    announce("closed");
    timer_.cancel();
    sweeper_.cancel();
  }

  static async<void> stopped(std::shared_ptr<Core> self) {
    while (self->running_) co_await self->changed_.wait_until(Clock::time_point::max());
  }

  static async<bool> wait_healthy(std::shared_ptr<Core> self, Clock::time_point end) {
    while (!self->link_ && !self->stopping_ && Clock::now() < end) co_await self->changed_.wait_until(end);
    co_return self->healthy();
  }

  bool healthy() const { return link_ != nullptr; }
  std::string_view problem() const { return problem_; }

  Stats stats() const {
    auto stats = stats_;
    if (link_) stats.in_flight = link_->pipeline.size();
    return stats;
  }

  bool admits() {
    ++(link_ ? stats_.commands : stats_.refused);
    return healthy();
  }

  // Only when admitted.
  void enqueue(std::string_view wire, Waiter waiter) {
    auto slot = asio::get_associated_cancellation_slot(waiter);
    auto ticket = link_->pipeline.add(std::move(waiter), Clock::now() + settings_.reply_deadline);
    if (slot.is_connected()) {
      slot.assign([core = weak_from_this(), link = std::weak_ptr(link_), ticket](asio::cancellation_type) {
        auto self = core.lock();
        auto origin = link.lock();
        if (!self || !origin) return;
        if (auto cancelled = origin->pipeline.abandon(ticket)) self->finish(std::move(*cancelled), std::nullopt);
      });
    }
    link_->pending += wire;
    if (!std::exchange(link_->flushing, true)) {
      // Runs after everything that is ready now, so that one write takes the commands of the whole turn.
      asio::post(executor_, [self = shared_from_this(), link = link_] { self->flush(link); });
    }
    if (!std::exchange(sweeping_, true)) sweep_later();
  }

 private:
  // Posted, not called: what the waiter goes on to do, or to throw, is not this connection's business.
  void finish(Waiter waiter, MaybeReply reply) {
    asio::post(executor_, [waiter = std::move(waiter), reply = std::move(reply)]() mutable {
      std::move(waiter)(std::move(reply));
    });
  }

  static async<void> run(std::shared_ptr<Core> self) {
    while (!self->stopping_) {
      auto link = co_await self->connect();
      if (link) co_await self->read(link);
      if (!self->stopping_) co_await self->pause();
    }
    self->running_ = false;
    self->changed_.notify();
  }

  async<std::shared_ptr<Link>> connect() {
    auto link = connecting_ = std::make_shared<Link>(executor_);
    timer_.expires_after(settings_.connect_deadline);
    timer_.async_wait([link](error_code cancelled) {
      if (!cancelled) link->close();
    });
    auto problem = co_await greet(*link);
    timer_.cancel();
    connecting_ = nullptr;
    if (stopping_) co_return nullptr;
    if (link->closed) {
      silent_ = true;
      problem = "no answer in time";
    }
    if (!problem.empty()) {
      announce(std::move(problem));
      co_return nullptr;
    }
    ++stats_.connects;
    overdue_sweeps_ = 0;
    connected_at_ = Clock::now();
    link_ = link;
    announce({});
    co_return link;
  }

  // Connects, introduces ourselves and probes; what went wrong, or "".
  async<std::string> greet(Link& link) {
    auto endpoints = endpoints_;
    if (endpoints.empty()) {
      asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver(executor_);
      auto port = std::to_string(settings_.port);
      auto [error, found] = co_await resolver.async_resolve(settings_.host, port, outcome);
      if (error) co_return "resolve: " + error.message();
      for (const auto& entry : found) endpoints.emplace_back(entry.endpoint());
    }
    error_code failure, ignored;
    for (const auto& endpoint : endpoints) {
      if (link.closed) break;
      link.socket.close(ignored);  // of the attempt before
      auto [error] = co_await link.socket.async_connect(endpoint, outcome);
      failure = error;
      if (!failure) break;
    }
    if (failure || link.closed) co_return "connect: " + failure.message();
    link.socket.set_option(asio::ip::tcp::no_delay(true), ignored);  // a unix socket has no such option

    auto db = std::to_string(settings_.db);
    auto commands = introduction(db);
    std::string wire;
    for (const auto& command : commands) wire += redis::encode(command);
    auto bytes = asio::buffer(wire);
    auto [error, sent] = co_await asio::async_write(link.socket, bytes, outcome);
    if (error) co_return "write: " + error.message();

    for (const auto& command : commands) {
      auto reply = link.decoder.next();
      while (!reply && !link.decoder.broken()) {
        auto read_error = co_await receive(link);
        if (read_error) co_return std::string(command.front()) + ": " + read_error.message();
        reply = link.decoder.next();
      }
      if (!reply) co_return "the answer is not Redis protocol";
      // Only the code: Redis quotes the arguments of a command it does not know, and that may be the password.
      if (reply->is_error())
        co_return std::string(command.front()) + ": " + reply->text.substr(0, reply->text.find(' '));
    }
    co_return std::string();
  }

  std::vector<std::vector<std::string_view>> introduction(std::string_view db) const {
    std::vector<std::vector<std::string_view>> commands;
    if (!settings_.user.empty()) {
      commands.push_back({"AUTH", settings_.user, settings_.password});
    } else if (!settings_.password.empty()) {
      commands.push_back({"AUTH", settings_.password});
    }
    if (settings_.db != 0) commands.push_back({"SELECT", db});
    commands.push_back({"PING"});
    return commands;
  }

  async<error_code> receive(Link& link) {
    auto space = asio::buffer(link.input);
    auto [error, size] = co_await link.socket.async_read_some(space, outcome);
    link.decoder.feed(std::string_view(link.input.data(), size));
    co_return error;
  }

  async<void> read(std::shared_ptr<Link> link) {
    while (link == link_) {
      auto error = co_await receive(*link);
      if (error) co_return drop(link, "read: " + error.message());
      deliver(link);
    }
  }

  void deliver(const std::shared_ptr<Link>& link) {
    auto& pipeline = link->pipeline;
    while (auto reply = link->decoder.next()) {
      if (pipeline.empty()) return drop(link, "a reply that nothing asked for");
      stats_.errors += reply->is_error();
      auto waiter = pipeline.pop();
      if (!waiter) continue;
      overdue_sweeps_ = 0;
      finish(std::move(*waiter), std::move(reply));
    }
    if (link->decoder.broken()) drop(link, "the answer is not Redis protocol");
  }

  void flush(const std::shared_ptr<Link>& link) {
    if (link != link_) return;
    link->sending.swap(link->pending);
    ++stats_.writes;
    asio::async_write(link->socket, asio::buffer(link->sending),
                      [self = shared_from_this(), link](error_code error, std::size_t) {
                        if (error) return self->drop(link, "write: " + error.message());
                        link->sending.clear();
                        link->flushing = !link->pending.empty();
                        if (link->flushing) self->flush(link);
                      });
  }

  // One coarse timer instead of one per command.
  void sweep_later() {
    sweeper_.expires_after(settings_.reply_deadline / 5);
    sweeper_.async_wait([self = shared_from_this()](error_code) { self->sweep(); });
  }

  void sweep() {
    sweeping_ = link_ && !link_->pipeline.empty();
    if (!sweeping_) return;
    auto now = Clock::now();
    for (auto& waiter : link_->pipeline.expire(now)) {
      ++stats_.expired;
      finish(std::move(waiter), std::nullopt);
    }
    if (link_->pipeline.overdue(now) && ++overdue_sweeps_ == overdue_sweeps_to_open) {
      silent_ = true;
      drop(link_, "no reply in time");
    }
    sweep_later();
  }

  // Opens the breaker: the connection is gone, whoever waits on it goes on without.
  void drop(std::shared_ptr<Link> link, std::string problem) {
    if (!link || link != link_) return;
    link_ = nullptr;
    link->close();
    if (Clock::now() - connected_at_ > settings_.breaker_open) failures_ = 0;
    for (auto& waiter : link->pipeline.drain()) finish(std::move(waiter), std::nullopt);
    announce(std::move(problem));
  }

  void announce(std::string problem) {
    problem_ = std::move(problem);
    // Once the client goes, so may what on_change refers to.
    if (settings_.on_change && !stopping_) settings_.on_change(problem_);
    changed_.notify();
  }

  // A server that closed is probably restarting: ask soon, then less and less often. One that fell silent gets the
  // whole pause. Spread by chance, lest all cores knock at once.
  async<void> pause() {
    auto pause = std::exchange(silent_, false) ? settings_.breaker_open
                                               : std::min(settings_.breaker_open, first_pause * (1 << failures_));
    failures_ = std::min(failures_ + 1, 10);
    timer_.expires_after(pause + pause * static_cast<int>(random_() % 256) / 1024);
    co_await timer_.async_wait(outcome);
  }

  Executor executor_;
  Settings settings_;
  std::vector<Stream::endpoint> endpoints_;  // of a unix socket; names are resolved at each attempt
  Timer timer_;                              // deadline of a connect, or pause before the next
  Timer sweeper_;
  Signal changed_;
  std::shared_ptr<Link> connecting_;
  std::shared_ptr<Link> link_;  // open and probed; the breaker is open while there is none
  std::string problem_ = "not started";
  Stats stats_;
  Clock::time_point connected_at_{};
  std::minstd_rand random_{std::random_device{}()};
  int overdue_sweeps_ = 0;  // in a row, without a reply in time between
  int failures_ = 0;        // in a row: no connection, or one that did not last
  bool silent_ = false;
  bool sweeping_ = false;
  bool running_ = false;
  bool stopping_ = false;
};

Client::Client(asio::io_context& io, Settings settings) : core_(std::make_shared<Core>(io, std::move(settings))) {}

Client::~Client() { core_->stop(); }

void Client::start() { core_->start(); }
bool Client::healthy() const { return core_->healthy(); }
std::string_view Client::problem() const { return core_->problem(); }
Stats Client::stats() const { return core_->stats(); }

async<bool> Client::wait_healthy(milliseconds limit) { return Core::wait_healthy(core_, Clock::now() + limit); }

async<void> Client::close() {
  core_->stop();
  return Core::stopped(core_);
}

std::string Client::encode(std::span<const std::string_view> parts) { return redis::encode(parts); }

async<MaybeReply> Client::send(std::string wire) {
  if (!core_->admits()) co_return std::nullopt;
  auto enqueue = [this, &wire](Waiter waiter) { core_->enqueue(wire, std::move(waiter)); };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void(MaybeReply)>(enqueue, awaiting);
}

async<MaybeReply> Client::script(const Script& script, std::span<const std::string_view> keys,
                                 std::span<const std::string_view> args) {
  auto count = std::to_string(keys.size());
  std::vector<std::string_view> parts{"EVALSHA", script.sha(), count};
  parts.insert(parts.end(), keys.begin(), keys.end());
  parts.insert(parts.end(), args.begin(), args.end());
  auto reply = co_await send(encode(parts));
  if (!reply || !reply->is_error() || !reply->text.starts_with("NOSCRIPT")) co_return reply;
  parts[0] = "EVAL";
  parts[1] = script.source();
  co_return co_await send(encode(parts));
}

}  // namespace cairn::redis
