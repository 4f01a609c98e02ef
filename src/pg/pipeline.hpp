#pragma once
#include <chrono>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "pg/params.hpp"
#include "pg/parked.hpp"
#include "pg/result.hpp"
#include "pg/sql.hpp"

namespace cairn::pg {

// One statement on its way: prepare it, or run it.
struct Command {
  Command() = default;
  Command(const Statement& to_run, Params values) : statement(&to_run), params(std::move(values)) {}
  static Command preparation(const Statement& of) {
    Command command(of, {});
    command.prepare = true;
    return command;
  }
  const Statement* statement = nullptr;
  Params params;
  bool prepare = false;
  std::uint8_t generation = 0;  // which preparation of the statement it was sent for
  Result result;
};

// Statements that travel together. One that ends in a sync is a transaction of its own, or the end of one that earlier
// segments, which ended in a flush, left open.
// Segments that share begin with the same prelude and are put into one transaction: all but the last are `joined` to
// the sync of that one. When anything in such a group fails, nothing of it has happened, and each is sent `again`,
// alone. Reads that were answered before that have their answer already: they are done as soon as they are answered, so
// that their replies go out while the server works on the rest of the group.
class Segment : public Parked {
 public:
  enum class State { waiting, written, reading, done, abandoned };
  enum class Ending { sync, flush, joined };
  using Clock = std::chrono::steady_clock;

  Segment(Ending with, Clock::time_point until) : ending(with), deadline(until) {}

  std::vector<Command> commands;
  Ending ending;
  Clock::time_point deadline;
  State state = State::waiting;
  Result sync_failure;                // the commit itself failed: a deferred constraint
  const Statement* shares = nullptr;  // the prelude it shares with others that have the same
  bool reads = false, again = false;

  // As it was before it was sent, to be sent by itself.
  void begin_again();

 private:
  friend class Pipeline;
  std::size_t answered_ = 0;  // commands whose results have ended
  bool failed_sync_ended_ = false;
};
using SegmentPtr = std::shared_ptr<Segment>;

// The queue of one connection in libpq's pipeline mode, without the connection: what is waiting, what has been written,
// and which segment the next result belongs to. Segments are answered in the order they were written.
//   waiting -> written -> reading -> done     the usual way
//   waiting -> (gone)                         abandoned before it was written: the server never hears of it
//   written, reading -> abandoned -> (gone)   abandoned later: its replies are swallowed, the order is kept
class Pipeline {
 public:
  void push(SegmentPtr segment);
  // The oldest waiting segment or the nth after it, or null.
  Segment* next_waiting(std::size_t nth = 0) const { return nth < waiting_.size() ? waiting_[nth].get() : nullptr; }
  void push_first(SegmentPtr segment) { waiting_.push_front(std::move(segment)); }
  void mark_written();                    // the oldest waiting one has been handed to libpq
  void push_written(SegmentPtr segment);  // one that went out ahead of the waiting ones

  bool expecting() const { return !written_.empty(); }
  std::size_t waiting() const { return waiting_.size(); }
  std::size_t in_flight() const { return written_.size() + joined_.size(); }
  std::size_t groups() const { return groups_; }  // syncs on their way that end segments which share

  // Takes what PQgetResult returned (empty for NULL). False: not what should have come next, the connection is of no
  // further use.
  [[nodiscard]] bool feed(Result result);
  // Segments that have been answered in full since the last call, abandoned ones included, oldest first.
  std::vector<SegmentPtr> take_finished() { return std::exchange(finished_, {}); }

  // Nobody wants the answer any more.
  void abandon(Segment& segment);
  // Abandons the segments whose deadline has passed and returns them.
  std::vector<SegmentPtr> expire(Segment::Clock::time_point now);
  // Forgets everything; returns what had not been answered, except what was abandoned.
  std::vector<SegmentPtr> clear();

 private:
  void finish_front();
  void finish_group();

  std::deque<SegmentPtr> waiting_, written_;
  std::vector<SegmentPtr> joined_;  // answered but for the sync
  std::vector<SegmentPtr> finished_;
  std::size_t groups_ = 0, early_ = 0;  // early: reads of the group at the front that are done
};

}  // namespace cairn::pg
