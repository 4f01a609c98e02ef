#pragma once
#include <string>

#include "api/registry.hpp"
#include "api/stages.hpp"
#include "http/static_files.hpp"

namespace cairn::server {

// Everything the server answers: the API below its prefix, and beside it what operators and readers need: /healthz,
// /readyz, /metrics, /openapi.json and the reference at /api/docs. Constant after construction; called on every core.
class Site {
 public:
  Site(const api::Shared& shared, unsigned cores);

  async<> answer(api::Core& core, const http::Request& request, http::Response& response) const;
  const api::Api& api() const { return api_; }

 private:
  void ready(api::Core& core, http::Response& response) const;
  void metrics(api::Core& core, const http::Request& request, http::Response& response) const;

  api::Api api_;
  api::Router router_;
  api::Stages stages_;
  http::StaticFiles files_;
};

// Every endpoint there is, one line per slice.
api::Api make_api(unsigned cores);

}  // namespace cairn::server
