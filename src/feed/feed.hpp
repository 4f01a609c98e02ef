#pragma once
// The live feed: every committed change that its reader may see, in the order of the record. Each core reads the record
// forward once for all its readers; see hub.hpp. Reasons: docs/adr/0009.
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "api/registry.hpp"
#include "audit/audit.hpp"

namespace cairn::feed {

// What `data` holds of an event `change`.
struct Change : json::Read {
  Change() = default;
  Uuid id;
  Instant created_at;
  std::string action, entity_type;
  Uuid entity_id;
  std::optional<Uuid> user_id, token_id;
  std::optional<std::string> actor, request_id;
  std::optional<RawJson> old_values, new_values;
};
BOOST_DESCRIBE_STRUCT(Change, (),
                      (id, created_at, action, entity_type, entity_id, user_id, token_id, actor, request_id, old_values,
                       new_values))

struct Query : json::Written {
  Query() = default;
  std::optional<std::string> after;
  std::optional<std::vector<audit::EntityType>> types;
};
BOOST_DESCRIBE_STRUCT(Query, (), (after, types))

struct Events {
  static constexpr std::string_view name = "text/event-stream";
  static constexpr std::string_view description =
      "Server-Sent Events. `ready`: the stream stands, `id` is where it begins. `change`: `data` is an entry of the "
      "record as JSON, `id` its position. `access`: what the reader may see has changed, so read again what is shown. "
      "`closed`: the last one, `data` has the reason.";
};

// How many streams each person has open on this server. Any thread.
class Streams : public std::enable_shared_from_this<Streams> {
 public:
  // Of one stream, for as long as it lives.
  class Place {
   public:
    Place() = default;
    Place(std::shared_ptr<Streams> streams, const Uuid& person) : streams_(std::move(streams)), person_(person) {}
    Place(Place&& other) noexcept : streams_(std::move(other.streams_)), person_(other.person_) {}
    Place& operator=(Place&&) = delete;
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place();

   private:
    std::shared_ptr<Streams> streams_;
    Uuid person_;
  };
  // Throws Problem (rate_limited) when there are `most` already.
  Place open(const Uuid& person, unsigned most);
  std::size_t count() const;

 private:
  mutable std::mutex mutex_;
  std::map<Uuid, unsigned> open_;
};

// Starts the feed of a core.
void start(api::Core& core, redis::Settings redis, std::shared_ptr<Streams> streams);
void mount(api::Api& api);

}  // namespace cairn::feed

namespace cairn::json {
template<>
inline constexpr auto member_docs<feed::Query> = std::to_array<MemberDoc>(
    {{"after", "The `id` of the last event that was seen: go on behind it. The header Last-Event-ID says the same."},
     {"types", "Only changes of these."}});
}  // namespace cairn::json
