#pragma once
#include "http/listener.hpp"
#include "http/parser.hpp"
#include "http/reply.hpp"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::http {

using Protocol = boost::asio::generic::stream_protocol;
using Acceptor = boost::asio::basic_socket_acceptor<Protocol, Executor>;
using Socket = boost::asio::basic_stream_socket<Protocol, Executor>;
using Clock = std::chrono::steady_clock;
using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor>;

class Session;

// What a listener and its sessions share. Sessions may outlive their listener, so each holds on to it.
struct Service : std::enable_shared_from_this<Service> {
  Service(boost::asio::io_context& io, Limits const& limits_given, Handler handler_given, Errors errors_given);

  void listen(Listener::Endpoint const& where);
  void admit(Socket socket);
  void refuse(Socket& socket, boost::asio::ip::address const& peer);
  void drain();
  async<void> accept_all();
  async<void> sweep_all();

  Limits const limits;
  Handler const handler;
  Errors const errors;
  Acceptor acceptor;
  Listener::Endpoint bound;
  Timer pause, sweep;
  std::list<Session*> sessions;
  Date date;
  bool draining = false;
};

// One connection: reads, answers, writes, in one coroutine. Replies to pipelined requests gather in one write.
class Session {
 public:
  Session(std::shared_ptr<Service> service, Socket socket, boost::asio::ip::address const& peer);
  Session(Session const&) = delete;
  Session& operator=(Session const&) = delete;
  ~Session();

  async<void> run();
  // Ends the wait that has outlasted its limit.
  void sweep(Clock::time_point now);
  // Ends the wait for a next request, and content that has no end of its own.
  void drain();

 private:
  enum class Read { data, timeout, gone };

  async<Read> read();
  async<void> answer();
  void refuse(unsigned status, std::string_view detail);
  void append_reply();
  bool send();
  async<bool> send_rest();
  async<bool> stream();
  void watch(std::weak_ptr<Session*> streaming);
  async<void> linger();

  std::shared_ptr<Service> const service_;
  std::list<Session*>::iterator const place_;
  Socket socket_;
  Parser parser_;
  Response response_;
  std::string out_;           // replies not yet sent, but for
  std::string_view tail_;     // the content of the last one, when it is too large to be worth a copy
  std::size_t sent_ = 0;      // of both
  bool closing_ = false;      // the last reply said so
  bool broken_ = false;       // nothing more can be sent
  Source* source_ = nullptr;  // whose content is being sent

  // Of the wait going on: when it ends, whether it was the sweep that ended it, whether it is for a next request.
  Clock::time_point deadline_ = Clock::time_point::max();
  bool expired_ = false, idle_ = false;
  std::optional<Parser::Phase> reading_;
  Clock::time_point read_deadline_;
};

}  // namespace cairn::http
