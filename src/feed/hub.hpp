#pragma once
#include <boost/asio/steady_timer.hpp>

#include <compare>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "feed/feed.hpp"
#include "redis/subscriber.hpp"

namespace cairn::feed {

// Of an entry, in the order in which readers go forward: see db/migrations/0020. {xid, 0} is the place before the first
// entry of a transaction, hence behind all those of lower ones.
struct Position {
  Position() = default;
  Position(std::uint64_t transaction, std::int64_t sequence) : xid(transaction), seq(sequence) {}
  auto operator<=>(const Position&) const = default;
  std::string text() const;  // of an event's id; opaque to clients
  static std::optional<Position> parse(std::string_view text);

  std::uint64_t xid = 0;
  std::int64_t seq = 0;
};

// As it goes to every reader that may see it.
struct Event {
  Event() = default;
  Position position;
  std::string entity_type, text;
};
using EventPtr = std::shared_ptr<const Event>;

// All that decides what a person sees of an organization's record. Who has the same view is served the same events.
struct View {
  View() = default;
  std::int64_t rights = 0;
  bool open = false;     // no project is hidden
  std::string projects;  // entered by the person
  bool operator==(const View&) const = default;
};
BOOST_DESCRIBE_STRUCT(View, (), (rights, open, projects))

class Reader;

// One core's feed. In turns, begun by a commit somewhere or by the clock, it reads what came between its cursor and the
// oldest transaction that is still running: once for each view that somebody has, in the name of one of those who have
// it, under the same policies as any request. Before events are handed out it asks whether each reader's session still
// stands and may do what it might: whoever may not gets nothing more.
// A reader that is not where the hub is (it has just come, its rights have changed, it is slow, or there is much at
// once) reads on by itself at its own pace, and joins the others when it has caught up.
class Hub final : public api::Witness, public std::enable_shared_from_this<Hub> {
 public:
  Hub(api::Core& core, redis::Settings redis, std::shared_ptr<Streams> streams);

  void start();
  void changed() override;
  void stop() override;

  api::Core& core() { return core_; }
  Streams& streams() { return *streams_; }

 private:
  friend class Reader;
  struct Group;

  std::uint64_t add(Reader& reader);
  void remove(std::uint64_t id) { readers_.erase(id); }
  // Everything of transactions below has been handed out; 0: nobody is here.
  std::uint64_t cursor() const { return cursor_; }
  void begin_at(std::uint64_t xid);
  void join(Reader& reader);
  void wake();

  static async<> run(std::shared_ptr<Hub> self);
  static async<> publish(std::shared_ptr<Hub> self);
  async<> sleep(std::chrono::milliseconds time);
  bool watched() const;
  async<bool> turn();
  async<> fill(Group& group, std::uint64_t before);
  async<> check(std::vector<std::uint64_t> ids);
  void beat();

  api::Core& core_;
  std::shared_ptr<Streams> streams_;
  redis::Subscriber subscriber_;
  boost::asio::steady_timer pause_;
  std::unordered_map<std::uint64_t, Reader*> readers_;
  std::uint64_t last_id_ = 0, cursor_ = 0, turn_ = 0;
  std::chrono::steady_clock::time_point checked_{};
  bool woken_ = false, stopped_ = false, publishing_ = false, away_ = false;
};

// One stream.
class Reader final : public http::Source {
 public:
  Reader(std::shared_ptr<Hub> hub, const api::Call& call, const Uuid& organization, std::optional<Position> after,
         const std::optional<std::vector<audit::EntityType>>& types, Streams::Place place);
  ~Reader() override;

  async<> next(std::string& piece) override;
  void stop() override { close("ended"); }

 private:
  friend class Hub;
  enum class State { entering, behind, live };

  async<> enter(std::string& piece);
  async<> catch_up(std::string& piece);
  async<> wait();
  void take(std::string& piece);
  bool wants(const Event& event) const;
  // From here on by the hub, on the same thread.
  void push(const std::vector<EventPtr>& events);
  void leave(State to);
  void close(std::string_view reason);
  void wake() { signal_.cancel(); }

  std::shared_ptr<Hub> hub_;
  std::uint64_t id_ = 0;
  Uuid organization_;
  std::vector<std::string> types_;
  Streams::Place place_;
  api::Afterwards caller_;
  std::string hash_;  // of the caller's token, as hex
  State state_ = State::entering;
  bool begun_ = false, over_ = false, beat_ = false;
  std::string_view closed_;           // why
  std::optional<Position> position_;  // of the last that was taken
  View view_;
  std::int64_t version_ = 0;  // of the caller's access, at which view_ was read or later
  std::uint64_t horizon_ = 0;
  std::uint64_t joined_ = 0, checked_ = 0;  // turns
  std::deque<EventPtr> queue_;
  std::size_t waiting_bytes_ = 0;
  std::chrono::steady_clock::time_point said_;
  boost::asio::steady_timer signal_;
};

}  // namespace cairn::feed
