#include "pg/pool.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <utility>

#include "pg/error.hpp"
#include "pg/pool_state.hpp"

namespace cairn::pg {
namespace asio = boost::asio;
using namespace std::chrono_literals;
namespace {

// Deadlines are looked at this often, and only while something is under way: one timer per core instead of one per
// statement.
constexpr auto sweep_interval = 50ms;
constexpr auto first_pause = 50ms, longest_pause = 5000ms;
constexpr std::size_t max_tickets = 1024;
// One to use and one to go around it; each costs PostgreSQL 2.4 MB.
constexpr unsigned shared_at_first = 2;
// Longer than a full group of the usual statements takes on a busy machine.
constexpr auto long_wait = 25ms;

const Sql<void()> rollback{"pg.rollback", "rollback"};

}  // namespace

Lease::Lease(std::shared_ptr<PoolState> pool, std::shared_ptr<Connection> connection)
    : pool_(std::move(pool)), connection_(std::move(connection)) {}

Lease::~Lease() { pool_->give_back(std::move(connection_), open); }

PoolState::PoolState(asio::io_context& io, Settings settings)
    : io_(io), settings_(std::move(settings)), sweep_timer_(io), ready_timer_(io) {}

void PoolState::open() {
  if (std::exchange(opened_, true)) return;
  for (const auto use : {Use::reads, Use::commits, Use::leases})
    for (unsigned i = 0; i < std::min(use == Use::leases ? 1U : shared_at_first, most(use)); ++i) add_slot(use);
}

void PoolState::add_slot(Use use) {
  auto slot = std::make_shared<Slot>(io_, use);
  slots(use).push_back(slot);
  asio::co_spawn(io_, keep(shared_from_this(), std::move(slot)), asio::detached);
}

// Leaves a connection in the slot, or none.
async<> PoolState::connect(std::shared_ptr<Slot> slot) {
  ConnectionOptions options;
  options.conninfo = settings_.conninfo;
  options.role = settings_.role;
  options.application_name = settings_.application_name;
  options.read_only = slot->use == Use::reads;
  options.timeout = settings_.connect_timeout;
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  try {
    slot->candidate = co_await Connection::open(io_, std::move(options));
    if (!shut_) {
      watch();
      co_await slot->candidate->verify(deadline);
      slot->connection = slot->candidate;
    }
  } catch (const Unfit& problem) {
    log::error("the database must not be used", {{"cause", std::string_view(problem.what())}});
    unfit_ = std::current_exception();
    ready_timer_.cancel();
  } catch (const std::exception& error) {
    // Every slot tries again and again; one line says it all.
    if (!std::exchange(complained_, true))
      log::warn("no connection to the database", {{"cause", std::string_view(error.what())}});
  }
  // What was not good enough must not linger.
  if (slot->candidate && !slot->connection) slot->candidate->fail("not used");
  slot->candidate = nullptr;
}

async<> PoolState::keep([[maybe_unused]] std::shared_ptr<PoolState> self, std::shared_ptr<Slot> slot) {
  constexpr auto quietly = asio::as_tuple(awaiting);
  for (unsigned failures = 0; !shut_;) {
    co_await connect(slot);
    if (shut_) break;
    if (slot->connection) {
      failures = 0;
      unfit_ = nullptr;
      if (std::exchange(complained_, false)) log::info("the database is back");
      slot->connection->on_lost = [weak = weak_from_this(), slot](const std::string& cause) {
        const auto pool = weak.lock();
        if (pool && !pool->shut_ && !std::exchange(pool->complained_, true))
          log::warn("a connection to the database is lost", {{"cause", cause}});
        slot->timer.cancel();
      };
      if (slot->use == Use::leases) make_idle(slot->connection);
      ready_timer_.cancel();
      while (slot->connection->up()) {
        slot->timer.expires_at(Deadline::max());
        co_await slot->timer.async_wait(quietly);
      }
      std::erase(idle_, slot->connection);
      slot->connection = nullptr;
      ++counted_.reconnects;
    }
    if (shut_) break;
    slot->timer.expires_after(pause(failures++));
    co_await slot->timer.async_wait(quietly);
  }
  if (slot->connection) slot->connection->fail("the pool is closed");
}

// Doubles with each failure, between half and all of it at random so that connections do not come back in step.
std::chrono::milliseconds PoolState::pause(unsigned failures) {
  const auto whole = std::min(longest_pause, first_pause * (1 << std::min(failures, 7U)));
  return whole / 2 +
         std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(0, whole.count() / 2)(random_));
}

