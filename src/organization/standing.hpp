#pragma once
#include <cstdint>
#include <optional>

#include "api/endpoint.hpp"

namespace cairn::organization {

// The specification's organization_role. Its order means nothing (PostgreSQL would say owner < member): compare ranks
// only.
BOOST_DEFINE_ENUM_CLASS(Role, owner, admin, manager, member)

// Ranks as app.role_rank has them.
inline constexpr std::int32_t member_rank = 1, manager_rank = 2, admin_rank = 3, owner_rank = 4;

// How the actor stands to a thing: the rank in the thing's organization, and the thing's version.
struct Standing {
  Standing() = default;
  std::int32_t rank = 0;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Standing, (), (rank, version))

// Ends a request whose statement found nothing to change, saying why: not visible (as if it were not there), not
// allowed, or changed by somebody else since it was read.
[[noreturn]] void refuse(const std::optional<Standing>& standing, std::int32_t needed_rank, api::IfMatch match = {});

}  // namespace cairn::organization
