#pragma once
#include "api/paging.hpp"
#include "organization/organization.hpp"
#include "project/project.hpp"
#include "task/task.hpp"

namespace cairn::audit {

// The tables whose changes are on the record, and sessions, which end there.
BOOST_DEFINE_ENUM_CLASS(EntityType, users, user_profiles, organizations, user_organizations, projects, project_members,
                        tasks, invitations, sessions, api_tokens)

// The specification's audit_action. Described by hand, because "delete" cannot be a name in C++.
enum class Action { create, update, delete_, login, logout };
template<Action A>
struct ActionDescriptor {
  static constexpr Action value = A;
  static constexpr const char* name = A == Action::create    ? "create"
                                      : A == Action::update  ? "update"
                                      : A == Action::delete_ ? "delete"
                                      : A == Action::login   ? "login"
                                                             : "logout";
};
inline boost::mp11::mp_list<ActionDescriptor<Action::create>, ActionDescriptor<Action::update>,
                            ActionDescriptor<Action::delete_>, ActionDescriptor<Action::login>,
                            ActionDescriptor<Action::logout>>
boost_enum_descriptor_fn(Action**) {
  return {};
}

// An IP address or a network, "2001:db8::/32", as PostgreSQL's inet reads it.
class Network {
 public:
  Network() = default;
  static Network trusted(std::string value) {
    Network network;
    network.value_ = std::move(value);
    return network;
  }
  static std::string problem(std::string_view value);
  static std::optional<Network> parse(std::string_view value);
  const std::string& str() const { return value_; }

 private:
  std::string value_;
};

struct Entry;
using EntryId = Id<Entry>;

// One change, as it was written in the transaction that made it.
struct Entry : json::Read {
  Entry() = default;
  EntryId id;
  std::string position;
  Instant created_at;
  Action action = Action::create;
  std::string entity_type;
  Uuid entity_id;
  std::optional<Uuid> user_id;
  std::optional<std::string> user_name;
  std::optional<Uuid> token_id;
  std::optional<std::string> actor;
  std::optional<organization::OrganizationId> organization_id;
  std::optional<std::string> request_id, ip_address, user_agent, event, outcome, operation, reason;
  RawJson changes;
  std::optional<RawJson> old_values, new_values;
};
BOOST_DESCRIBE_STRUCT(Entry, (),
                      (id, position, created_at, action, entity_type, entity_id, user_id, user_name, token_id, actor,
                       organization_id, request_id, ip_address, user_agent, event, outcome, operation, reason, changes,
                       old_values, new_values))

// What any list of entries can be narrowed to.
struct HistoryFilter : api::PageQuery {
  HistoryFilter() = default;
  std::optional<Uuid> user_id;
  std::optional<std::vector<Action>> action;
  std::optional<Text<1, 100>> field;
  std::optional<std::string> request_id;
  std::optional<Instant> from, before;
  std::optional<Text<1, 200, Shape::text>> q;
};
BOOST_DESCRIBE_STRUCT(HistoryFilter, (api::PageQuery), (user_id, action, field, request_id, from, before, q))

struct Filter : HistoryFilter {
  Filter() = default;
  std::optional<EntityType> entity_type;
  std::optional<Uuid> entity_id, token_id;
  std::optional<Text<1, 100>> actor;
  std::optional<Network> address;
};
BOOST_DESCRIBE_STRUCT(Filter, (HistoryFilter), (entity_type, entity_id, token_id, actor, address))

struct ServerFilter : Filter {
  ServerFilter() = default;
  std::optional<Uuid> organization_id;
  std::optional<bool> in_organization;
};
BOOST_DESCRIBE_STRUCT(ServerFilter, (Filter), (organization_id, in_organization))

void mount(api::Api& api);

// What is done once an hour, as the actor "trash": empties the trash of what cannot be brought back any more, and notes
// where the record is, so that reading the past need not begin at the beginning.
async<> keep_up(pg::Pool& database);

}  // namespace cairn::audit

namespace cairn::json {
template<>
struct Codec<audit::Network> : ParsedCodec<audit::Network, Codec<audit::Network>> {
  static std::string problem(std::string_view from) { return audit::Network::problem(from); }
  static void encode(std::string& out, const audit::Network& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) { return {{"type", "string"}, {"maxLength", 64}}; }
};

template<>
inline constexpr auto member_docs<audit::Entry> = std::to_array<MemberDoc>(
    {{"position", "Where it is on the record, for who reads on from there."},
     {"user_id", "Who did it; null when the server or an operator did."},
     {"token_id", "The API token that it was done with; null without one."},
     {"actor", "The name of who did it when it was no person, such as migration."},
     {"request_id", "All changes of one request carry the same."},
     {"ip_address", "From where. Like user_agent, for oneself and for who may read the whole record."},
     {"event", "What happened to an account beside a change of it, such as second_factor_added."},
     {"outcome",
      "Of a login that did not succeed: failure, or code_missing after the right password; denied, of a request of "
      "somebody known that was refused."},
     {"operation", "What was refused. Once a minute for each person and operation."},
     {"reason", "The problem's code when it was refused; why a session ended; new_address, of an API token."},
     {"changes", "The fields that changed, each an object with field, old and new."},
     {"old_values", "Before: of an update the members that changed, of a delete all of them."},
     {"new_values", "After: of an update the members that changed, of a create all of them."}});
template<>
inline constexpr auto member_docs<audit::HistoryFilter> =
    std::to_array<MemberDoc>({{"sort", "position, the order of the record, or -position, newest first."},
                              {"action", "Any of these."},
                              {"field", "Only changes of this field."},
                              {"from", "Then or later."},
                              {"before", "Earlier than that."},
                              {"q",
                               "Only changes from or to a value with this text in it, whatever the case. Reads all "
                               "that the other filters leave."}});
template<>
inline constexpr auto member_docs<audit::Filter> =
    std::to_array<MemberDoc>({{"sort", "position, the order of the record, or -position, newest first."},
                              {"action", "Any of these."},
                              {"field", "Only changes of this field."},
                              {"from", "Then or later."},
                              {"before", "Earlier than that."},
                              {"q",
                               "Only changes from or to a value with this text in it, whatever the case. Reads all "
                               "that the other filters leave."},
                              {"token_id", "Done with this API token."},
                              {"actor", "Done by the server or an operator under this name."},
                              {"address", "Done from this IP address or network, such as 192.0.2.0/24."}});
template<>
inline constexpr auto member_docs<audit::ServerFilter> =
    std::to_array<MemberDoc>({{"sort", "created_at or -created_at, newest first."},
                              {"action", "Any of these."},
                              {"field", "Only changes of this field."},
                              {"from", "Then or later."},
                              {"before", "Earlier than that."},
                              {"q",
                               "Only changes from or to a value with this text in it, whatever the case. Reads all "
                               "that the other filters leave."},
                              {"token_id", "Done with this API token."},
                              {"actor", "Done by the server or an operator under this name."},
                              {"address", "Done from this IP address or network, such as 192.0.2.0/24."},
                              {"in_organization", "false: only what belongs to no organization."}});
}  // namespace cairn::json
