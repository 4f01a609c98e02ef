#include "feed/hub.hpp"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "redis/keys.hpp"
#include "session/token.hpp"

namespace cairn::feed {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds poll_interval{500};   // changes made elsewhere show up, and what was revoked ends, at the latest
constexpr milliseconds busy_interval{50};    // while transactions run that may be in the way of what is committed
constexpr milliseconds least_interval{20};   // many commits make one turn
constexpr milliseconds publish_interval{5};  // and one message to the other nodes
constexpr std::chrono::seconds heartbeat{15};
constexpr std::int64_t batch = 200;      // entries read at once
constexpr std::size_t turn_most = 1000;  // entries of one view; beyond, its readers read for themselves
constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::string_view channel = "cairn:changes";

struct News {
  News() = default;
  std::string horizon;
  bool busy = false;
  std::vector<Uuid> changed;
};
BOOST_DESCRIBE_STRUCT(News, (), (horizon, busy, changed))

const pg::Sql<News(std::vector<Uuid>, std::string)> news_of{"feed.news", R"sql(
  select s.horizon::text as horizon, s.horizon < s.next as busy,
         coalesce(app.organizations_changed($1, $2::text::xid8, s.horizon), '{}') as changed
  from (select pg_snapshot_xmin(pg_current_snapshot()) as horizon, pg_snapshot_xmax(pg_current_snapshot()) as next) s
  )sql"};

// Of each token, the version of what it may do; null when it may nothing.
const pg::Sql<std::optional<std::int64_t>(std::vector<std::string>)> versions_of{"feed.versions", R"sql(
  select coalesce(s.access_version, t.access_version)
  from unnest($1::text[]) with ordinality as h (hash, n)
  left join app.live_sessions s on s.token_hash = decode(h.hash, 'hex')
  left join app.live_api_tokens t on t.token_hash = decode(h.hash, 'hex')
  order by h.n)sql"};

struct Entrance {
  Entrance() = default;
  std::optional<std::int64_t> version;
  std::string horizon;
};
BOOST_DESCRIBE_STRUCT(Entrance, (), (version, horizon))

const pg::Sql<Entrance(std::string)> entrance{"feed.entrance", R"sql(
  select coalesce((select access_version from app.live_sessions where token_hash = decode($1, 'hex')),
                  (select access_version from app.live_api_tokens where token_hash = decode($1, 'hex'))) as version,
         pg_snapshot_xmin(pg_current_snapshot())::text as horizon)sql"};

const pg::Sql<View(Uuid)> view_of{"feed.view", R"sql(
  select app.rights_in($1) as rights, coalesce($1 = any (app.uuids('app.open')), false) as open,
         case when $1 = any (app.uuids('app.open')) then '' else coalesce(current_setting('app.projects', true), '') end
           as projects
  where app.belongs_to($1))sql"};

struct Entry : Change {
  Entry() = default;
  std::string xid;
  std::int64_t seq = 0;
};
BOOST_DESCRIBE_STRUCT(Entry, (Change), (xid, seq))

// The policy says what is visible at all. The whole record is for those who have audit.view, the others get what else
// they can read, too: not who was invited, unless they invite, and no tokens.
const pg::Sql<Entry(Uuid, std::string, std::int64_t, std::string, std::int64_t)> entries{"feed.entries", R"sql(
  select a.id, a.created_at, a.action::text as action, a.entity_type, a.entity_id, a.user_id,
         (a.metadata->>'token')::uuid as token_id, a.metadata->>'actor' as actor,
         a.metadata->>'request_id' as request_id, a.old_values, a.new_values, a.xid::text as xid, a.seq
  from audit_logs a
  where a.organization_id = $1 and (a.xid, a.seq) > ($2::text::xid8, $3) and a.xid < $4::text::xid8
    and ((select app.rights_in($1) & 8192 <> 0) -- audit.view
         or a.entity_type in ('organizations', 'user_organizations', 'projects', 'project_members', 'tasks')
         or a.entity_type = 'invitations' and (select app.rights_in($1) & 256 <> 0)) -- member.invite
  order by a.xid, a.seq limit $5)sql"};

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

async<std::vector<EventPtr>> read(pg::ReadTx& tx, Uuid organization, Position after, std::uint64_t before) {
  const auto from = std::to_string(after.xid), to = std::to_string(before);
  const auto rows = co_await tx.all(entries, organization, from, after.seq, to, batch);
  std::vector<EventPtr> events;
  events.reserve(rows.size());
  for (const auto& row : rows) {
    auto event = std::make_shared<Event>();
    event->position = Position(number(row.xid), row.seq);
    event->entity_type = row.entity_type;
    event->text = fmt::format("id: {}\nevent: change\ndata: ", event->position.text());
    json::encode(event->text, static_cast<const Change&>(row));
    event->text += "\n\n";
    events.push_back(std::move(event));
  }
  co_return events;
}

bool ends(const Problem& problem) {
  return problem.kind == Kind::unauthenticated || problem.kind == Kind::not_found || problem.kind == Kind::forbidden;
}

}  // namespace

