#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/async.hpp"
#include "base/problem.hpp"
#include "pg/sql.hpp"

namespace cairn::pg {

class Pool;
class PoolState;
class Lease;
class Segment;

// When a request's patience ends. The default value stands for the pool's own statement deadline from now.
using Deadline = std::chrono::steady_clock::time_point;

template<class R, class... P>
Params bind(const Sql<R(P...)>&, const std::type_identity_t<P>&... values) {
  Params params;
  (params.add(values), ...);
  return params;
}

// Sent first in every transaction: proves who asks and puts that into transaction-local settings. When it yields no row
// the request ends as unauthenticated. What follows it in the same transaction is on its way by then, so it must be
// powerless without those settings: row-level security and the audit trigger see to that. Empty: nothing is sent.
// A prelude may carry what we remember about the caller, which the server checks before it puts it to use. Such a one
// is `checked`: its first column is a boolean, and false, meaning that it is no longer so and nothing was set, throws
// Stale. A checked prelude sets the same settings whoever asks, and those of a change empties them when it sets
// nothing: transactions of one statement that begin with the same prelude may be put into one (pg/pipeline.hpp).
struct Prelude {
  Prelude() = default;
  Prelude(const Statement& sent, Params values) : statement(&sent), params(std::move(values)) {}
  const Statement* statement = nullptr;
  Params params;
  bool checked = false;
};
// What a checked prelude carried is out of date: nothing was read or written; learn anew and begin again.
class Stale : public Problem {
 public:
  Stale() : Problem(Kind::unavailable, "Something about the caller was changing; try again.") { retry_after = 1; }
};
template<class R, class... P>
Prelude prelude(const Sql<R(P...)>& sql, const std::type_identity_t<P>&... values) {
  return Prelude(sql, bind(sql, values...));
}

// What reading and writing transactions have in common; helpers that only query take a Reader&.
// Every verb throws a Problem: see pg/error.hpp for the ones that come from the server.
// Parameters are encoded before the verb returns, so temporaries may be passed.
class Reader {
 public:
  // Exactly one row; no row is not_found.
  template<class R, class... P>
  async<R> one(const Sql<R(P...)>& sql, const std::type_identity_t<P>&... values) {
    return fetch_one<R>(sql, bind(sql, values...));
  }
  template<class R, class... P>
  async<std::optional<R>> maybe(const Sql<R(P...)>& sql, const std::type_identity_t<P>&... values) {
    return fetch_maybe<R>(sql, bind(sql, values...));
  }
  template<class R, class... P>
  async<std::vector<R>> all(const Sql<R(P...)>& sql, const std::type_identity_t<P>&... values) {
    return fetch_all<R>(sql, bind(sql, values...));
  }
  // For a variant of a Family (pg/family.hpp); `params` hold its values in order of use.
  template<class R>
  async<std::vector<R>> all(const Statement& statement, Params params) {
    return fetch_all<R>(statement, std::move(params));
  }

  // The prelude's row, known after the first verb has returned.
  template<class R, class... P>
  R caller(const Sql<R(P...)>& sql) const {
    auto row = read_row<R>(sql, prelude_result_);
    if (!row) throw Problem(Kind::unauthenticated);
    return std::move(*row);
  }

 protected:
  Reader() = default;
  ~Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  virtual async<Result> fetch(const Statement& statement, Params params) = 0;

  template<class R>
  static R only(const Statement& statement, const Result& result) {
    auto row = read_row<R>(statement, result);
    if (!row) throw Problem(Kind::not_found);
    return std::move(*row);
  }

  // The statement's result out of an answered segment; throws what went wrong in it.
  Result answer(Segment& segment, const Prelude* prelude);

