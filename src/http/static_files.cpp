#include "http/static_files.hpp"

namespace cairn::http {
namespace {

// Weak comparison of each listed tag (RFC 9110 section 13.1.2).
bool matches(std::string_view if_none_match, std::string_view etag) {
  if (if_none_match == "*") return true;
  while (!if_none_match.empty()) {
    auto const comma = std::min(if_none_match.find(','), if_none_match.size());
    auto tag = if_none_match.substr(0, comma);
    if_none_match.remove_prefix(std::min(comma + 1, if_none_match.size()));
    tag.remove_prefix(std::min(tag.find_first_not_of(" \t"), tag.size()));
    tag = tag.substr(0, tag.find_last_not_of(" \t") + 1);
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag) return true;
  }
  return false;
}

}  // namespace

void StaticFiles::add(std::string path, Asset asset) { assets_.insert_or_assign(std::move(path), std::move(asset)); }

bool StaticFiles::serve(Request const& request, Response& response) const {
  auto const found = assets_.find(request.path);
  if (found == assets_.end()) return false;
  if (request.method != Method::get && request.method != Method::head) {
    response.status = 405;
    response.add_header("Allow", "GET, HEAD");
    return true;
  }
  auto const& asset = found->second;
  response.add_header("ETag", asset.etag);
  response.add_header("Cache-Control", asset.cache_control);
  auto const known = request.header("if-none-match");
  if (known && matches(*known, asset.etag)) {
    response.status = 304;
    return true;
  }
  response.content_type = asset.content_type;
  response.body_view(asset.body);
  return true;
}

}  // namespace cairn::http