std::string Position::text() const { return fmt::format("{:x}-{:x}", xid, seq); }

std::optional<Position> Position::parse(std::string_view text) {
  Position position;
  const auto *const begin = text.data(), *const end = begin + text.size();
  const auto [dash, bad_xid] = std::from_chars(begin, end, position.xid, 16);
  if (bad_xid != std::errc{} || dash == end || *dash != '-') return std::nullopt;
  const auto [rest, bad_seq] = std::from_chars(dash + 1, end, position.seq, 16);
  if (bad_seq != std::errc{} || rest != end || position.seq < 0 || position.text() != text) return std::nullopt;
  return position;
}

// -- the hub

// The readers of one organization who have the same view of it, and what they get in this turn.
struct Hub::Group {
  Group() = default;
  Uuid organization;
  std::vector<std::uint64_t> readers;
  std::vector<EventPtr> events;
  bool filled = false;
};

Hub::Hub(api::Core& core, redis::Settings redis, std::shared_ptr<Streams> streams)
    : core_(core),
      streams_(std::move(streams)),
      subscriber_(core.io, std::move(redis), std::string(channel), [this] { wake(); }),
      pause_(core.io) {}

void Hub::start() {
  subscriber_.start();
  asio::co_spawn(core_.io, run(shared_from_this()), asio::detached);
}

void Hub::stop() {
  stopped_ = true;
  subscriber_.stop();
  pause_.cancel();
  for (auto& [id, reader] : readers_) reader->close("server_stops");
}

void Hub::changed() {
  wake();
  if (stopped_ || std::exchange(publishing_, true)) return;
  asio::co_spawn(core_.io, publish(shared_from_this()), asio::detached);
}

async<> Hub::publish(std::shared_ptr<Hub> self) {
  asio::steady_timer soon(self->core_.io, publish_interval);
  boost::system::error_code ignored;
  co_await soon.async_wait(asio::redirect_error(awaiting, ignored));
  self->publishing_ = false;
  if (!self->stopped_) co_await self->core_.redis.command("PUBLISH", channel, "1");
}

std::uint64_t Hub::add(Reader& reader) {
  readers_.emplace(++last_id_, &reader);
  return last_id_;
}

void Hub::begin_at(std::uint64_t xid) {
  if (cursor_ == 0) cursor_ = xid;
}

void Hub::join(Reader& reader) {
  reader.state_ = Reader::State::live;
  reader.joined_ = turn_;
  wake();
}

void Hub::wake() {
  if (readers_.empty()) return;
  woken_ = true;
  pause_.cancel();
}

bool Hub::watched() const {
  return std::ranges::any_of(readers_, [](const auto& one) { return one.second->state_ == Reader::State::live; });
}

async<> Hub::sleep(milliseconds time) {
  pause_.expires_after(time);
  boost::system::error_code ignored;
  co_await pause_.async_wait(asio::redirect_error(awaiting, ignored));
}

async<> Hub::run(std::shared_ptr<Hub> self) {
  asio::steady_timer rest(self->core_.io);
  boost::system::error_code ignored;
  while (!self->stopped_) {
    const auto begun = Clock::now();
    self->woken_ = false;
    auto until_next = poll_interval;
    if (self->watched()) {
      try {
        const auto busy = co_await self->turn();
        if (busy) until_next = busy_interval;
        self->away_ = false;
      } catch (const std::exception& error) {
        if (!self->stopped_ && !std::exchange(self->away_, true))
          log::warn("the live feed waits for the database", {{"cause", error.what()}});
      }
    } else {
      self->cursor_ = 0;
    }
    self->beat();
    rest.expires_after(std::max<Clock::duration>(least_interval, Clock::now() - begun));
    co_await rest.async_wait(asio::redirect_error(awaiting, ignored));
    if (self->woken_ || self->stopped_) continue;
    if (self->readers_.empty()) until_next = std::chrono::hours(1);
    co_await self->sleep(until_next);
  }
}

