#pragma once
#include "api/registry.hpp"
#include "api/router.hpp"

namespace cairn::api {

// A request from its first line to its reply, in the order one reads it:
//   route -> identify -> limit -> authorize -> decode -> transact -> encode
// Never throws: every failure becomes a problem.
class Stages {
 public:
  // Both must outlive the stages; called on every core.
  Stages(const Api& api, const Router& router) : api_(api), router_(router) {}

  async<> answer(Core& core, const http::Request& request, http::Response& response) const;

 private:
  async<> run(Call& call) const;

  const Api& api_;
  const Router& router_;
};

}  // namespace cairn::api
