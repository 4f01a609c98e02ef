#pragma once
#include <cstddef>
#include <span>
#include <string_view>

namespace cairn::api {

// A file that is part of the program.
struct EmbeddedAsset {
  std::string_view name;  // without a folder
  std::string_view content_type;
  std::string_view bytes;
};

// The page that shows /openapi.json to people: index.html at /api/docs, the others below it under their names. It asks
// for nothing from elsewhere. Send all of them with docs_policy.
std::span<const EmbeddedAsset> docs_assets();

// The Content-Security-Policy that the page was made for.
inline constexpr std::string_view docs_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace cairn::api
