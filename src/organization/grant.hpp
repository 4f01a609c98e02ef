#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.hpp"
#include "organization/permission.hpp"

namespace cairn::organization {

// The specification has no roles in projects; these are ours. Like the others they have no order.
BOOST_DEFINE_ENUM_CLASS(ProjectRole, lead, contributor, viewer)

// The name of a permission; with `Signed` also after a minus sign, which denies what the bare name grants.
template<bool Signed>
class PermissionText {
 public:
  PermissionText() = default;
  static PermissionText trusted(std::string value) {
    PermissionText name;
    name.value_ = std::move(value);
    return name;
  }
  static std::string problem(std::string_view value) {
    const auto bare = Signed && value.starts_with('-') ? value.substr(1) : value;
    for (const auto& known : permission::all)
      if (known.name == bare) return {};
    return "is not a permission";
  }
  static std::optional<PermissionText> parse(std::string_view value) {
    if (!problem(value).empty()) return std::nullopt;
    return trusted(std::string(value));
  }
  const std::string& str() const { return value_; }
  auto operator<=>(const PermissionText&) const = default;

 private:
  std::string value_;
};
using PermissionName = PermissionText<false>;
using Grant = PermissionText<true>;

// What a membership's column of permissions holds; each once, in order.
JsonArray json_of(std::vector<Grant> grants);
// "task.edit, task.delete"
std::string names_of(std::int64_t rights);

}  // namespace cairn::organization

namespace cairn::json {
template<bool Signed>
struct Codec<organization::PermissionText<Signed>>
    : ParsedCodec<organization::PermissionText<Signed>, Codec<organization::PermissionText<Signed>>> {
  using T = organization::PermissionText<Signed>;
  static std::string problem(std::string_view from) { return T::problem(from); }
  static void encode(std::string& out, const T& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) {
    bj::array names;
    for (const auto& known : organization::permission::all) names.emplace_back(known.name);
    if (Signed)
      for (const auto& known : organization::permission::all) names.emplace_back("-" + std::string(known.name));
    return {{"type", "string"}, {"enum", std::move(names)}};
  }
};
}  // namespace cairn::json
