#include "pg/connection.hpp"

#include "base/log.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

#include "pg/error.hpp"
#include "pg/sql.hpp"

namespace cairn::pg {
namespace asio = boost::asio;
namespace {

// Segments handed to libpq before the oldest is answered. The server works on one at a time, so this only has to keep
// it busy between two turns of the event loop; what waits on our side can still be taken back.
constexpr std::size_t window = 64;
// Requests that share are put into one transaction: a sync, a snapshot, a commit and a flush of the log each cost about
// as much as a statement by its key. What arrives while this many groups are on their way travels together, so nobody
// waits for company.
constexpr std::size_t max_groups = 1, largest_group = 32;
constexpr std::size_t max_params = 64;

using Socket = asio::posix::basic_stream_descriptor<Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

struct ServerFacts {
  ServerFacts() = default;
  std::int32_t version = 0;
  std::string user;
  bool superuser = true, bypasses_row_security = true, synchronous = false;
  std::string epoch;
};
BOOST_DESCRIBE_STRUCT(ServerFacts, (), (version, user, superuser, bypasses_row_security, synchronous, epoch))

// Transaction numbers that were given out shortly before a crash may be given out again after it, so that a snapshot of
// before says nothing then: `app.epoch` is another after each crash (which takes the statistics with it) and each
// start.
const Sql<ServerFacts()> server_facts{"pg.server_facts", R"sql(
  select current_setting('server_version_num')::int as version, rolname::text as user, rolsuper as superuser,
         rolbypassrls as bypasses_row_security, current_setting('synchronous_commit') <> 'off' as synchronous,
         set_config('app.epoch', hashtextextended(pg_postmaster_start_time()::text ||
                                                  pg_stat_get_bgwriter_stat_reset_time()::text, 0)::text, false) as epoch
  from pg_roles where rolname = current_user)sql"};

void check(const ServerFacts& facts) {
  const auto refuse = [](std::string why) {
    Unfit problem(Kind::unavailable, "The database is not set up correctly.");
    problem.cause = std::move(why);
    throw problem;
  };
  if (facts.version < 150000)
    refuse(fmt::format("PostgreSQL 15 or later is needed, the server has {}", facts.version / 10000));
  if (facts.superuser) refuse(fmt::format("{} is a superuser: row-level security would not apply", facts.user));
  if (facts.bypasses_row_security) refuse(fmt::format("{} bypasses row-level security", facts.user));
  if (!facts.synchronous) refuse("synchronous_commit is off: acknowledged changes could be lost");
}

void discard(void*, const PGresult*) {}

// The connection string's own options, if any, and ours after them.
std::string session_options(const ConnectionOptions& options) {
  std::string all;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed(
      PQconninfoParse(options.conninfo.c_str(), nullptr), PQconninfoFree);
  for (auto* option = parsed.get(); option != nullptr && option->keyword != nullptr; ++option)
    if (std::string_view(option->keyword) == "options" && option->val != nullptr) all.append(option->val).append(" ");
  all.append("-c timezone=UTC -c client_min_messages=error");
  if (options.read_only) all.append(" -c default_transaction_read_only=on");
  if (!options.role.empty()) all.append(" -c role=").append(options.role);
  return all;
}

Connection::Handle begin(const ConnectionOptions& options) {
  const auto session = session_options(options);
  const std::array keywords{"dbname", "application_name", "options", "client_encoding",
                            static_cast<const char*>(nullptr)};
  const std::array values{options.conninfo.c_str(), options.application_name.c_str(), session.c_str(), "UTF8",
                          static_cast<const char*>(nullptr)};
  return Connection::Handle(PQconnectStartParams(keywords.data(), values.data(), 1));
}

// Waits until libpq's socket is ready; false when `deadline` came first.
async<bool> ready(asio::io_context& io, pg_conn* connection, Socket::wait_type what,
                  std::chrono::steady_clock::time_point deadline) {
  // libpq may change its socket between two polls, hence a new duplicate each time.
  auto socket = std::make_shared<Socket>(io, ::dup(PQsocket(connection)));
  Timer timer(io, deadline);
  timer.async_wait([socket](const boost::system::error_code& error) {
    if (!error) socket->cancel();
  });
  bool in_time = true;
  try {
    co_await socket->async_wait(what, awaiting);
  } catch (const boost::system::system_error&) { in_time = false; }
  co_return in_time;
}

}  // namespace

void Connection::Finish::operator()(pg_conn* connection) const noexcept { PQfinish(connection); }

async<std::shared_ptr<Connection>> Connection::open(asio::io_context& io, ConnectionOptions options) {
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  auto handle = begin(options);
  auto progress = PQstatus(handle.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (progress != PGRES_POLLING_OK) {
    if (progress == PGRES_POLLING_FAILED) throw unavailable(PQerrorMessage(handle.get()));
    const auto what = progress == PGRES_POLLING_READING ? Socket::wait_read : Socket::wait_write;
    if (!co_await ready(io, handle.get(), what, deadline)) throw unavailable("no connection in time");
    progress = PQconnectPoll(handle.get());
  }
  PQsetNoticeReceiver(handle.get(), discard, nullptr);
  if (PQsetnonblocking(handle.get(), 1) != 0 || PQenterPipelineMode(handle.get()) != 1)
    throw unavailable(PQerrorMessage(handle.get()));

  auto connection = std::make_shared<Connection>(io, std::move(handle));
  connection->listen();
  co_return connection;
}

async<> Connection::verify(Segment::Clock::time_point deadline) {
  auto question = std::make_shared<Segment>(Segment::Ending::sync, deadline);
  question->commands.emplace_back(server_facts, Params());
  co_await exchange(question);
  const auto& answer = question->commands.front().result;
  if (PQresultStatus(answer.get()) != PGRES_TUPLES_OK) raise(answer, server_facts.name());
  check(read_row<ServerFacts>(server_facts, answer).value());
}

Connection::Connection(asio::io_context& io, Handle connected)
    : io_(io), handle_(std::move(connected)), socket_(io, ::dup(PQsocket(handle_.get()))) {}

async<> Connection::exchange(SegmentPtr segment) {
  const auto self = shared_from_this();
  co_await park(io_, std::move(segment), *this);
}

void Connection::start(std::shared_ptr<Parked> parked) {
  auto segment = std::static_pointer_cast<Segment>(std::move(parked));
  if (!up()) {
    segment->failure = std::make_exception_ptr(unavailable("the connection is lost"));
    return resume_later(io_, *segment);
  }
  pipeline_.push(std::move(segment));
  pump_soon();
}

void Connection::cancel(Parked& parked) { pipeline_.abandon(static_cast<Segment&>(parked)); }

void Connection::listen() {
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
    if (!error && self->up()) self->on_readable();
  });
}