 private:
  template<class R>
  async<R> fetch_one(const Statement& statement, Params params) {
    const Result result = co_await fetch(statement, std::move(params));
    co_return only<R>(statement, result);
  }
  template<class R>
  async<std::optional<R>> fetch_maybe(const Statement& statement, Params params) {
    const Result result = co_await fetch(statement, std::move(params));
    co_return read_row<R>(statement, result);
  }
  template<class R>
  async<std::vector<R>> fetch_all(const Statement& statement, Params params) {
    const Result result = co_await fetch(statement, std::move(params));
    co_return read_rows<R>(statement, result);
  }

  Result prelude_result_;
};

// A request that only reads. Each verb is a transaction of its own, [prelude][statement], in one round trip on a shared
// read-only connection; two verbs may see different snapshots.
class ReadTx final : public Reader {
 public:
  explicit ReadTx(Pool& pool, Prelude prelude = {}, Deadline deadline = {});
  ~ReadTx();

 private:
  async<Result> fetch(const Statement& statement, Params params) override;

  std::shared_ptr<PoolState> pool_;
  Prelude prelude_;
  Deadline deadline_;
};

// A request that writes: one transaction on a connection of its own, leased at the first verb. Verbs run one after the
// other, never two at once. Unless `commit` or `finish` returned, nothing is kept: leaving the scope rolls back.
// After a verb has thrown the transaction is lost and every further verb throws.
class Tx final : public Reader {
 public:
  explicit Tx(Pool& pool, Prelude prelude = {}, Deadline deadline = {});
  ~Tx();

  // Returns how many rows it touched.
  template<class... P>
  async<std::int64_t> run(const Sql<void(P...)>& sql, const std::type_identity_t<P>&... values) {
    return fetch_affected(sql, bind(sql, values...), false);
  }

  // Returns once the server has made everything durable. Deferred constraints are checked here and may throw.
  // Without any verb before, and after a `finish`, it does nothing.
  async<> commit();
  // Called once everything is durable, before the verb that commits returns; never when nothing is kept.
  void after_commit(void (*hook)()) { hooks_.push_back(hook); }

  // The last statement and the commit in one round trip; what they return is durable.
  // No row is not_found for `finish`, after the commit: a statement without a row must have changed nothing. After a
  // `maybe_finish` without a row, further verbs are a transaction of their own, which can find out why.
  template<class R, class... P>
  async<R> finish(const Sql<R(P...)>& sql, const std::type_identity_t<P>&... values) {
    return finish_one<R>(sql, bind(sql, values...));
  }
  template<class... P>
  async<std::int64_t> finish(const Sql<void(P...)>& sql, const std::type_identity_t<P>&... values) {
    return fetch_affected(sql, bind(sql, values...), true);
  }
  template<class R, class... P>
  async<std::optional<R>> maybe_finish(const Sql<R(P...)>& sql, const std::type_identity_t<P>&... values) {
    return finish_maybe<R>(sql, bind(sql, values...));
  }

 private:
  async<Result> fetch(const Statement& statement, Params params) override;
  async<Result> fetch_last(const Statement& statement, Params params);
  async<Result> exchange(std::shared_ptr<Segment> segment);
  void committed();
  async<std::int64_t> fetch_affected(const Statement& statement, Params params, bool last);
  template<class R>
  async<R> finish_one(const Statement& statement, Params params) {
    const Result result = co_await fetch_last(statement, std::move(params));
    co_return only<R>(statement, result);
  }
  template<class R>
  async<std::optional<R>> finish_maybe(const Statement& statement, Params params) {
    const Result result = co_await fetch_last(statement, std::move(params));
    auto row = read_row<R>(statement, result);
    over_ = row.has_value();
    co_return row;
  }

  std::shared_ptr<PoolState> pool_;
  std::unique_ptr<Lease> lease_;
  Prelude prelude_;
  Deadline deadline_;
  bool over_ = false;       // committed, failed, or an answer is still out
  bool committed_ = false;  // and nothing was begun since
  std::vector<void (*)()> hooks_;
};

}  // namespace cairn::pg
