#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace cairn {

// Every coroutine runs on one core's io_context; the concrete executor spares a type-erased call per suspension.
// g++ 12 destroys some temporaries twice in statements with co_await: name every aggregate and every capturing
// lambda before the statement that awaits (docs/adr/0006-await-rule.md; bin/check looks for breaches).
using Executor = boost::asio::io_context::executor_type;
template<class T = void>
using async = boost::asio::awaitable<T, Executor>;
inline constexpr boost::asio::use_awaitable_t<Executor> awaiting{};

}  // namespace cairn
