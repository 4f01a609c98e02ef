#include "base/problem.hpp"

#include <array>

namespace cairn {
namespace {

// In the order of Kind.
constexpr std::array<KindInfo, 23> kinds{{
    {400, "Malformed request", "malformed"},
    {401, "Authentication required", "unauthenticated"},
    {403, "Not allowed", "forbidden"},
    {404, "Not found", "not_found"},
    {405, "Method not allowed", "method_not_allowed"},
    {406, "Not acceptable", "not_acceptable"},
    {408, "Request timeout", "request_timeout"},
    {409, "Conflict", "conflict"},
    {411, "Length required", "length_required"},
    {412, "Changed in the meantime", "stale"},
    {413, "Too large", "too_large"},
    {414, "Address too long", "uri_too_long"},
    {415, "Unsupported media type", "unsupported_media_type"},
    {417, "Expectation failed", "expectation_failed"},
    {422, "Invalid input", "invalid"},
    {428, "Precondition required", "precondition_required"},
    {429, "Too many requests", "rate_limited"},
    {431, "Headers too large", "headers_too_large"},
    {500, "Internal error", "internal"},
    {501, "Not implemented", "not_implemented"},
    {503, "Unavailable", "unavailable"},
    {504, "Timeout", "timeout"},
    {505, "HTTP version not supported", "http_version_not_supported"},
}};

}  // namespace

KindInfo info(Kind kind) { return kinds[static_cast<std::size_t>(kind)]; }

Kind kind_of(unsigned status) {
  for (std::size_t i = 0; i < kinds.size(); ++i)
    if (kinds[i].status == status) return static_cast<Kind>(i);
  return Kind::internal;
}

}  // namespace cairn
