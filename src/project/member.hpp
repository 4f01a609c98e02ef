#pragma once
#include "project/project.hpp"

namespace cairn::project {

using organization::ProjectRole;

struct Member : json::Read {
  Member() = default;
  AccountId user_id;
  Email email;
  account::Name first_name, last_name;
  ProjectRole role = ProjectRole::contributor;
  Instant created_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Member, (), (user_id, email, first_name, last_name, role, created_at, updated_at, version))

struct NewMember : json::Written {
  NewMember() = default;
  AccountId user_id;
  std::optional<ProjectRole> role;
};
BOOST_DESCRIBE_STRUCT(NewMember, (), (user_id, role))

struct MemberEdit : json::Written {
  MemberEdit() = default;
  ProjectRole role = ProjectRole::contributor;
};
BOOST_DESCRIBE_STRUCT(MemberEdit, (), (role))

struct MemberFilter : api::PageQuery {
  MemberFilter() = default;
  std::optional<ProjectRole> role;
};
BOOST_DESCRIBE_STRUCT(MemberFilter, (api::PageQuery), (role))

}  // namespace cairn::project

namespace cairn::json {
template<>
inline constexpr auto member_docs<project::NewMember> = std::to_array<MemberDoc>(
    {{"user_id", "A member of the project's organization."}, {"role", "contributor when it is left out."}});
}  // namespace cairn::json
