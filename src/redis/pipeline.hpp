#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace cairn::redis {

// Who waits for which reply on one connection, oldest first. No I/O. A command cannot be taken back once it is sent, so
// abandoning one takes its waiter away and leaves its place: the reply that comes for it finds nobody.
template<class Waiter>
class Pipeline {
 public:
  using Clock = std::chrono::steady_clock;
  using Ticket = std::uint64_t;

  // Deadlines must not decrease.
  Ticket add(Waiter waiter, Clock::time_point deadline) {
    places_.push_back(Place{std::move(waiter), deadline});
    return first_ + places_.size() - 1;
  }

  // The waiter of this place, or nullopt when it has got its reply or was abandoned before.
  std::optional<Waiter> abandon(Ticket ticket) {
    auto index = ticket - first_;  // wraps around for places gone by
    if (index >= places_.size()) return std::nullopt;
    return std::exchange(places_[index].waiter, std::nullopt);
  }

  // Whom the next reply belongs to, nullopt when nobody waits for it any more. Not when empty.
  std::optional<Waiter> pop() {
    auto waiter = std::move(places_.front().waiter);
    places_.pop_front();
    ++first_;
    return waiter;
  }

  // Abandons every place past its deadline.
  std::vector<Waiter> expire(Clock::time_point now) {
    std::vector<Waiter> late;
    for (auto& place : places_) {
      if (place.deadline > now) break;
      if (auto waiter = std::exchange(place.waiter, std::nullopt)) late.push_back(std::move(*waiter));
    }
    return late;
  }

  // Whether a reply is owed past its deadline, abandoned or not.
  bool overdue(Clock::time_point now) const { return !places_.empty() && places_.front().deadline <= now; }

  // Empties the pipeline, for the end of the connection.
  std::vector<Waiter> drain() {
    std::vector<Waiter> left;
    while (!places_.empty()) {
      if (auto waiter = pop()) left.push_back(std::move(*waiter));
    }
    return left;
  }

  bool empty() const { return places_.empty(); }
  std::size_t size() const { return places_.size(); }

 private:
  struct Place {
    std::optional<Waiter> waiter;
    Clock::time_point deadline;
  };
  std::deque<Place> places_;
  Ticket first_ = 0;  // of the front place
};

}  // namespace cairn::redis
