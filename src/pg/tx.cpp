#include "pg/tx.hpp"

#include <libpq-fe.h>

#include <utility>

#include "pg/error.hpp"
#include "pg/pool.hpp"
#include "pg/pool_state.hpp"

namespace cairn::pg {

Result Reader::answer(Segment& segment, const Prelude* prelude) {
  Result last;
  for (auto& command : segment.commands) {
    if (PQresultStatus(command.result.get()) == PGRES_FATAL_ERROR) raise(command.result, command.statement->name());
    if (command.prepare) continue;
    last = std::move(command.result);
    const auto* sent = std::exchange(prelude, nullptr);
    if (sent == nullptr) continue;
    if (last.rows() == 0) throw Problem(Kind::unauthenticated);
    if (sent->checked && last.field(0, 0).bytes() != std::string_view("\1", 1)) throw Stale();
    prelude_result_ = std::exchange(last, {});
  }
  if (segment.sync_failure) raise(segment.sync_failure, "commit");
  return last;
}

ReadTx::ReadTx(Pool& pool, Prelude prelude, Deadline deadline)
    : pool_(pool.state()), prelude_(std::move(prelude)), deadline_(pool_->until(deadline)) {}
ReadTx::~ReadTx() = default;

async<Result> ReadTx::fetch(const Statement& statement, Params params) {
  if (prelude_.checked && statement.one()) {
    const auto own = params.size();
    params.append(prelude_.params);
    auto only = std::make_shared<Segment>(Segment::Ending::sync, deadline_);
    only->commands.emplace_back(statement.behind(*prelude_.statement), std::move(params));
    only->shares = prelude_.statement;
    only->reads = true;
    co_await pool_->read(only);
    auto result = answer(*only, nullptr);
    if (result.rows() != 0) co_return result;
    // Either there is no such row or the caller is not who that was: what follows tells which.
    params = std::move(only->commands.front().params);
    params.keep(own);
  }
  auto segment = std::make_shared<Segment>(Segment::Ending::sync, deadline_);
  segment->commands.reserve(2);
  if (prelude_.statement != nullptr) segment->commands.emplace_back(*prelude_.statement, prelude_.params);
  segment->commands.emplace_back(statement, std::move(params));
  segment->shares = prelude_.checked ? prelude_.statement : nullptr;
  segment->reads = true;
  co_await pool_->read(segment);
  co_return answer(*segment, prelude_.statement != nullptr ? &prelude_ : nullptr);
}

Tx::Tx(Pool& pool, Prelude prelude, Deadline deadline)
    : pool_(pool.state()), prelude_(std::move(prelude)), deadline_(pool_->until(deadline)) {}
Tx::~Tx() = default;

async<Result> Tx::fetch(const Statement& statement, Params params) {
  auto segment = std::make_shared<Segment>(Segment::Ending::flush, deadline_);
  segment->commands.emplace_back(statement, std::move(params));
  return exchange(std::move(segment));
}

async<Result> Tx::fetch_last(const Statement& statement, Params params) {
  auto segment = std::make_shared<Segment>(Segment::Ending::sync, deadline_);
  segment->commands.emplace_back(statement, std::move(params));
  return exchange(std::move(segment));
}

async<> Tx::commit() {
  if (committed_ || (!lease_ && !over_)) {
    over_ = true;
    co_return;
  }
  co_await exchange(std::make_shared<Segment>(Segment::Ending::sync, deadline_));
}

async<Result> Tx::exchange(std::shared_ptr<Segment> segment) {
  // Stays set when anything below throws: after an error the server ignores everything up to the end of the
  // transaction, and would leave a further statement without any answer.
  if (std::exchange(over_, true)) throw Problem(Kind::internal).because("the transaction is over");
  committed_ = false;
  const bool first = !lease_;
  const auto* prelude = first && prelude_.statement != nullptr ? &prelude_ : nullptr;
  if (prelude != nullptr) {
    Command opening(*prelude_.statement, prelude_.params);
    segment->commands.insert(segment->commands.begin(), std::move(opening));
  }
  if (first && segment->ending == Segment::Ending::sync) {
    // A whole transaction in one segment: nothing of it stays behind, so it needs no connection to itself.
    segment->shares = prelude_.checked ? prelude_.statement : nullptr;
    co_await pool_->commit(segment);
    auto only = answer(*segment, prelude);
    committed();
    co_return only;
  }
  if (first) lease_ = co_await pool_->lease(deadline_);
  lease_->open = true;
  co_await pool_->exchange(lease_->connection(), segment);
  if (segment->ending == Segment::Ending::sync) {
    lease_->open = false;
    lease_.reset();
    auto last = answer(*segment, prelude);
    committed();
    co_return last;
  }
  auto result = answer(*segment, prelude);
  over_ = false;
  co_return result;
}

void Tx::committed() {
  committed_ = true;
  for (auto* hook : std::exchange(hooks_, {})) hook();
}

async<std::int64_t> Tx::fetch_affected(const Statement& statement, Params params, bool last) {
  // Named first: g++ 12 destroys the result of a conditional expression twice when it is awaited in place.
  auto operation = last ? fetch_last(statement, std::move(params)) : fetch(statement, std::move(params));
  const Result result = co_await std::move(operation);
  co_return result.affected();
}

}  // namespace cairn::pg
