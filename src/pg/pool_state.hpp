#pragma once
#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "pg/connection.hpp"
#include "pg/pool.hpp"

namespace cairn::pg {

using Timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                                boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

// One write connection in one transaction's hands. Giving it up with `open` still set rolls back first.
class Lease {
 public:
  Lease(std::shared_ptr<PoolState> pool, std::shared_ptr<Connection> connection);
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease();

  Connection& connection() { return *connection_; }
  bool open = false;  // the server may hold an open transaction

 private:
  std::shared_ptr<PoolState> pool_;
  std::shared_ptr<Connection> connection_;
};

// The pool itself; transactions and background coroutines keep it alive past its Pool, shut.
class PoolState final : public std::enable_shared_from_this<PoolState>, private Host {
 public:
  PoolState(boost::asio::io_context& io, Settings settings);

  void open();
  async<> wait_ready(std::chrono::milliseconds patience);
  async<> drain(std::chrono::milliseconds patience);
  void shut();

  bool ready() const;
  Stats stats() const;
  Deadline until(Deadline deadline) const {
    return deadline == Deadline{} ? std::chrono::steady_clock::now() + settings_.statement_deadline : deadline;
  }

  async<> read(SegmentPtr segment);                        // on the least busy read connection
  async<> commit(SegmentPtr segment);                      // likewise; a write that is a whole transaction
  async<std::unique_ptr<Lease>> lease(Deadline deadline);  // FIFO
  async<> exchange(Connection& connection, SegmentPtr segment);

  void give_back(std::shared_ptr<Connection> connection, bool transaction_open);

 private:
  // Reads and writes of one statement share connections: what they send is a transaction from its first byte to its
  // last. A transaction of several statements needs a connection to itself.
  enum class Use { reads, commits, leases };
  // A place for one connection, kept filled by a coroutine of its own.
  struct Slot {
    Slot(boost::asio::io_context& io, Use what_for) : use(what_for), timer(io) {}
    Use use;
    std::shared_ptr<Connection> candidate;   // connected, not verified yet
    std::shared_ptr<Connection> connection;  // in use
    Timer timer;                             // ends a pause before connecting, and the wait for the connection's loss
  };
  struct Ticket : Parked {
    Deadline deadline;
    std::unique_ptr<Lease> lease;
  };

  void start(std::shared_ptr<Parked> parked) override;
  void cancel(Parked& parked) override;

  using Slots = std::vector<std::shared_ptr<Slot>>;
  Slots& slots(Use use) { return use == Use::reads ? reads_ : use == Use::commits ? commits_ : writes_; }
  unsigned most(Use use) const {
    return use == Use::reads     ? settings_.read_connections
           : use == Use::commits ? settings_.commit_connections
                                 : settings_.write_connections;
  }
  void add_slot(Use use);
  async<> share(Use use, SegmentPtr segment);
  async<> keep(std::shared_ptr<PoolState> self, std::shared_ptr<Slot> slot);
  async<> connect(std::shared_ptr<Slot> slot);
  async<> roll_back(std::shared_ptr<PoolState> self, std::shared_ptr<Connection> connection);
  void make_idle(std::shared_ptr<Connection> connection);
  std::chrono::milliseconds pause(unsigned failures);
  void watch();
  void sweep();

  boost::asio::io_context& io_;
  Settings settings_;
  Slots reads_, commits_, writes_;
  std::vector<std::shared_ptr<Connection>> idle_;  // of writes_
  std::deque<std::shared_ptr<Ticket>> tickets_;
  Timer sweep_timer_, ready_timer_;
  std::exception_ptr unfit_;
  bool complained_ = false;  // about a database that is away, once until it is back
  std::minstd_rand random_{std::random_device{}()};
  Stats counted_;
  bool opened_ = false, watching_ = false, shut_ = false, draining_ = false;
};

}  // namespace cairn::pg
