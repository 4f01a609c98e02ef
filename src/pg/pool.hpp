#pragma once
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/async.hpp"
#include "pg/tx.hpp"

namespace cairn::pg {

struct Settings {
  Settings() = default;
  std::string conninfo;  // libpq's connection string or URI
  std::string role;      // taken on by every connection when set (`-c role=`)
  std::string application_name = "cairn";
  // 0: none, for who has no use for them.
  unsigned read_connections = 2;    // at most, shared and pipelined; per core; opened as needed but for the first two
  unsigned commit_connections = 4;  // the same, for writes of one statement
  unsigned write_connections = 8;   // at most, leased one request at a time; per core; opened as needed
  unsigned queue_limit = 256;       // requests waiting on one shared connection before it refuses more
  std::chrono::milliseconds statement_deadline{5000};
  std::chrono::milliseconds lease_wait{2000};
  std::chrono::milliseconds connect_timeout{5000};
};

struct Stats {
  std::uint64_t reads_up = 0, commits_up = 0, writes_up = 0;  // connections
  std::uint64_t writes_leased = 0;
  std::uint64_t queued = 0, in_flight = 0;                  // segments on shared connections
  std::uint64_t waiters = 0;                                // for a write connection
  std::uint64_t reconnects = 0, timeouts = 0, refused = 0;  // since the start
};

// One core's connections. Used from that core's thread only; must outlive the transactions it hands out, and its
// io_context must outlive it. Lost connections are replaced by themselves (50 ms to 5 s apart, with jitter).
class Pool {
 public:
  Pool(boost::asio::io_context& io, Settings settings);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // Returns when a connection of each use is up. Throws when the server can be reached but must not be used:
  // older than 15, a superuser or a role that bypasses row security, or synchronous_commit off; keeps trying while it
  // cannot be reached, until `patience` is over (unavailable).
  async<> start(std::chrono::milliseconds patience = std::chrono::seconds(30));
  bool ready() const;
  // Refuses new work, waits for what is under way up to `patience`, then closes every connection.
  async<> close(std::chrono::milliseconds patience = std::chrono::seconds(5));

  ReadTx read(Prelude prelude = {}, Deadline deadline = {}) { return ReadTx(*this, std::move(prelude), deadline); }
  Tx write(Prelude prelude = {}, Deadline deadline = {}) { return Tx(*this, std::move(prelude), deadline); }

  Stats stats() const;
  const std::shared_ptr<PoolState>& state() const { return state_; }

 private:
  std::shared_ptr<PoolState> state_;
};

}  // namespace cairn::pg
