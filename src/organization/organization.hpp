#pragma once
#include "account/account.hpp"
#include "api/as_of.hpp"
#include "api/paging.hpp"
#include "organization/grant.hpp"
#include "organization/standing.hpp"

namespace cairn::organization {

// The specification's organization_size and organization_status.
BOOST_DEFINE_ENUM_CLASS(Size, startup, small, medium, large, enterprise)
BOOST_DEFINE_ENUM_CLASS(Status, active, inactive, suspended)

struct Organization;
using OrganizationId = Id<Organization>;
using Name = Text<1, 200>;

struct Organization : json::Read {
  Organization() = default;
  OrganizationId id;
  Name name;
  Slug slug;
  std::optional<Markdown> description;
  std::optional<Url<500>> logo_url, website_url;
  std::optional<Text<1, 100>> industry;
  std::optional<Size> size;
  Status status = Status::active;
  JsonObject settings;
  Role role = Role::member;
  Instant created_at, updated_at;
  std::optional<Instant> deleted_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Organization, (),
                      (id, name, slug, description, logo_url, website_url, industry, size, status, settings, role,
                       created_at, updated_at, deleted_at, version))

struct Draft : json::Written {
  Draft() = default;
  Name name;
  Slug slug;
  std::optional<Markdown> description;
  std::optional<Url<500>> logo_url, website_url;
  std::optional<Text<1, 100>> industry;
  std::optional<Size> size;
  std::optional<JsonObject> settings;
};
BOOST_DESCRIBE_STRUCT(Draft, (), (name, slug, description, logo_url, website_url, industry, size, settings))

struct Edit : json::Written {
  Edit() = default;
  Change<Name> name;
  Change<Slug> slug;
  Change<std::optional<Markdown>> description;
  Change<std::optional<Url<500>>> logo_url, website_url;
  Change<std::optional<Text<1, 100>>> industry;
  Change<std::optional<Size>> size;
  Change<Status> status;
  Change<JsonObject> settings;
};
BOOST_DESCRIBE_STRUCT(Edit, (), (name, slug, description, logo_url, website_url, industry, size, status, settings))

struct Filter : api::PageQuery {
  Filter() = default;
  std::optional<bool> deleted;
  std::optional<api::AsOf> as_of;
};
BOOST_DESCRIBE_STRUCT(Filter, (api::PageQuery), (deleted, as_of))

struct Transfer : json::Written {
  Transfer() = default;
  account::AccountId user_id;
};
BOOST_DESCRIBE_STRUCT(Transfer, (), (user_id))

struct Member : json::Read {
  Member() = default;
  account::AccountId user_id;
  Email email;
  account::Name first_name, last_name;
  account::Status status = account::Status::active;
  Role role = Role::member;
  std::vector<Grant> permissions;
  Instant joined_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Member, (),
                      (user_id, email, first_name, last_name, status, role, permissions, joined_at, updated_at,
                       version))

struct NewMember : json::Written {
  NewMember() = default;
  Email email;
  std::optional<Role> role;
};
BOOST_DESCRIBE_STRUCT(NewMember, (), (email, role))

struct MemberEdit : json::Written {
  MemberEdit() = default;
  Change<Role> role;
  Change<std::vector<Grant>> permissions;
};
BOOST_DESCRIBE_STRUCT(MemberEdit, (), (role, permissions))

// How many members an organization has, and how many of them in each role above member.
struct MemberCounts : json::Read {
  MemberCounts() = default;
  OrganizationId organization_id;
  std::int64_t members = 0, owners = 0, admins = 0, managers = 0;
};
BOOST_DESCRIBE_STRUCT(MemberCounts, (), (organization_id, members, owners, admins, managers))

void mount(api::Api& api);
void mount_permissions(api::Api& api);
void mount_invitations(api::Api& api);
void mount_counts(api::Api& api);

// As the actor of `tx` sees it; throws Problem (not_found) when they do not.
async<Organization> find(pg::Reader& tx, OrganizationId id);

// Ends, step by step and on the record as the actor "purge", the organizations that were deleted too long ago to be
// restored.
async<> purge(pg::Pool& database);

}  // namespace cairn::organization

namespace cairn::json {
template<>
inline constexpr auto member_docs<organization::Organization> = std::to_array<MemberDoc>(
    {{"role", "The caller's own role in it."}, {"deleted_at", "It can be restored for 30 days after that."}});
template<>
inline constexpr auto member_docs<organization::Edit> =
    std::to_array<MemberDoc>({{"status",
                               "For owners. One that is inactive is read by its owners and written by nobody; "
                               "suspended is for administrators of "
                               "the server to say and to end."}});
template<>
inline constexpr auto member_docs<organization::Filter> = std::to_array<MemberDoc>(
    {{"deleted", "true: those that the caller owned and can still restore, as they are now."}});
template<>
inline constexpr auto member_docs<organization::Transfer> =
    std::to_array<MemberDoc>({{"user_id", "Another member, who becomes owner."}});
template<>
inline constexpr auto member_docs<organization::NewMember> =
    std::to_array<MemberDoc>({{"email", "Of somebody who has an account on this server."},
                              {"role", "At most one's own; member when it is left out."}});
template<>
inline constexpr auto member_docs<organization::MemberEdit> = std::to_array<MemberDoc>(
    {{"permissions",
      "All that is granted beside the role and, after a minus sign, denied in spite of it. Nobody grants what they may "
      "not do themselves; nothing is denied to an owner."}});
}  // namespace cairn::json