void Connection::on_readable() {
  if (drain()) listen();
  settle();
}

// Takes what has arrived; false when that ended the connection. Segments answered before it are answered.
bool Connection::drain() {
  if (PQconsumeInput(handle_.get()) == 0) {
    fail(message());
    return false;
  }
  while (pipeline_.expecting() && PQisBusy(handle_.get()) == 0) {
    if (pipeline_.feed(Result(PQgetResult(handle_.get())))) continue;
    fail("a result that belongs to no statement");
    return false;
  }
  return true;
}

// Resumes whoever got an answer. They run on the spot and may do anything, also drop this connection.
void Connection::settle() {
  auto finished = pipeline_.take_finished();
  if (!finished.empty()) at_work_since_ = Segment::Clock::now();
  for (const auto& segment : finished)
    for (const auto& command : segment->commands) learn(command);
  for (auto segment = finished.rbegin(); segment != finished.rend(); ++segment) {
    if ((*segment)->state != Segment::State::done || !(*segment)->again) continue;
    (*segment)->begin_again();
    pipeline_.push_first(*segment);
  }
  pump_soon();
  for (const auto& segment : finished)
    if (segment->state == Segment::State::done) segment->resume();
}

// What shares waits until all that is ready has had its turn, and then once more, for what has arrived on other sockets
// meanwhile: that makes larger groups. Who is alone does not notice.
void Connection::pump_soon() {
  const auto* next = pipeline_.next_waiting();
  if (next == nullptr || next->shares == nullptr) return pump();
  if (std::exchange(pumping_soon_, true)) return;
  asio::post(io_, [self = shared_from_this()] {
    asio::post(self->io_, [self] {
      self->pumping_soon_ = false;
      self->pump();
    });
  });
}

// Hands waiting segments to libpq. Not while the socket is full: libpq would move all it has buffered with every send.
void Connection::pump() {
  while (up() && !blocked_ && pipeline_.in_flight() < window) {
    auto* next = pipeline_.next_waiting();
    if (next == nullptr || (next->shares != nullptr && pipeline_.groups() >= max_groups)) return;
    if (pipeline_.in_flight() == 0) at_work_since_ = Segment::Clock::now();
    if (!prepare_missing(*next)) return fail(message());
    for (std::size_t size = 1; size < largest_group && joins(*next); ++size) {
      next->ending = Segment::Ending::joined;
      if (!write(*next)) return fail(message());
      pipeline_.mark_written();
      next = pipeline_.next_waiting();
    }
    if (!write(*next)) return fail(message());
    pipeline_.mark_written();
    if (!flush()) return fail(message());
  }
}

// Whether the one that waits after this one can go into the same transaction.
bool Connection::joins(const Segment& segment) {
  const auto* after = pipeline_.next_waiting(1);
  return segment.shares != nullptr && after != nullptr && after->shares == segment.shares &&
         std::ranges::all_of(after->commands,
                             [this](const Command& command) { return prepared(*command.statement).done; });
}

