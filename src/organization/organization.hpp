#pragma once
#include "account/account.hpp"
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
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Organization, (),
                      (id, name, slug, description, logo_url, website_url, industry, size, status, settings, role,
                       created_at, updated_at, version))

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
  Change<JsonObject> settings;
};
BOOST_DESCRIBE_STRUCT(Edit, (), (name, slug, description, logo_url, website_url, industry, size, settings))

struct Member : json::Read {
  Member() = default;
  account::AccountId user_id;
  Email email;
  account::Name first_name, last_name;
  account::Status status = account::Status::active;
  Role role = Role::member;
  Instant joined_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Member, (), (user_id, email, first_name, last_name, status, role, joined_at, updated_at, version))

struct NewMember : json::Written {
  NewMember() = default;
  Email email;
  std::optional<Role> role;
};
BOOST_DESCRIBE_STRUCT(NewMember, (), (email, role))

struct RoleEdit : json::Written {
  RoleEdit() = default;
  Role role = Role::member;
};
BOOST_DESCRIBE_STRUCT(RoleEdit, (), (role))

void mount(api::Api& api);

}  // namespace cairn::organization

namespace cairn::json {
template<>
inline constexpr auto member_docs<organization::Organization> =
    std::to_array<MemberDoc>({{"role", "The caller's own role in it."}});
template<>
inline constexpr auto member_docs<organization::NewMember> =
    std::to_array<MemberDoc>({{"email", "Of somebody who has an account on this server."},
                              {"role", "At most one's own; member when it is left out."}});
}  // namespace cairn::json
