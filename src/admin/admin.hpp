#pragma once
// The server as a whole, for those who have a role on it: an administrator manages accounts and organizations, a
// manager sees them. Neither sees by that what is in an organization.
#include <boost/describe.hpp>

#include "account/account.hpp"
#include "api/paging.hpp"
#include "organization/organization.hpp"

namespace cairn::admin {

// What can be made of an account or an organization and undone again.
BOOST_DEFINE_ENUM_CLASS(Standing, active, suspended)

struct Membership : json::Read {
  Membership() = default;
  organization::OrganizationId organization_id;
  organization::Name name;
  Slug slug;
  organization::Status status = organization::Status::active;
  organization::Role role = organization::Role::member;
  Instant joined_at;
};
BOOST_DESCRIBE_STRUCT(Membership, (), (organization_id, name, slug, status, role, joined_at))

struct UserRow : account::Account {
  UserRow() = default;
  std::int64_t sessions = 0, api_tokens = 0;
  bool second_factor = false;
};
BOOST_DESCRIBE_STRUCT(UserRow, (account::Account), (sessions, api_tokens, second_factor))

struct User : UserRow {
  User() = default;
  std::vector<Membership> organizations;
};
BOOST_DESCRIBE_STRUCT(User, (UserRow), (organizations))

struct UserQuery : api::PageQuery {
  UserQuery() = default;
  std::optional<account::Status> status;
  std::optional<account::Role> role;
  std::optional<Text<1, 255>> email;
};
BOOST_DESCRIBE_STRUCT(UserQuery, (api::PageQuery), (status, role, email))

struct NewUser : json::Written {
  NewUser() = default;
  Email email;
  account::Name first_name, last_name;
  std::optional<account::Role> role;
  std::optional<bool> verified;
};
BOOST_DESCRIBE_STRUCT(NewUser, (), (email, first_name, last_name, role, verified))

struct UserEdit : json::Written {
  UserEdit() = default;
  Change<account::Role> role;
  Change<Standing> status;
};
BOOST_DESCRIBE_STRUCT(UserEdit, (), (role, status))

struct OrganizationRow : json::Read {
  OrganizationRow() = default;
  organization::OrganizationId id;
  organization::Name name;
  Slug slug;
  organization::Status status = organization::Status::active;
  std::int64_t members = 0, projects = 0;
  Instant created_at, updated_at;
  std::optional<Instant> deleted_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(OrganizationRow, (),
                      (id, name, slug, status, members, projects, created_at, updated_at, deleted_at, version))

struct Owner : json::Read {
  Owner() = default;
  account::AccountId user_id;
  Email email;
  account::Name first_name, last_name;
};
BOOST_DESCRIBE_STRUCT(Owner, (), (user_id, email, first_name, last_name))

struct Organization : OrganizationRow {
  Organization() = default;
  std::vector<Owner> owners;
};
BOOST_DESCRIBE_STRUCT(Organization, (OrganizationRow), (owners))

struct OrganizationQuery : api::PageQuery {
  OrganizationQuery() = default;
  std::optional<organization::Status> status;
  std::optional<bool> deleted;
  std::optional<Text<1, 200>> slug;
};
BOOST_DESCRIBE_STRUCT(OrganizationQuery, (api::PageQuery), (status, deleted, slug))

struct OrganizationEdit : json::Written {
  OrganizationEdit() = default;
  Standing status = Standing::active;
};
BOOST_DESCRIBE_STRUCT(OrganizationEdit, (), (status))

// What is mailed to somebody whose account was made, or whose password is to be set anew, by another.
struct Letter {
  Letter() = default;
  std::string subject, text;
};
Letter welcome(std::string_view base_url, std::string_view link);
Letter reset(std::string_view link);

void mount(api::Api& api);

}  // namespace cairn::admin

namespace cairn::json {
template<>
inline constexpr auto member_docs<admin::User> =
    std::to_array<MemberDoc>({{"sessions", "The devices that are logged in."},
                              {"second_factor", "Whether a code is asked for at login."},
                              {"organizations", "Also those that are deleted and can still be restored."}});
template<>
inline constexpr auto member_docs<admin::UserQuery> = std::to_array<MemberDoc>({{"email",
                                                                                 "The beginning of the address."}});
template<>
inline constexpr auto member_docs<admin::NewUser> = std::to_array<MemberDoc>(
    {{"role", "On the server; user when it is left out."},
     {"verified", "Whether the address counts as confirmed already; else it does once the link was used."}});
template<>
inline constexpr auto member_docs<admin::UserEdit> =
    std::to_array<MemberDoc>({{"role", "On the server, which is none in any organization."},
                              {"status", "suspended ends every session and API token at once."}});
template<>
inline constexpr auto member_docs<admin::OrganizationRow> =
    std::to_array<MemberDoc>({{"deleted_at", "Its owners can restore it for 30 days after that."}});
template<>
inline constexpr auto member_docs<admin::Organization> = member_docs<admin::OrganizationRow>;
template<>
inline constexpr auto member_docs<admin::OrganizationQuery> = std::to_array<MemberDoc>(
    {{"deleted", "true: only those that are deleted; false: only those that are not."}, {"slug", "Its beginning."}});
template<>
inline constexpr auto member_docs<admin::OrganizationEdit> =
    std::to_array<MemberDoc>({{"status", "suspended: read by its owners and written by nobody."}});
}  // namespace cairn::json
