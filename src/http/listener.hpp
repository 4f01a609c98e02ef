#pragma once
#include "base/async.hpp"
#include "http/message.hpp"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace cairn::http {

// Must not throw: if it does, the reply is a 500 through Errors and the connection closes.
// Request and Response outlive the coroutine.
using Handler = std::function<async<void>(Request const&, Response&)>;

// Renders the body of an error that HTTP itself calls for (400, 408, 413, 414, 417, 431, 500, 501, 503, 505).
// The status is set already; of the request only the peer is certain. Must not throw.
using Errors = std::function<void(Request const&, std::string_view detail, Response&)>;

struct Limits {
  std::size_t header_bytes = 16 * 1024;  // request line and fields together: 431
  std::size_t headers = 64;              // 431
  std::size_t body_bytes = 1024 * 1024;  // after decoding of chunks: 413
  std::size_t target_bytes = 8 * 1024;   // 414
  std::size_t connections = 4096;        // per listener; one more gets a 503 and is closed
  // Looked at by one sweep a second (more often for limits under four seconds), so they act up to a quarter late.
  std::chrono::milliseconds header_time = std::chrono::seconds{10};  // from a request's first byte: 408
  std::chrono::milliseconds body_time = std::chrono::seconds{30};    // from the end of the header: 408
  std::chrono::milliseconds idle_time = std::chrono::seconds{60};    // between requests: silent close
  std::chrono::milliseconds write_time = std::chrono::seconds{30};   // for each 256 KiB of replies: close
};

struct Service;

// An HTTP/1.1 server on one core (RFC 9110, RFC 9112). Every method on the thread that runs the io_context, which must
// outlive the listener. Destruction stops accepting; sessions still open keep what they need and end with the
// io_context.
class Listener {
 public:
  using Endpoint = boost::asio::generic::stream_protocol::endpoint;  // from a tcp::endpoint or local::stream_protocol's

  // Binds and listens, so port() is known; throws boost::system::system_error. TCP listeners of several cores may share
  // a port (SO_REUSEPORT); a unix path has one listener, replaces a socket file nobody listens on, and is removed at
  // the end.
  Listener(boost::asio::io_context& io, Endpoint const& where, Limits limits, Handler handler, Errors errors);
  Listener(Listener const&) = delete;
  Listener& operator=(Listener const&) = delete;
  ~Listener();

  void start();
  // The TCP port bound; 0 on a unix socket.
  std::uint16_t port() const;
  // Stops accepting. Idle connections close now, requests already begun are answered with Connection: close.
  void drain();
  std::size_t sessions() const;

 private:
  std::shared_ptr<Service> service_;
};

}  // namespace cairn::http
