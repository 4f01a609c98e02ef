#pragma once
#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "api/endpoint.hpp"

namespace cairn::api {

// Finds the endpoint for a path below the version prefix. Constant after construction; any thread.
class Router {
 public:
  explicit Router(std::span<const std::unique_ptr<Endpoint>> endpoints);

  struct Match {
    const Endpoint* endpoint = nullptr;  // none: the path is unknown, or known but not for this method
    std::vector<http::Method> allowed;   // filled only when the path is known but not for this method
  };
  // `values` get the path's parts that stand for {names}, still encoded (ids need no decoding). HEAD finds GET.
  Match find(http::Method method, std::string_view path, std::array<std::string_view, 4>& values) const;

 private:
  struct Route {
    Route() = default;
    std::vector<std::string_view> segments;  // empty: a {name}
    const Endpoint* endpoint = nullptr;
  };
  std::vector<std::vector<Route>> by_length_;
};

}  // namespace cairn::api
