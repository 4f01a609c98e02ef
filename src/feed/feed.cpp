#include "feed/feed.hpp"

#include <fmt/format.h>

#include "feed/hub.hpp"
#include "organization/organization.hpp"

namespace cairn::feed {
namespace {

using organization::OrganizationId;

const pg::Sql<bool(OrganizationId, std::string)> opening{"feed.open", R"sql(
  select $2::text::xid8 <= pg_snapshot_xmax(pg_current_snapshot()) where app.belongs_to($1))sql"};

Position position_in(std::string_view text, std::string_view pointer) {
  if (const auto position = Position::parse(text)) return *position;
  std::vector<FieldError> errors;
  errors.emplace_back(std::string(pointer), "unknown_position", "is no position that an event had");
  throw Problem(Kind::invalid, "One parameter is not acceptable.").with(std::move(errors));
}

async<api::Stream<Events>> open(api::Call& call, pg::ReadTx& tx, OrganizationId organization, Query query) {
  std::optional<Position> after;
  const auto last = call.request.header("last-event-id");
  // The header is what a browser knows by itself when it connects again, to an address that it was given before.
  if (last && !last->empty())
    after = position_in(*last, "?after");
  else if (query.after)
    after = position_in(*query.after, "?after");
  const auto transaction = std::to_string(after.value_or(Position()).xid);
  const auto known = co_await tx.one(opening, organization, transaction);
  // As after a restoration from a backup: waiting would be in vain.
  if (!known) position_in({}, "?after");

  auto hub = std::static_pointer_cast<Hub>(call.core.witness);
  auto place = hub->streams().open(*call.identity.user, call.core.shared.config.events.streams_per_person);
  call.response.add_header("X-Accel-Buffering", "no");  // nginx would hold events back
  co_return api::Stream<Events>::of<Events>(
      std::make_shared<Reader>(hub, call, organization.value, after, query.types, std::move(place)));
}

}  // namespace

Streams::Place Streams::open(const Uuid& person, unsigned most) {
  const std::lock_guard lock(mutex_);
  auto& count = open_[person];
  if (count >= most) {
    Problem problem(Kind::rate_limited, "too_many_streams",
                    fmt::format("Nobody has more than {} live feeds open at once; close one.", most));
    problem.retry_after = 1;
    throw std::move(problem);
  }
  ++count;
  return {shared_from_this(), person};
}

std::size_t Streams::count() const {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const auto& [person, count] : open_) sum += count;
  return sum;
}

Streams::Place::~Place() {
  if (!streams_) return;
  const std::lock_guard lock(streams_->mutex_);
  const auto found = streams_->open_.find(person_);
  if (--found->second == 0) streams_->open_.erase(found);
}

void start(api::Core& core, redis::Settings redis, std::shared_ptr<Streams> streams) {
  auto hub = std::make_shared<Hub>(core, std::move(redis), std::move(streams));
  core.witness = hub;
  hub->start();
}

void mount(api::Api& api) {
  api.get("/organizations/{organization}/events", open,
          {.id = "event.stream",
           .summary = "An organization's changes, live",
           .description =
               "Every committed change that the caller may see, once and in order. Resume with the last `id` and none "
               "is missed. What the caller may do is looked at anew with every event; the stream ends within a second "
               "when the session, the token or the membership does.",
           .allow = api::Access::member,
           .problems = "unknown_position,too_many_streams"});
}

}  // namespace cairn::feed