// Whether to look again soon.
async<bool> Hub::turn() {
  ++turn_;
  std::unordered_set<Uuid> known;
  for (const auto& [id, reader] : readers_)
    if (reader->state_ == Reader::State::live) known.insert(reader->organization_);
  const std::vector<Uuid> organizations(known.begin(), known.end());
  const auto since = cursor_;
  const auto from = std::to_string(since);
  pg::ReadTx tx = core_.database.read();
  const auto news = co_await tx.one(news_of, organizations, from);
  const auto horizon = number(news.horizon);

  const std::unordered_set<Uuid> changed(news.changed.begin(), news.changed.end());
  const bool check_all = Clock::now() - checked_ >= poll_interval;
  std::map<std::pair<Uuid, std::string>, Group> groups;
  std::vector<std::uint64_t> asked;
  for (const auto& [id, reader] : readers_) {
    if (reader->state_ != Reader::State::live) continue;
    const bool served = changed.contains(reader->organization_);
    if (served || check_all) asked.push_back(id);
    if (!served) continue;
    const auto& view = reader->view_;
    auto& group = groups[{reader->organization_, fmt::format("{} {} {}", view.rights, view.open, view.projects)}];
    group.organization = reader->organization_;
    group.readers.push_back(id);
  }
  for (auto& [key, group] : groups) co_await fill(group, horizon);
  if (!asked.empty()) co_await check(std::move(asked));
  if (check_all) checked_ = Clock::now();

  for (const auto& [key, group] : groups) {
    for (const auto id : group.readers) {
      const auto found = readers_.find(id);
      if (found == readers_.end() || found->second->state_ != Reader::State::live) continue;
      auto& reader = *found->second;
      if (group.filled && reader.checked_ == turn_)
        reader.push(group.events);
      else
        reader.leave(Reader::State::behind);
    }
  }
  // Who has come meanwhile was not among them.
  for (const auto& [id, reader] : readers_)
    if (reader->state_ == Reader::State::live && reader->joined_ == turn_ && horizon > since)
      reader->leave(Reader::State::behind);
  cursor_ = std::max(cursor_, horizon);
  co_return news.busy;
}

// In the name of the first who still may.
async<> Hub::fill(Group& group, std::uint64_t before) {
  for (const auto id : group.readers) {
    Position after(cursor_, 0);
    group.events.clear();
    for (bool more = true; more;) {
      const auto found = readers_.find(id);
      if (found == readers_.end()) break;
      pg::ReadTx tx = found->second->caller_.call().read();
      bool refused = false;
      std::vector<EventPtr> events;
      try {
        events = co_await read(tx, group.organization, after, before);
      } catch (const pg::Stale&) { refused = true; } catch (const Problem& problem) {
        if (!ends(problem)) throw;
        refused = true;
      }
      if (refused) break;
      more = events.size() == static_cast<std::size_t>(batch);
      if (!events.empty()) after = events.back()->position;
      group.events.insert(group.events.end(), events.begin(), events.end());
      if (group.events.size() > turn_most) co_return;
      group.filled = !more;
    }
    if (group.filled) co_return;
  }
}

async<> Hub::check(std::vector<std::uint64_t> ids) {
  std::vector<std::string> hashes;
  hashes.reserve(ids.size());
  std::erase_if(ids, [this](auto id) { return !readers_.contains(id); });
  for (const auto id : ids) hashes.push_back(readers_.at(id)->hash_);
  pg::ReadTx tx = core_.database.read();
  const auto versions = co_await tx.all(versions_of, hashes);
  for (std::size_t i = 0; i < ids.size() && i < versions.size(); ++i) {
    const auto found = readers_.find(ids[i]);
    if (found == readers_.end()) continue;
    auto& reader = *found->second;
    if (!versions[i])
      reader.close("access_ended");
    else if (*versions[i] != reader.version_)
      reader.leave(Reader::State::entering);
    else
      reader.checked_ = turn_;
  }
}

void Hub::beat() {
  const auto now = Clock::now();
  for (const auto& [id, reader] : readers_) {
    if (reader->state_ != Reader::State::live || now - reader->said_ < heartbeat) continue;
    reader->beat_ = true;
    reader->wake();
  }
}

// -- a reader

Reader::Reader(std::shared_ptr<Hub> hub, const api::Call& call, const Uuid& organization, std::optional<Position> after,
               const std::optional<std::vector<audit::EntityType>>& types, Streams::Place place)
    : hub_(std::move(hub)),
      organization_(organization),
      place_(std::move(place)),
      caller_(call),
      hash_(hex(session::Token::parse(call.token)->hash)),
      position_(after),
      said_(Clock::now()),
      signal_(hub_->core().io, Clock::time_point::max()) {
  if (types)
    for (const auto type : *types) types_.emplace_back(json::Codec<audit::EntityType>::name(type));
  id_ = hub_->add(*this);
}

