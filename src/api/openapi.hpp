#pragma once
#include <string>

#include "api/registry.hpp"

namespace cairn::api {

// The OpenAPI 3.1 document of everything registered, as compact JSON.
std::string openapi(const Api& api, std::string_view base_url);

}  // namespace cairn::api