bool Connection::write(Segment& segment) {
  for (auto& command : segment.commands)
    if (!write(command)) return false;
  if (segment.ending == Segment::Ending::joined) return true;
  in_transaction_ = segment.ending == Segment::Ending::flush;
  return (in_transaction_ ? PQsendFlushRequest(handle_.get()) : PQpipelineSync(handle_.get())) == 1;
}

bool Connection::write(Command& command) {
  const auto& statement = *command.statement;
  auto& slot = prepared(statement);
  command.generation = slot.generation;
  std::string renamed;
  if (slot.generation != 0) renamed = fmt::format("{}#{}", statement.name(), slot.generation);
  const char* const name = renamed.empty() ? statement.name().c_str() : renamed.c_str();
  if (command.prepare) return PQsendPrepare(handle_.get(), name, statement.text().c_str(), 0, nullptr) == 1;

  std::array<const char*, max_params> values;
  std::array<int, max_params> lengths, formats;
  const auto& params = command.params;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const auto value = params.value(i);
    values[i] = params.null(i) ? nullptr : value.data();
    lengths[i] = static_cast<int>(value.size());
    formats[i] = static_cast<int>(params.format(i));
  }
  constexpr int binary = 1;
  return PQsendQueryPrepared(handle_.get(), name, static_cast<int>(params.size()), values.data(), lengths.data(),
                             formats.data(), binary) == 1;
}

// Has every statement of the segment prepared before it runs. Outside of a transaction each preparation is a segment of
// its own, which no error of the request can undo; inside there is no choice.
bool Connection::prepare_missing(Segment& segment) {
  for (std::size_t i = 0; i < segment.commands.size(); ++i) {
    const auto& statement = *segment.commands[i].statement;
    auto& slot = prepared(statement);
    if (slot.done) continue;
    slot.done = true;  // as far as anything written after it is concerned
    auto preparation = Command::preparation(statement);
    if (in_transaction_) {
      segment.commands.insert(segment.commands.begin() + static_cast<std::ptrdiff_t>(i++), std::move(preparation));
      continue;
    }
    auto ahead = std::make_shared<Segment>(Segment::Ending::sync, segment.deadline);
    ahead->commands.push_back(std::move(preparation));
    if (!write(*ahead)) return false;
    pipeline_.push_written(std::move(ahead));
  }
  return true;
}

// Pushes what libpq has buffered into the socket, now or as soon as the socket takes it.
bool Connection::flush() {
  const int left = PQflush(handle_.get());
  if (left != 1) return left == 0;
  blocked_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const boost::system::error_code& error) {
    self->blocked_ = false;
    if (error || !self->up()) return;
    if (!self->flush()) return self->fail(self->message());
    // While the socket was full libpq may have read replies by itself; no event will tell of those.
    self->drain();
    self->settle();
  });
  return true;
}

Connection::Prepared& Connection::prepared(const Statement& statement) {
  if (statement.index() >= prepared_.size()) prepared_.resize(statement.index() + 16);
  return prepared_[statement.index()];
}

void Connection::learn(const Command& answered) {
  const auto status = PQresultStatus(answered.result.get());
  if (status != PGRES_FATAL_ERROR && status != PGRES_PIPELINE_ABORTED) return;
  auto& slot = prepared(*answered.statement);
  if (slot.generation != answered.generation) return;
  if (answered.prepare) {
    slot.done = false;
    if (status == PGRES_FATAL_ERROR)
      log::error("a statement cannot be prepared",
                 {{"statement", answered.statement->name()},
                  {"cause", PQresultErrorField(answered.result.get(), PG_DIAG_MESSAGE_PRIMARY)}});
  } else if (status == PGRES_FATAL_ERROR && plan_is_stale(answered.result)) {
    slot.done = false;
    ++slot.generation;
  }
}

Connection::Late Connection::expire(Segment::Clock::time_point now) {
  Late late;
  late.waiting = waiting();
  const auto expired = pipeline_.expire(now);
  late.waiting -= waiting();
  late.sent = expired.size() - late.waiting;
  for (const auto& segment : expired) {
    segment->failure = std::make_exception_ptr(
        Problem(Kind::timeout, "The database took too long.").because("deadline passed while waiting for an answer"));
    resume_later(io_, *segment);
  }
  return late;
}

void Connection::fail(const std::string& cause) {
  if (!up()) return;
  boost::system::error_code ignored;
  socket_.close(ignored);
  handle_.reset();
  for (const auto& segment : pipeline_.clear()) {
    segment->failure = std::make_exception_ptr(unavailable(cause));
    resume_later(io_, *segment);
  }
  if (const auto lost = std::exchange(on_lost, nullptr)) lost(cause);
}

std::string Connection::message() const { return handle_ ? PQerrorMessage(handle_.get()) : "the connection is lost"; }

}  // namespace cairn::pg
