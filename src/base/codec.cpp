#include "base/codec.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

namespace cairn::json {
namespace {

// "user_organization" -> "UserOrganization"
std::string camel(std::string_view snake) {
  std::string out;
  bool upper = true;
  for (char c : snake) {
    if (c == '_') {
      upper = true;
    } else {
      out.push_back(upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
      upper = false;
    }
  }
  return out;
}

}  // namespace

std::string component_name(std::string_view mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(std::string(mangled).c_str(), nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 ? text.get() : std::string(mangled);
  // Template arguments name nothing a client knows.
  name = name.substr(0, name.find('<'));
  const auto last = name.rfind("::");
  if (last == std::string::npos) return name;
  auto type = name.substr(last + 2);
  const auto before = name.rfind("::", last - 1);
  const auto space =
      name.substr(before == std::string::npos ? 0 : before + 2, last - (before == std::string::npos ? 0 : before + 2));
  const auto entity = camel(space);
  if (space == "cairn" || space == "api" || type.starts_with(entity)) return type;
  return entity + type;
}

}  // namespace cairn::json
