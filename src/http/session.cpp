#include "http/session.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace cairn::http {
namespace {

namespace asio = boost::asio;
using Error = boost::system::error_code;

constexpr std::size_t copied_content = 16 * 1024;  // beyond, a second piece of the same write is cheaper than a copy
constexpr std::size_t gathered_output =
    256 * 1024;  // bounds what pipelining can make a session hold, and a slow reader's slice
constexpr std::size_t kept_capacity = 256 * 1024;
constexpr std::size_t kept_of_stream = 4 * 1024;  // by each of thousands that wait for something to happen
constexpr std::size_t lingering_bytes = 256 * 1024;
constexpr std::chrono::seconds lingering_time{2};

asio::mutable_buffer writable(std::span<char> bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace

Session::Session(std::shared_ptr<Service> service, Socket socket, asio::ip::address const& peer)
    : service_(std::move(service)),
      place_(service_->sessions.insert(service_->sessions.end(), this)),
      socket_(std::move(socket)),
      parser_(service_->limits, peer) {}

Session::~Session() {
  service_->sessions.erase(place_);
  if (service_->draining && service_->sessions.empty()) service_->sweep.cancel();
}

async<void> Session::run() {
  while (!closing_) {
    switch (parser_.step()) {
      case Parser::Step::wants_continue: out_ += "HTTP/1.1 100 Continue\r\n\r\n"; [[fallthrough]];
      case Parser::Step::need_more: {
        auto const result = co_await read();
        if (result == Read::gone || (result == Read::timeout && reading_ == Parser::Phase::idle)) co_return;
        if (result == Read::timeout) refuse(408, "The request took too long to arrive.");
        break;
      }
      case Parser::Step::complete:
        co_await answer();
        if (response_.source()) {
          auto const whole = co_await stream();
          if (!whole) co_return;
        }
        parser_.next();
        reading_.reset();
        if (out_.size() < gathered_output && tail_.empty()) break;
        if (!send() && !co_await send_rest()) co_return;
        break;
      case Parser::Step::fault: refuse(parser_.status(), parser_.detail()); break;
    }
  }
  if (send() || co_await send_rest()) co_await linger();
}

async<Session::Read> Session::read() {
  if (!send() && !co_await send_rest()) co_return Read::gone;
  auto const phase = parser_.phase();
  if (reading_ != phase) {
    auto const& limits = service_->limits;
    auto const limit = phase == Parser::Phase::idle     ? limits.idle_time
                       : phase == Parser::Phase::header ? limits.header_time
                                                        : limits.body_time;
    read_deadline_ = Clock::now() + limit;
    reading_ = phase;
  }
  auto const space = writable(parser_.space());
  if (!service_->draining || phase != Parser::Phase::idle) {
    deadline_ = read_deadline_;
    expired_ = false;
    idle_ = phase == Parser::Phase::idle;
    auto const [error, size] = co_await socket_.async_read_some(space, asio::as_tuple(awaiting));
    deadline_ = Clock::time_point::max();
    idle_ = false;
    parser_.commit(size);
    if (!error) co_return Read::data;
    if (expired_) co_return Read::timeout;
    if (!service_->draining || error != asio::error::operation_aborted) co_return Read::gone;
  }
  // A request may have been on its way when the drain began.
  Error error;
  parser_.commit(socket_.read_some(space, error));
  co_return error ? Read::gone : Read::data;
}

async<void> Session::answer() {
  response_.clear();
  auto failed = false;
  try {
    co_await service_->handler(parser_.request(), response_);
    closing_ = service_->draining || !parser_.keep_alive();
    append_reply();
  } catch (...) { failed = true; }
  if (failed) refuse(500, "The request failed.");
}

void Session::refuse(unsigned status, std::string_view detail) {
  response_.clear();
  response_.status = status;
  service_->errors(parser_.request(), detail, response_);
  closing_ = true;
  append_reply();
}

void Session::append_reply() {
  auto const persistent = parser_.http_1_0() ? Connection::keep_alive : Connection::persistent;
  auto framing = Framing::length;
  if (response_.source()) framing = parser_.http_1_0() ? Framing::close : Framing::chunked;
  closing_ = closing_ || framing == Framing::close;
  append_header(out_, response_, closing_ ? Connection::close : persistent, service_->date.now(), framing);
  if (response_.source() || !carries_content(parser_.request().method, response_.status)) return;
  if (response_.content().size() > copied_content)
    tail_ = response_.content();
  else
    out_ += response_.content();
}

// Gives the kernel what it takes at once, which spares the reactor a turn. False: some is left. A failure drops the
// rest, and the next read reports it.
bool Session::send() {
  while (sent_ < out_.size() + tail_.size()) {
    auto const head = std::string_view{out_}.substr(std::min(sent_, out_.size()));
    auto const tail = tail_.substr(sent_ - std::min(sent_, out_.size()));
    std::array const pieces{asio::buffer(head), asio::buffer(tail)};
    Error error;
    sent_ += socket_.write_some(pieces, error);
    if (error == asio::error::would_block) return false;
    broken_ = static_cast<bool>(error);
    if (broken_) break;
  }
  sent_ = 0;
  tail_ = {};
  out_.clear();
  if (out_.capacity() > 2 * kept_capacity) out_.shrink_to_fit();
  if (response_.body().capacity() > kept_capacity) std::string{}.swap(response_.body());
  return true;
}

async<bool> Session::send_rest() {
  auto slice_end = sent_;
  for (;;) {
    if (sent_ >= slice_end) {
      deadline_ = Clock::now() + service_->limits.write_time;
      slice_end = sent_ + gathered_output;
    }
    auto const [error] = co_await socket_.async_wait(Socket::wait_write, asio::as_tuple(awaiting));
    if (error) co_return false;
    if (send()) break;
  }
  deadline_ = Clock::time_point::max();
  co_return true;
}

// Sends what the source of the reply makes, after its header. False: the connection is of no further use.
async<bool> Session::stream() {
  auto const source = response_.source();
  if (!carries_content(parser_.request().method, response_.status)) co_return true;
  auto const streaming = std::make_shared<Session*>(this);
  source_ = source.get();
  watch(streaming);
  if (service_->draining) source->stop();
  auto const chunked = !parser_.http_1_0();
  auto whole = true;
  for (std::string piece;;) {
    auto sent = send();
    if (!sent) sent = co_await send_rest();
    whole = sent && !broken_;
    if (!whole) break;
    for (auto* buffer : {&out_, &piece})
      if (buffer->capacity() > kept_of_stream) std::string{}.swap(*buffer);
    piece.clear();
    try {
      co_await source->next(piece);
    } catch (...) { whole = false; }
    if (!whole || piece.empty()) break;
    if (chunked) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", piece.size());
    out_ += piece;
    if (chunked) out_ += "\r\n";
  }
  source_ = nullptr;
  response_.clear();
  if (whole && chunked) out_ += "0\r\n\r\n";
  if (whole) co_return true;
  // With a reset, because to HTTP/1.0 an orderly end would look like the content's.
  Error ignored;
  socket_.set_option(asio::socket_base::linger{true, 0}, ignored);
  socket_.close(ignored);  // a destructor would not reset
  co_return false;
}

// Tells the source when the client closes. What a client sends meanwhile is its next request, and waits.
void Session::watch(std::weak_ptr<Session*> streaming) {
  auto const look = [streaming = std::move(streaming)](Error error) {
    auto const session = streaming.lock();
    if (error || !session) return;
    char byte = 0;
    auto const size = ::recv((*session)->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (size > 0) return;
    if (size < 0 && errno == EAGAIN)
      (*session)->watch(session);
    else
      (*session)->source_->stop();
  };
  socket_.async_wait(Socket::wait_read, look);
}

// Closing with unread bytes makes TCP drop the reply that the client has not read yet (RFC 9112 section 9.6).
async<void> Session::linger() {
  Error error;
  socket_.shutdown(Socket::shutdown_send, error);
  parser_.forget();
  deadline_ = Clock::now() + lingering_time;
  std::size_t left = lingering_bytes;
  while (!error && left > 0) {
    auto const space = asio::buffer(writable(parser_.space()), left);
    auto const [failure, size] = co_await socket_.async_read_some(space, asio::as_tuple(awaiting));
    error = failure;
    left -= size;
  }
}

void Session::sweep(Clock::time_point now) {
  if (now < deadline_) return;
  expired_ = true;
  Error ignored;
  socket_.cancel(ignored);
}

void Session::drain() {
  Error ignored;
  if (idle_) socket_.cancel(ignored);
  if (source_) source_->stop();
}

}  // namespace cairn::http
