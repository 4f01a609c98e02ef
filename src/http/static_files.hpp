#pragma once
#include "http/message.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace cairn::http {

struct Asset {
  Asset() = default;
  std::string content_type;
  std::shared_ptr<const std::string> body;
  std::string etag;  // with its quotes, as RFC 9110 section 8.8.3 writes it
  std::string cache_control = "no-cache";
};

// Files held in memory. Fill it before the first request; from then on any thread may serve from it.
class StaticFiles {
 public:
  // path as in Request::path, for example "/api/docs/index.html". Replaces an asset already there.
  void add(std::string path, Asset asset);

  // Answers GET and HEAD (200 or 304) and refuses other methods (405 with Allow). False, with the response untouched,
  // if no asset has that path.
  bool serve(Request const& request, Response& response) const;

 private:
  std::map<std::string, Asset, std::less<>> assets_;
};

}  // namespace cairn::http