bool PoolState::ready() const {
  const auto up = [](const std::shared_ptr<Slot>& slot) { return slot->connection && slot->connection->up(); };
  const auto any = [&](const Slots& slots) { return slots.empty() || std::ranges::any_of(slots, up); };
  return opened_ && !shut_ && !draining_ && any(reads_) && any(commits_) && any(writes_);
}

async<> PoolState::wait_ready(std::chrono::milliseconds patience) {
  constexpr auto quietly = asio::as_tuple(awaiting);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!ready()) {
    if (unfit_) std::rethrow_exception(unfit_);
    if (shut_ || std::chrono::steady_clock::now() >= deadline) throw unavailable("no connection in time");
    ready_timer_.expires_at(deadline);
    co_await ready_timer_.async_wait(quietly);
  }
}

async<> PoolState::read(SegmentPtr segment) { return share(Use::reads, std::move(segment)); }
async<> PoolState::commit(SegmentPtr segment) { return share(Use::commits, std::move(segment)); }

async<> PoolState::share(Use use, SegmentPtr segment) {
  if (draining_) throw unavailable("the pool is closing");
  // One connection that everybody shares makes larger groups than several do, for as long as it goes forward; the
  // others are for when a slow statement is on it, and the last of them are opened only then.
  Connection* best = nullptr;
  bool goes_forward = false;
  const auto now = std::chrono::steady_clock::now();
  for (const auto& slot : slots(use)) {
    if (!slot->connection || !slot->connection->up()) continue;
    if (best == nullptr || slot->connection->load() < best->load()) best = slot->connection.get();
    if (slot->connection->waited(now) > long_wait || slot->connection->waiting() >= settings_.queue_limit) continue;
    best = slot->connection.get();
    goes_forward = true;
    break;
  }
  if (best == nullptr) throw unavailable("no shared connection is up");
  if (!goes_forward && slots(use).size() < most(use)) add_slot(use);
  if (best->waiting() >= settings_.queue_limit) {
    ++counted_.refused;
    throw unavailable("the queue of every shared connection is full");
  }
  return exchange(*best, std::move(segment));
}

async<> PoolState::exchange(Connection& connection, SegmentPtr segment) {
  watch();
  return connection.exchange(std::move(segment));
}

async<std::unique_ptr<Lease>> PoolState::lease(Deadline deadline) {
  if (draining_) throw unavailable("the pool is closing");
  while (!idle_.empty()) {
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    if (!connection->up()) continue;
    ++counted_.writes_leased;
    co_return std::make_unique<Lease>(shared_from_this(), std::move(connection));
  }
  if (tickets_.size() >= max_tickets) {
    ++counted_.refused;
    throw unavailable("too many requests wait for a write connection");
  }
  if (writes_.size() < most(Use::leases)) add_slot(Use::leases);
  auto ticket = std::make_shared<Ticket>();
  ticket->deadline = std::min(deadline, std::chrono::steady_clock::now() + settings_.lease_wait);
  co_await park(io_, ticket, *this);
  co_return std::move(ticket->lease);
}

void PoolState::start(std::shared_ptr<Parked> parked) {
  tickets_.push_back(std::static_pointer_cast<Ticket>(std::move(parked)));
  watch();
}

void PoolState::cancel(Parked& parked) {
  std::erase_if(tickets_, [&](const std::shared_ptr<Ticket>& ticket) { return ticket.get() == &parked; });
}

void PoolState::give_back(std::shared_ptr<Connection> connection, bool transaction_open) {
  --counted_.writes_leased;
  if (!connection->up()) return;
  if (shut_) return connection->fail("the pool is closed");
  if (!transaction_open) return make_idle(std::move(connection));
  asio::co_spawn(io_, roll_back(shared_from_this(), std::move(connection)), asio::detached);
}

// The connection becomes idle only when the server has confirmed that nothing is left of the transaction. Replies to
// what a cancelled request had sent come first and are swallowed on the way.
async<> PoolState::roll_back([[maybe_unused]] std::shared_ptr<PoolState> self, std::shared_ptr<Connection> connection) {
  auto segment = std::make_shared<Segment>(Segment::Ending::sync, until({}));
  segment->commands.emplace_back(rollback, Params());
  try {
    co_await exchange(*connection, std::move(segment));
  } catch (const std::exception& error) { connection->fail(error.what()); }
  if (connection->up()) make_idle(std::move(connection));
}

