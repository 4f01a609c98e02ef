#include "pg/pipeline.hpp"

#include <libpq-fe.h>

#include <algorithm>

namespace cairn::pg {

namespace {

bool failed(const Command& command) {
  const auto status = PQresultStatus(command.result.get());
  return status == PGRES_FATAL_ERROR || status == PGRES_PIPELINE_ABORTED;
}
bool any_failed(const Segment& segment) {
  return segment.sync_failure || std::ranges::any_of(segment.commands, failed);
}

}  // namespace

void Segment::begin_again() {
  for (auto& command : commands) command.result = {};
  sync_failure = {};
  answered_ = 0;
  failed_sync_ended_ = again = false;
  shares = nullptr;
  ending = Ending::sync;
  state = State::waiting;
}

void Pipeline::push(SegmentPtr segment) { waiting_.push_back(std::move(segment)); }

void Pipeline::mark_written() {
  push_written(std::move(waiting_.front()));
  waiting_.pop_front();
}

void Pipeline::push_written(SegmentPtr segment) {
  segment->state = Segment::State::written;
  if (segment->shares != nullptr && segment->ending == Segment::Ending::sync) ++groups_;
  written_.push_back(std::move(segment));
}

bool Pipeline::feed(Result result) {
  if (written_.empty()) return false;
  Segment& front = *written_.front();
  if (front.state == Segment::State::written) front.state = Segment::State::reading;
  const bool all_answered = front.answered_ == front.commands.size();

  if (!result) {  // libpq's NULL: the results of one command have ended
    if (all_answered) {
      if (!front.sync_failure || front.failed_sync_ended_) return false;
      front.failed_sync_ended_ = true;
      return true;
    }
    if (!front.commands[front.answered_].result) return false;
    if (++front.answered_ < front.commands.size()) return true;
    if (front.ending == Segment::Ending::flush) {
      finish_front();
    } else if (front.ending == Segment::Ending::joined && front.reads && !any_failed(front)) {
      ++early_;
      finish_front();
    } else if (front.ending == Segment::Ending::joined) {
      joined_.push_back(std::move(written_.front()));
      written_.pop_front();
    }
    return true;
  }

  switch (PQresultStatus(result.get())) {
    case PGRES_PIPELINE_SYNC:
      if (!all_answered || front.ending != Segment::Ending::sync) return false;
      finish_group();
      return true;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_PIPELINE_ABORTED:
      if (all_answered) return false;
      break;
    case PGRES_FATAL_ERROR:
      if (all_answered) {
        if (front.ending != Segment::Ending::sync || front.sync_failure) return false;
        front.sync_failure = std::move(result);
        return true;
      }
      break;
    default: return false;
  }
  auto& place = front.commands[front.answered_].result;
  if (place) return false;
  place = std::move(result);
  return true;
}

void Pipeline::finish_front() {
  auto& front = written_.front();
  if (front->state != Segment::State::abandoned) front->state = Segment::State::done;
  finished_.push_back(std::move(front));
  written_.pop_front();
}

void Pipeline::finish_group() {
  if (written_.front()->shares != nullptr) --groups_;
  joined_.push_back(std::move(written_.front()));
  written_.pop_front();
  const bool again = joined_.size() + std::exchange(early_, 0) > 1 &&
                     std::ranges::any_of(joined_, [](const SegmentPtr& segment) { return any_failed(*segment); });
  for (auto& segment : joined_) {
    if (segment->state != Segment::State::abandoned) {
      segment->state = Segment::State::done;
      segment->again = again;
    }
    finished_.push_back(std::move(segment));
  }
  joined_.clear();
}

void Pipeline::abandon(Segment& segment) {
  switch (segment.state) {
    case Segment::State::waiting:
      std::erase_if(waiting_, [&](const SegmentPtr& other) { return other.get() == &segment; });
      [[fallthrough]];
    case Segment::State::written:
    case Segment::State::reading: segment.state = Segment::State::abandoned; break;
    case Segment::State::done:
    case Segment::State::abandoned: break;
  }
}

std::vector<SegmentPtr> Pipeline::expire(Segment::Clock::time_point now) {
  std::vector<SegmentPtr> expired;
  const auto late = [&](const SegmentPtr& segment) {
    return segment->state != Segment::State::abandoned && segment->deadline <= now;
  };
  std::ranges::copy_if(joined_, std::back_inserter(expired), late);
  std::ranges::copy_if(written_, std::back_inserter(expired), late);
  std::ranges::copy_if(waiting_, std::back_inserter(expired), late);
  for (const auto& segment : expired) abandon(*segment);
  return expired;
}

std::vector<SegmentPtr> Pipeline::clear() {
  std::vector<SegmentPtr> lost;
  const auto wanted = [](const SegmentPtr& segment) { return segment->state != Segment::State::abandoned; };
  std::ranges::copy_if(joined_, std::back_inserter(lost), wanted);
  std::ranges::copy_if(written_, std::back_inserter(lost), wanted);
  std::ranges::copy_if(waiting_, std::back_inserter(lost), wanted);
  joined_.clear();
  written_.clear();
  waiting_.clear();
  groups_ = early_ = 0;
  for (const auto& segment : lost) segment->state = Segment::State::abandoned;
  return lost;
}

}  // namespace cairn::pg
