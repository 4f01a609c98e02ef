#include "http/listener.hpp"

#include "http/session.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/system/system_error.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace cairn::http {
namespace {

namespace asio = boost::asio;
using Error = boost::system::error_code;
using Tcp = asio::ip::tcp;

constexpr std::chrono::milliseconds pause_without_descriptors{100};

// Generic endpoints hold any family; this gives the typed one back.
template<class Endpoint>
Endpoint typed(Listener::Endpoint const& endpoint) {
  Endpoint result;
  auto const size = std::min(endpoint.size(), result.capacity());
  std::memcpy(result.data(), endpoint.data(), size);
  result.resize(size);  // after the copy: it looks for a path's final NUL
  return result;
}

bool is_tcp(Listener::Endpoint const& endpoint) { return endpoint.protocol().family() != AF_UNIX; }

std::filesystem::path socket_file(Listener::Endpoint const& endpoint) {
  if (is_tcp(endpoint)) return {};
  auto const path = typed<asio::local::stream_protocol::endpoint>(endpoint).path();
  return path.starts_with('\0') ? std::filesystem::path{} : std::filesystem::path{path};
}

// A server that was killed leaves its socket file behind, and bind() would refuse it.
void remove_stale(asio::io_context& io, Listener::Endpoint const& where) {
  auto const file = socket_file(where);
  Error error;
  Protocol::socket probe{io};
  probe.connect(where, error);
  if (error == asio::error::connection_refused && std::filesystem::is_socket(file)) std::filesystem::remove(file);
}

async<void> serve(std::unique_ptr<Session> session) { co_await session->run(); }

std::chrono::milliseconds sweep_period(Limits const& limits) {
  auto const shortest = std::min({limits.header_time, limits.body_time, limits.idle_time, limits.write_time});
  return std::clamp(shortest / 4, std::chrono::milliseconds{5}, std::chrono::milliseconds{1000});
}

}  // namespace

Service::Service(asio::io_context& io, Limits const& limits_given, Handler handler_given, Errors errors_given)
    : limits(limits_given),
      handler(std::move(handler_given)),
      errors(std::move(errors_given)),
      acceptor(io.get_executor()),
      pause(io.get_executor()),
      sweep(io.get_executor()) {}

void Service::listen(Listener::Endpoint const& where) {
  acceptor.open(where.protocol());
  if (is_tcp(where)) {
    acceptor.set_option(asio::socket_base::reuse_address{true});
    int const on = 1;
    if (::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
      throw boost::system::system_error{errno, boost::system::system_category(), "SO_REUSEPORT"};
  } else {
    remove_stale(acceptor.get_executor().context(), where);
  }
  acceptor.bind(where);
  acceptor.listen(asio::socket_base::max_listen_connections);
  acceptor.non_blocking(true);
  bound = acceptor.local_endpoint();
}

async<void> Service::accept_all() {
  auto const self = shared_from_this();
  while (acceptor.is_open()) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(awaiting));
    if (!error) {
      admit(std::move(socket));
    } else if (error != asio::error::operation_aborted && error != asio::error::connection_aborted) {
      // Out of descriptors or memory: the connection stays in the backlog until somebody else's is closed.
      pause.expires_after(pause_without_descriptors);
      co_await pause.async_wait(asio::as_tuple(awaiting));
    }
  }
}

void Service::admit(Socket socket) {
  Error error;
  auto const remote = socket.remote_endpoint(error);
  if (!error) socket.non_blocking(true, error);
  if (error) return;  // the client has gone already
  asio::ip::address peer;
  if (is_tcp(remote)) {
    peer = typed<Tcp::endpoint>(remote).address();
    socket.set_option(Tcp::no_delay{true}, error);
  }
  if (sessions.size() >= limits.connections) return refuse(socket, peer);
  auto session = std::make_unique<Session>(shared_from_this(), std::move(socket), peer);
  asio::co_spawn(acceptor.get_executor(), serve(std::move(session)), asio::detached);
}

// Not left in the backlog: there a client would wait without an answer, though another core might have room.
void Service::refuse(Socket& socket, asio::ip::address const& peer) {
  Request request;
  request.peer = peer;
  Response response;
  response.status = 503;
  errors(request, "The server has too many connections.", response);
  std::string out;
  append_header(out, response, Connection::close, date.now());
  out += response.content();
  Error ignored;
  socket.write_some(asio::buffer(out), ignored);
  socket.shutdown(Socket::shutdown_send, ignored);
}

async<void> Service::sweep_all() {
  auto const self = shared_from_this();
  auto const period = sweep_period(limits);
  while (!draining || !sessions.empty()) {
    sweep.expires_after(period);
    co_await sweep.async_wait(asio::as_tuple(awaiting));
    auto const now = Clock::now();
    for (auto* session : sessions) session->sweep(now);
  }
}

void Service::drain() {
  if (std::exchange(draining, true)) return;
  for (Error error; acceptor.is_open() && !error;) {  // what the kernel has accepted would be reset
    auto socket = acceptor.accept(error);
    if (!error) admit(std::move(socket));
  }
  Error ignored;
  std::error_code missing;
  // Before the close: after it, another server may take the path.
  if (auto const file = socket_file(bound); !file.empty()) std::filesystem::remove(file, missing);
  acceptor.close(ignored);
  pause.cancel();
  if (sessions.empty()) sweep.cancel();
  for (auto* session : sessions) session->drain();
}

Listener::Listener(asio::io_context& io, Endpoint const& where, Limits limits, Handler handler, Errors errors)
    : service_(std::make_shared<Service>(io, limits, std::move(handler), std::move(errors))) {
  service_->listen(where);
}

Listener::~Listener() { service_->drain(); }

void Listener::start() {
  auto const executor = service_->acceptor.get_executor();
  asio::co_spawn(executor, service_->accept_all(), asio::detached);
  asio::co_spawn(executor, service_->sweep_all(), asio::detached);
}

std::uint16_t Listener::port() const {
  auto const& where = service_->bound;
  return is_tcp(where) ? typed<Tcp::endpoint>(where).port() : std::uint16_t{0};
}

void Listener::drain() { service_->drain(); }

std::size_t Listener::sessions() const { return service_->sessions.size(); }

}  // namespace cairn::http
