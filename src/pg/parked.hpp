#pragma once
#include <boost/asio/io_context.hpp>
#include <exception>
#include <memory>
#include <optional>

#include "base/async.hpp"

namespace cairn::pg {

// What a suspended coroutine waits for. Whoever owns the outcome calls `resume` exactly once.
struct Parked {
  using Waiter = boost::asio::async_result<boost::asio::use_awaitable_t<Executor>, void()>::handler_type;

  Parked() = default;
  Parked(const Parked&) = delete;
  Parked& operator=(const Parked&) = delete;

  std::optional<Waiter> waiter;  // empty: nobody waits
  std::exception_ptr failure;    // thrown in the coroutine when set

  // Runs the coroutine on the spot, until it suspends again. Nothing when nobody waits.
  void resume();
};
// The same from the event loop, for callers that are in the middle of something.
void resume_later(boost::asio::io_context& io, Parked& parked);

// Who answers for parked coroutines.
class Host {
 public:
  virtual void start(std::shared_ptr<Parked> parked) = 0;  // it is suspended now
  virtual void cancel(Parked& parked) = 0;                 // it has gone; never resume it
 protected:
  ~Host() = default;
};

// Suspends the calling coroutine until `host`, which must outlive the wait, resumes it; throws its failure. When the
// coroutine is cancelled it resumes with operation_aborted.
async<> park(boost::asio::io_context& io, std::shared_ptr<Parked> parked, Host& host);

}  // namespace cairn::pg
