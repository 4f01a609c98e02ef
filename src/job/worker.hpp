#pragma once
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <thread>

#include "job/sender.hpp"
#include "pg/pool.hpp"

namespace cairn::job {

// Does what may wait, on a thread and a connection of its own: sends what is queued in app.mails (SMTP may take a
// minute) and takes off the record what is still there of people who left. Several servers may work side by side; each
// mail is leased to one of them at a time. What fails is tried again, later and later, until nobody needs it any more.
class Worker {
 public:
  Worker(pg::Settings database, const Config& config);
  ~Worker();  // stop()
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Returns when the database can be used; throws when it cannot.
  void start();
  // Breaks off what it is doing, which another server or the next start takes up again. Idempotent.
  void stop();
  void wake();  // any thread

 private:
  async<> work();
  async<bool> send_next();
  async<> redact();

  boost::asio::io_context io_{1};
  pg::Pool database_;
  boost::asio::steady_timer pause_;
  Sender sender_;
  std::atomic<bool> stopped_{false};
  bool away_ = false;   // the database, which was said
  bool woken_ = false;  // since it last looked
  std::chrono::steady_clock::time_point redacted_{};
  std::thread thread_;
};

}  // namespace cairn::job
