#include "organization/grant.hpp"

#include <algorithm>

namespace cairn::organization {

JsonArray json_of(std::vector<Grant> grants) {
  std::sort(grants.begin(), grants.end());
  grants.erase(std::unique(grants.begin(), grants.end()), grants.end());
  std::string text;
  json::encode(text, grants);
  return JsonArray::trusted(std::move(text));
}

std::string names_of(std::int64_t rights) {
  std::string names;
  for (const auto& known : permission::all)
    if ((rights & known.bit) != 0) names.append(names.empty() ? "" : ", ").append(known.name);
  return names;
}

}  // namespace cairn::organization