Reader::~Reader() { hub_->remove(id_); }

async<> Reader::next(std::string& piece) {
  while (piece.empty() && !over_) {
    if (!closed_.empty()) {
      piece = fmt::format("event: closed\ndata: {{\"reason\":\"{}\"}}\n\n", closed_);
      over_ = true;
      break;
    }
    bool failed = false;
    try {
      if (state_ == State::entering)
        co_await enter(piece);
      else if (state_ == State::behind)
        co_await catch_up(piece);
      else
        take(piece);
    } catch (const pg::Stale&) { state_ = State::entering; } catch (const Problem& problem) {
      failed = !ends(problem);
      if (!failed) close("access_ended");
    }
    // Without the database there is nothing to say, and nothing is lost.
    if (failed) {
      signal_.expires_after(poll_interval);
      co_await wait();
      signal_.expires_at(Clock::time_point::max());
    } else if (piece.empty() && state_ == State::live && closed_.empty()) {
      co_await wait();
    }
  }
  said_ = Clock::now();
}

async<> Reader::wait() {
  boost::system::error_code woken;
  co_await signal_.async_wait(asio::redirect_error(awaiting, woken));
}

// The version first: if it is still the same later, the view is too.
async<> Reader::enter(std::string& piece) {
  pg::ReadTx tx = hub_->core().database.read();
  const auto now = co_await tx.one(entrance, hash_);
  if (!now.version) {
    close("access_ended");
    co_return;
  }
  std::function<async<View>(pg::ReadTx&)> look = [this](pg::ReadTx& reading) {
    return reading.one(view_of, organization_);
  };
  auto view = co_await caller_.read(look);
  horizon_ = number(now.horizon);
  version_ = *now.version;
  if (!begun_) {
    if (!position_) position_ = Position(horizon_, 0);
    piece += fmt::format("retry: 1000\nid: {}\nevent: ready\ndata: {{}}\n\n", position_->text());
  } else if (view != view_ || !view.open) {
    piece += "event: access\ndata: {}\n\n";
  }
  begun_ = true;
  view_ = std::move(view);
  state_ = State::behind;
}

async<> Reader::catch_up(std::string& piece) {
  hub_->begin_at(horizon_);
  const auto before = hub_->cursor();
  if (position_->xid >= before) {
    hub_->join(*this);
    co_return;
  }
  pg::ReadTx tx = caller_.call().read();
  const auto events = co_await read(tx, organization_, *position_, before);
  for (const auto& event : events)
    if (wants(*event)) piece += event->text;
  if (events.size() == static_cast<std::size_t>(batch)) {
    position_ = events.back()->position;
    co_return;
  }
  position_ = Position(before, 0);
  if (hub_->cursor() == before) hub_->join(*this);
}

bool Reader::wants(const Event& event) const {
  return types_.empty() || std::ranges::find(types_, event.entity_type) != types_.end();
}

void Reader::take(std::string& piece) {
  while (!queue_.empty() && piece.size() < piece_bytes) {
    const auto event = std::move(queue_.front());
    queue_.pop_front();
    waiting_bytes_ -= event->text.size();
    position_ = event->position;
    piece += event->text;
  }
  if (queue_.empty() && hub_->cursor() > position_->xid) position_ = Position(hub_->cursor(), 0);
  if (!std::exchange(beat_, false) || !piece.empty()) return;
  // The place is worth knowing: who resumes there need not look through what was not for them.
  piece = fmt::format(":\nid: {}\n\n", position_->text());
}

void Reader::push(const std::vector<EventPtr>& events) {
  const auto most = std::size_t{hub_->core().shared.config.events.buffer_kib} * 1024;
  for (const auto& event : events) {
    if (event->position <= *position_ || !wants(*event)) continue;
    queue_.push_back(event);
    waiting_bytes_ += event->text.size();
  }
  if (waiting_bytes_ > most) return leave(State::behind);
  if (!queue_.empty()) wake();
}

// What waits is dropped, to be read again when the reader comes to it.
void Reader::leave(State to) {
  queue_.clear();
  waiting_bytes_ = 0;
  state_ = to;
  wake();
}

void Reader::close(std::string_view reason) {
  if (closed_.empty()) closed_ = reason;
  leave(State::behind);
}

}  // namespace cairn::feed