void PoolState::make_idle(std::shared_ptr<Connection> connection) {
  if (tickets_.empty()) return idle_.push_back(std::move(connection));
  const auto ticket = std::move(tickets_.front());
  tickets_.pop_front();
  ++counted_.writes_leased;
  ticket->lease = std::make_unique<Lease>(shared_from_this(), std::move(connection));
  resume_later(io_, *ticket);
}

void PoolState::watch() {
  if (std::exchange(watching_, true)) return;
  sweep_timer_.expires_after(sweep_interval);
  sweep_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (const auto self = weak.lock(); self && !error) self->sweep();
  });
}

void PoolState::sweep() {
  const auto now = std::chrono::steady_clock::now();
  bool busy = false;
  for (const auto* slots : {&reads_, &commits_, &writes_})
    for (const auto& slot : *slots) {
      const auto connection = slot->connection ? slot->connection : slot->candidate;
      if (!connection) continue;
      const auto late = connection->expire(now);
      counted_.timeouts += late.waiting + late.sent;
      // A write whose answer is overdue may or may not happen; the connection is of no use until that is settled.
      if (late.sent != 0 && slot->use != Use::reads) connection->fail("a write passed its deadline");
      busy = busy || connection->load() != 0;
    }
  while (!tickets_.empty() && (shut_ || tickets_.front()->deadline <= now)) {
    const auto ticket = std::move(tickets_.front());
    tickets_.pop_front();
    ++counted_.timeouts;
    ticket->failure = std::make_exception_ptr(unavailable("no write connection in time"));
    resume_later(io_, *ticket);
  }
  watching_ = false;
  if (busy || !tickets_.empty()) watch();
}

async<> PoolState::drain(std::chrono::milliseconds patience) {
  constexpr auto quietly = asio::as_tuple(awaiting);
  draining_ = true;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const auto busy = [this] {
    const auto loaded = [](const std::shared_ptr<Slot>& slot) {
      return slot->connection && slot->connection->load() != 0;
    };
    return counted_.writes_leased != 0 || !tickets_.empty() || std::ranges::any_of(reads_, loaded) ||
           std::ranges::any_of(commits_, loaded) || std::ranges::any_of(writes_, loaded);
  };
  Timer timer(io_);
  while (!shut_ && busy() && std::chrono::steady_clock::now() < deadline) {
    timer.expires_after(5ms);
    co_await timer.async_wait(quietly);
  }
  shut();
}

void PoolState::shut() {
  if (std::exchange(shut_, true)) return;
  draining_ = true;
  idle_.clear();
  for (const auto* slots : {&reads_, &commits_, &writes_})
    for (const auto& slot : *slots) {
      for (const auto& connection : {slot->connection, slot->candidate})
        if (connection) connection->fail("the pool is closed");
      slot->timer.cancel();
    }
  for (const auto& ticket : std::exchange(tickets_, {})) {
    ticket->failure = std::make_exception_ptr(unavailable("the pool is closed"));
    resume_later(io_, *ticket);
  }
  sweep_timer_.cancel();
  ready_timer_.cancel();
}

Stats PoolState::stats() const {
  Stats stats = counted_;
  stats.waiters = tickets_.size();
  for (const auto* slots : {&reads_, &commits_, &writes_})
    for (const auto& slot : *slots) {
      if (!slot->connection || !slot->connection->up()) continue;
      ++(slot->use == Use::reads ? stats.reads_up : slot->use == Use::commits ? stats.commits_up : stats.writes_up);
      if (slot->use == Use::leases) continue;
      stats.queued += slot->connection->waiting();
      stats.in_flight += slot->connection->in_flight();
    }
  return stats;
}

Pool::Pool(asio::io_context& io, Settings settings) : state_(std::make_shared<PoolState>(io, std::move(settings))) {}
Pool::~Pool() { state_->shut(); }

async<> Pool::start(std::chrono::milliseconds patience) {
  state_->open();
  return state_->wait_ready(patience);
}
bool Pool::ready() const { return state_->ready(); }
async<> Pool::close(std::chrono::milliseconds patience) { return state_->drain(patience); }
Stats Pool::stats() const { return state_->stats(); }

}  // namespace cairn::pg
