#pragma once
#include "organization/organization.hpp"

// Invitations by e-mail. The mail holds a link with a token, good once and for a week; only its digest is stored.
namespace cairn::organization {

struct Invitation;
using InvitationId = Id<Invitation>;

struct InvitedProject : json::Written {
  InvitedProject() = default;
  Uuid project_id;
  ProjectRole role = ProjectRole::contributor;
};
BOOST_DESCRIBE_STRUCT(InvitedProject, (), (project_id, role))

struct Invitation : json::Read {
  Invitation() = default;
  InvitationId id;
  OrganizationId organization_id;
  Email email;
  Role role = Role::member;
  std::vector<Grant> permissions;
  JsonArray projects;
  account::AccountId invited_by;
  Instant expires_at, last_sent_at;
  std::optional<Instant> accepted_at, revoked_at;
  std::optional<account::AccountId> accepted_by;
  Instant created_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Invitation, (),
                      (id, organization_id, email, role, permissions, projects, invited_by, expires_at, last_sent_at,
                       accepted_at, revoked_at, accepted_by, created_at, updated_at, version))

struct SentInvitation : Invitation {
  SentInvitation() = default;
  std::optional<std::string> link;
};
BOOST_DESCRIBE_STRUCT(SentInvitation, (Invitation), (link))

struct NewInvitation : json::Written {
  NewInvitation() = default;
  Email email;
  std::optional<Role> role;
  std::optional<std::vector<Grant>> permissions;
  std::optional<std::vector<InvitedProject>> projects;
};
BOOST_DESCRIBE_STRUCT(NewInvitation, (), (email, role, permissions, projects))

struct InvitationFilter : api::PageQuery {
  InvitationFilter() = default;
  std::optional<bool> pending;
};
BOOST_DESCRIBE_STRUCT(InvitationFilter, (api::PageQuery), (pending))

// The holder of a token, who says nothing else or, as somebody new, who they are.
struct InvitationToken : json::Written {
  InvitationToken() = default;
  Secret token;
};
BOOST_DESCRIBE_STRUCT(InvitationToken, (), (token))

struct Newcomer : json::Written {
  Newcomer() = default;
  Secret token, password;
  account::Name first_name, last_name;
};
BOOST_DESCRIBE_STRUCT(Newcomer, (), (token, password, first_name, last_name))

struct InvitationPreview : json::Read {
  InvitationPreview() = default;
  Email email;
  Role role = Role::member;
  std::string organization_name, invited_by_name;
  Instant expires_at;
};
BOOST_DESCRIBE_STRUCT(InvitationPreview, (), (email, role, organization_name, invited_by_name, expires_at))

}  // namespace cairn::organization

namespace cairn::json {
template<>
inline constexpr auto member_docs<organization::Invitation> = std::to_array<MemberDoc>(
    {{"projects", "To join at once: objects with project_id and role."},
     {"invited_by", "Who sent it last. What they may not give when it is accepted is not given."}});
template<>
inline constexpr auto member_docs<organization::SentInvitation> = std::to_array<MemberDoc>(
    {{"projects", "To join at once: objects with project_id and role."},
     {"invited_by", "Who sent it last. What they may not give when it is accepted is not given."},
     {"link", "To pass on by hand, where the server has no mail server to send it through; null otherwise."}});
template<>
inline constexpr auto member_docs<organization::NewInvitation> = std::to_array<MemberDoc>(
    {{"role", "At most one's own; member when it is left out."},
     {"permissions", "As of a member: granted beside the role or, after a minus sign, denied in spite of it."},
     {"projects", "At most 50, where the caller may add members."}});
template<>
inline constexpr auto member_docs<organization::InvitationFilter> =
    std::to_array<MemberDoc>({{"pending", "true: neither accepted nor revoked nor expired; false: the others."}});
}  // namespace cairn::json
