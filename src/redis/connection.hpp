#pragma once
#include "base/async.hpp"
#include "redis/reply.hpp"

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cairn::redis {

struct Settings {
  Settings() = default;
  // unix:///path?db=0, redis://[[user]:password@]host[:port][/db], or the path of a unix socket (from / or .).
  // Throws std::invalid_argument; its text never repeats the URL, which may hold a password.
  static Settings parse(std::string_view url);

  std::string path;  // of a unix socket; empty: host and port
  std::string host = "127.0.0.1";
  std::uint16_t port = 6379;
  std::string user, password;
  unsigned db = 0;
  std::chrono::milliseconds reply_deadline{250};     // enforced up to a fifth late
  std::chrono::milliseconds connect_deadline{1000};  // from connect to the answer of the probe
  std::chrono::milliseconds breaker_open{2000};      // from giving up on a silent server to the next probe
  // Told why Redis went away ("" when it is back). Must not throw.
  std::function<void(std::string_view problem)> on_change;
};

// Lua source and the SHA-1 that EVALSHA calls it by.
class Script {
 public:
  explicit Script(std::string_view source);
  const std::string& source() const { return source_; }
  const std::string& sha() const { return sha_; }

 private:
  std::string source_, sha_;
};

struct Stats {
  std::uint64_t commands = 0;  // accepted
  std::uint64_t refused = 0;   // nullopt at once: Redis is away
  std::uint64_t expired = 0;   // nullopt at the deadline
  std::uint64_t errors = 0;    // replies that are errors
  std::uint64_t writes = 0;
  std::uint64_t connects = 0;  // connections whose probe was answered
  std::size_t in_flight = 0;   // replies owed, abandoned commands included
};

namespace detail {
inline std::string_view text(std::string_view part) { return part; }
inline std::string text(std::chrono::seconds part) { return std::to_string(part.count()); }
template<std::integral T>
requires(!std::same_as<T, char> && !std::same_as<T, bool>) std::string text(T part) { return std::to_string(part); }
}  // namespace detail

// One connection that all commands of a core share: what one turn of the event loop asks for goes out in one write, and
// replies are matched in order. Redis is never required: a command yields nullopt when Redis is away, and the caller
// goes on without it. The breaker opens when the connection is lost, answers with nonsense, or leaves commands overdue
// three sweeps in a row; then commands yield nullopt at once until a fresh connection has answered a PING.
//
// All calls on the thread that runs the io_context, which must outlive the client. Not for commands that block the
// connection or change its mode (BLPOP, SUBSCRIBE, MULTI across commands, CLIENT REPLY).
class Client {
 public:
  // Throws boost::system::system_error when the socket's path is too long.
  Client(boost::asio::io_context& io, Settings settings);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();  // whoever still waits gets nullopt

  // Connects, and keeps connecting, in the background.
  void start();

  // The reply (an error reply included), or nullopt: Redis is away, or did not answer in time, and may or may not have
  // executed the command. Cancelling the waiter abandons the command; its reply is swallowed. Arguments are binary-safe
  // and copied by the call itself: strings, integers, seconds.
  template<class... Parts>
  requires requires(const Parts&... parts) { (detail::text(parts), ...); }
  async<std::optional<Reply>> command(const Parts&... parts) {
    return send(encode(std::array<std::string_view, sizeof...(Parts)>{detail::text(parts)...}));
  }
  async<std::optional<Reply>> command(std::span<const std::string_view> parts) { return send(encode(parts)); }

  // Runs the script by its SHA, and by its source where the server does not know it yet. The script, and what the spans
  // show, must live until the reply.
  async<std::optional<Reply>> script(const Script& script, std::span<const std::string_view> keys,
                                     std::span<const std::string_view> args);

  bool healthy() const;
  // Why Redis is away, for people; empty when healthy. Holds no user data and no password.
  std::string_view problem() const;
  // Waits for Redis at most this long; whether it is healthy.
  async<bool> wait_healthy(std::chrono::milliseconds limit);
  // Closes for good; whoever still waits gets nullopt. Returns when nothing runs in the background any more.
  async<void> close();
  Stats stats() const;

 private:
  class Core;
  static std::string encode(std::span<const std::string_view> parts);
  async<std::optional<Reply>> send(std::string wire);

  std::shared_ptr<Core> core_;
};

}  // namespace cairn::redis
