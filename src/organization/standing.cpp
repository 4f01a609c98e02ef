#include "organization/standing.hpp"

#include <fmt/format.h>

namespace cairn::organization {

void refuse(const std::optional<Standing>& standing, std::int64_t needed, api::IfMatch match) {
  if (!standing) throw Problem(Kind::not_found);
  if ((standing->rights & needed) != needed)
    throw Problem(Kind::forbidden, "What you may do here does not include this.");
  if (match.version && *match.version != standing->version)
    throw Problem(Kind::stale,
                  fmt::format("It is at version {} now: read it again before you change it.", standing->version));
  throw Problem(Kind::conflict, "It changed while this request was under way; try again.");
}

}  // namespace cairn::organization
