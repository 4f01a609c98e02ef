#include "server/site.hpp"

#include <sodium.h>

#include "account/account.hpp"
#include "admin/admin.hpp"
#include "api/docs/assets.hpp"
#include "api/metrics.hpp"
#include "api/openapi.hpp"
#include "api/problem_json.hpp"
#include "audit/audit.hpp"
#include "base/hash.hpp"
#include "feed/feed.hpp"
#include "organization/organization.hpp"
#include "profile/profile.hpp"
#include "project/project.hpp"
#include "session/session.hpp"
#include "takeout/takeout.hpp"
#include "task/task.hpp"

namespace cairn::server {
namespace {

http::Asset asset(std::string content_type, std::string body) {
  std::array<unsigned char, 16> digest;
  crypto_generichash(digest.data(), digest.size(), reinterpret_cast<const unsigned char*>(body.data()), body.size(),
                     nullptr, 0);
  http::Asset made;
  made.content_type = std::move(content_type);
  made.body = std::make_shared<const std::string>(std::move(body));
  made.etag = '"' + hex(digest) + '"';
  return made;
}

// A proxy on this machine that nobody has declared still says that it speaks for another.
bool from_this_machine(const api::Proxies& proxies, const http::Request& request) {
  const auto address = proxies.remote(request).address;
  const bool forwarded = request.header("forwarded") || request.header("x-forwarded-for");
  return (address.is_unspecified() || address.is_loopback()) && !forwarded;
}

bool reads(const http::Request& request) {
  return request.method == http::Method::get || request.method == http::Method::head;
}

}  // namespace

api::Api make_api(unsigned cores) {
  api::Api api;
  session::mount(api, cores);
  account::mount(api);
  organization::mount(api);
  profile::mount(api);
  takeout::mount(api);
  project::mount(api);
  task::mount(api);
  audit::mount(api);
  feed::mount(api);
  admin::mount(api);
  return api;
}

Site::Site(const api::Shared& shared, unsigned cores)
    : api_(make_api(cores)), router_(api_.endpoints()), stages_(api_, router_) {
  for (const auto& endpoint : api_.endpoints()) shared.metrics->add(*endpoint);
  files_.add("/openapi.json", asset("application/json", api::openapi(api_, shared.config.server.base_url)));
  for (const auto& file : api::docs_assets()) {
    const std::string name(file.name);
    auto made = asset(std::string(file.content_type), std::string(file.bytes));
    if (name == "index.html")
      for (const auto* address : {"/api/docs", "/api/docs/"}) files_.add(address, made);
    files_.add("/api/docs/" + name, std::move(made));
  }
}

async<> Site::answer(api::Core& core, const http::Request& request, http::Response& response) const {
  const auto path = request.path;
  if (path.starts_with(api::prefix) && (path.size() == api::prefix.size() || path[api::prefix.size()] == '/')) {
    co_await stages_.answer(core, request, response);
    co_return;
  }
  response.add_header("X-Content-Type-Options", "nosniff");
  if (path == "/healthz" && reads(request)) {
    response.content_type = "application/json";
    response.body() = R"({"status":"ok"})";
  } else if (path == "/readyz" && reads(request)) {
    ready(core, response);
  } else if (path == "/metrics" && reads(request)) {
    metrics(core, request, response);
  } else if (path == "/" && reads(request)) {
    response.status = 303;
    response.add_header("Location", "/api/docs");
  } else if (files_.serve(request, response)) {
    // Nothing inline and nothing from elsewhere: the page can only show what this server sends.
    response.add_header("Content-Security-Policy", api::docs_policy);
    response.add_header("Referrer-Policy", "no-referrer");
  } else {
    api::write_problem(Problem(Kind::not_found, "no_such_endpoint", "There is nothing at this address."), {}, response);
  }
}

void Site::ready(api::Core& core, http::Response& response) const {
  response.content_type = "application/json";
  response.add_header("Cache-Control", "no-store");
  if (core.shared.draining || !core.database.ready()) {
    response.status = 503;
    response.body() = core.shared.draining ? R"({"status":"draining"})" : R"({"status":"no database"})";
  } else {
    // Without Redis everything still works, only slower.
    response.body() = core.redis.healthy() ? R"({"status":"ready"})" : R"({"status":"degraded","without":"redis"})";
  }
}

void Site::metrics(api::Core& core, const http::Request& request, http::Response& response) const {
  if (!core.shared.config.metrics.is_public && !from_this_machine(core.shared.proxies, request)) {
    api::write_problem(Problem(Kind::not_found, "no_such_endpoint", "There is nothing at this address."), {}, response);
    return;
  }
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body() = core.shared.metrics->text();
}

}  // namespace cairn::server
