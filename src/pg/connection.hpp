#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/async.hpp"
#include "base/problem.hpp"
#include "pg/parked.hpp"
#include "pg/pipeline.hpp"

struct pg_conn;  // libpq's PGconn

namespace cairn::pg {

struct ConnectionOptions {
  ConnectionOptions() = default;
  std::string conninfo, role, application_name;
  bool read_only = false;
  std::chrono::milliseconds timeout{5000};
};

// The server can be reached but must not be used as it is; trying again does not help.
class Unfit : public Problem {
 public:
  using Problem::Problem;
};

// One libpq connection in pipeline mode on one io_context; that thread only. A connection that is lost stays lost: what
// was sent and not answered fails as unavailable. `fail` it before the last reference goes.
class Connection final : public std::enable_shared_from_this<Connection>, private Host {
 public:
  // Connects. Throws unavailable when the server cannot be reached in time. The host's name, if it has one, is resolved
  // blockingly by libpq.
  static async<std::shared_ptr<Connection>> open(boost::asio::io_context& io, ConnectionOptions options);
  // Returns when the server may be used: version 15 or later, no superuser, row security not bypassed,
  // synchronous_commit not off. Otherwise throws Unfit.
  async<> verify(Segment::Clock::time_point deadline);

  struct Finish {
    void operator()(pg_conn* connection) const noexcept;
  };
  using Handle = std::unique_ptr<pg_conn, Finish>;
  Connection(boost::asio::io_context& io, Handle connected);  // use open()

  // Sends the segment and suspends until it is answered. Throws when there is no answer: connection lost (unavailable),
  // its deadline (timeout), cancellation. The results lie in the segment's commands.
  async<> exchange(SegmentPtr segment);

  bool up() const { return handle_ != nullptr; }
  std::size_t waiting() const { return pipeline_.waiting(); }
  std::size_t in_flight() const { return pipeline_.in_flight(); }
  std::size_t load() const { return waiting() + in_flight(); }
  // How long the server has been at what it was given first; zero when it has nothing to do.
  Segment::Clock::duration waited(Segment::Clock::time_point now) const {
    return in_flight() == 0 ? Segment::Clock::duration{} : now - at_work_since_;
  }

  // Ends the segments whose deadline has passed as timeout; tells how many of them the server had not and had heard of.
  struct Late {
    std::size_t waiting = 0, sent = 0;
  };
  Late expire(Segment::Clock::time_point now);
  // Drops the connection and ends everything on it as unavailable because of `cause`. Nothing when it is lost already.
  void fail(const std::string& cause);

  std::function<void(const std::string& cause)> on_lost;  // called once

 private:
  struct Prepared {
    bool done = false;
    std::uint8_t generation = 0;  // a stale plan is replaced by one under another name
  };

  void start(std::shared_ptr<Parked> parked) override;
  void cancel(Parked& parked) override;

  void listen();
  void on_readable();
  bool drain();
  void settle();

  void pump();
  void pump_soon();
  bool joins(const Segment& segment);
  bool write(Segment& segment);
  bool write(Command& command);
  bool prepare_missing(Segment& segment);
  bool flush();

  Prepared& prepared(const Statement& statement);
  void learn(const Command& answered);
  std::string message() const;

  boost::asio::io_context& io_;
  Handle handle_;  // null: lost
  // A duplicate of libpq's descriptor, so that each side closes its own.
  boost::asio::posix::basic_stream_descriptor<Executor> socket_;
  Pipeline pipeline_;
  std::vector<Prepared> prepared_;  // by Statement::index()
  bool blocked_ = false;            // the socket takes no more for now
  bool pumping_soon_ = false;
  bool in_transaction_ = false;  // the last segment written ended in a flush
  Segment::Clock::time_point at_work_since_;
};

}  // namespace cairn::pg
