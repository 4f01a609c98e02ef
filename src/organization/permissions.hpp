#pragma once
#include "organization/organization.hpp"

namespace cairn::organization {

struct ProjectPermissions : json::Read {
  ProjectPermissions() = default;
  Uuid project_id;
  ProjectRole role = ProjectRole::viewer;
  std::vector<PermissionName> permissions;
};
BOOST_DESCRIBE_STRUCT(ProjectPermissions, (), (project_id, role, permissions))

struct Permissions : json::Read {
  Permissions() = default;
  OrganizationId organization_id;
  account::AccountId user_id;
  Role role = Role::member;
  std::vector<PermissionName> permissions;
  std::vector<ProjectPermissions> projects;
};
BOOST_DESCRIBE_STRUCT(Permissions, (), (organization_id, user_id, role, permissions, projects))

// What decides, in the words of app.explain_permission().
BOOST_DEFINE_ENUM_CLASS(Rule, not_a_member, organization_inactive, private_project, denied, granted, role, project_role,
                        none)

struct Explanation : json::Read {
  Explanation() = default;
  bool allowed = false;
  Rule rule = Rule::none;
  std::string detail;
};
BOOST_DESCRIBE_STRUCT(Explanation, (), (allowed, rule, detail))

struct Question : json::Written {
  Question() = default;
  PermissionName permission;
  std::optional<Uuid> project;
};
BOOST_DESCRIBE_STRUCT(Question, (), (permission, project))

}  // namespace cairn::organization

namespace cairn::json {
template<>
inline constexpr auto member_docs<organization::Permissions> = std::to_array<MemberDoc>(
    {{"permissions", "In the whole organization; in private projects only for who sees all of them."},
     {"projects", "The projects that this is a member of, with what may be done in each."}});
template<>
inline constexpr auto member_docs<organization::Question> =
    std::to_array<MemberDoc>({{"project", "In this project; without it, in the organization."}});
}  // namespace cairn::json
