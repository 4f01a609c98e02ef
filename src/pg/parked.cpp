#include "pg/parked.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

namespace cairn::pg {
namespace asio = boost::asio;

void Parked::resume() {
  if (!waiter) return;
  auto resumed = std::move(*waiter);
  waiter.reset();
  resumed();
}

void resume_later(asio::io_context& io, Parked& parked) {
  if (!parked.waiter) return;
  // The event loop gets the coroutine and not its place: the coroutine's frame holds the place, and a loop that is
  // destroyed before it comes to this must destroy both.
  asio::post(io, [resumed = std::move(*parked.waiter)]() mutable { resumed(); });
  parked.waiter.reset();
}

namespace {

async<> suspend(asio::io_context& io, std::shared_ptr<Parked> parked, Host& host) {
  auto initiate = [&io, &host](Parked::Waiter waiter, std::shared_ptr<Parked> place) {
    auto slot = asio::get_associated_cancellation_slot(waiter);
    if (slot.is_connected())
      slot.assign([&io, &host, place](asio::cancellation_type) {
        place->failure = std::make_exception_ptr(boost::system::system_error(asio::error::operation_aborted));
        host.cancel(*place);
        resume_later(io, *place);
      });
    place->waiter.emplace(std::move(waiter));
    host.start(std::move(place));
  };
  return asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(std::move(initiate), awaiting,
                                                                             std::move(parked));
}

}  // namespace

async<> park(asio::io_context& io, std::shared_ptr<Parked> parked, Host& host) {
  co_await suspend(io, parked, host);
  if (parked->failure) std::rethrow_exception(parked->failure);
}

}  // namespace cairn::pg
