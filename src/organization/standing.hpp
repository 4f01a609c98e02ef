#pragma once
#include <cstdint>
#include <optional>

#include "api/endpoint.hpp"
#include "organization/permission.hpp"

namespace cairn::organization {

// The specification's organization_role. Its order means nothing (PostgreSQL would say owner < member): compare ranks
// only.
BOOST_DEFINE_ENUM_CLASS(Role, owner, admin, manager, member)

// How the actor stands to a thing: what the actor may do there (bits of permission.hpp), and the thing's version.
struct Standing {
  Standing() = default;
  std::int64_t rights = 0;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Standing, (), (rights, version))

// Ends a request whose statement found nothing to change, saying why: not visible (as if it were not there), not
// allowed, or changed by somebody else since it was read.
[[noreturn]] void refuse(const std::optional<Standing>& standing, std::int64_t needed, api::IfMatch match = {});

}  // namespace cairn::organization
