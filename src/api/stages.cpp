#include "api/stages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "api/credentials.hpp"
#include "api/metrics.hpp"
#include "api/problem_json.hpp"

namespace cairn::api {
namespace {

// The client's own id when it is harmless in logs and headers, so that it can follow its request; else one of ours.
std::string request_id(Core& core, const http::Request& request) {
  const auto harmless = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  if (const auto given = request.header("x-request-id");
      given && given->size() >= 8 && given->size() <= 64 && std::all_of(given->begin(), given->end(), harmless))
    return std::string(*given);
  return fmt::format("{}-{:x}", core.request_prefix, ++core.requests);
}

// As to_string(), which prints IPv4 through sprintf().
std::string text_of(const boost::asio::ip::address& address) {
  if (!address.is_v4()) return address.to_string();
  const auto bytes = address.to_v4().to_bytes();
  return fmt::format("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3]);
}

std::string clean_agent(const http::Request& request) {
  const auto given = request.header("user-agent");
  if (!given) return {};
  std::string agent(given->substr(0, 500));
  for (char& c : agent)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F) c = '?';
  return agent;
}

std::string allow_header(const std::vector<http::Method>& methods) {
  std::string text;
  for (const auto method : methods) {
    if (!text.empty()) text += ", ";
    switch (method) {
      case http::Method::get: text += "GET, HEAD"; break;
      case http::Method::post: text += "POST"; break;
      case http::Method::put: text += "PUT"; break;
      case http::Method::patch: text += "PATCH"; break;
      case http::Method::del: text += "DELETE"; break;
      default: break;
    }
  }
  return text;
}

// By value: a flood must be cheap to turn away.
void refuse(Call& call) {
  Problem problem(Kind::rate_limited,
                  fmt::format("Not more than {} a minute; try again later.", call.allowance.policy->quota));
  problem.retry_after = static_cast<int>(call.allowance.seconds);
  write_problem(problem, call.request_id, call.response);
}

void finish(Call& call) {
  auto& response = call.response;
  if (response.content_type.empty() && !response.content().empty()) response.content_type = "application/json";
  response.add_header("X-Request-Id", call.request_id);
  response.add_header("Cache-Control", "no-store");
  response.add_header("X-Content-Type-Options", "nosniff");
  if (const auto& allowance = call.allowance; allowance.policy) {
    response.add_header("RateLimit-Policy", allowance.policy->header);
    fmt::basic_memory_buffer<char, 64> text;
    fmt::format_to(std::back_inserter(text), R"("{}";r={};t={})", allowance.policy->name, allowance.left,
                   allowance.seconds);
    response.add_header("RateLimit", {text.data(), text.size()});
  }
  call.core.limiter.settle(call);

  const auto taken =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - call.begun);
  call.core.shared.metrics->count(call.endpoint, response.status, taken);
  std::string actor;
  if (call.identity.user) call.identity.user->append_to(actor);
  log::Access line;
  line.request_id = call.request_id;
  line.method = call.request.method_text;
  line.route = call.endpoint ? std::string_view(call.endpoint->path) : "-";
  line.status = response.status;
  line.duration = taken;
  line.bytes = response.content().size();
  line.actor = actor;
  line.ip = call.address;
  call.core.access.append(line);
}

}  // namespace

async<> Stages::run(Call& call) const {
  // route: knows no secrets, and says what to count
  const auto match = router_.find(call.request.method, call.request.path.substr(prefix.size()), call.path_values);
  call.endpoint = match.endpoint;

  // identify: what the request shows; whether that is valid is asked last
  const auto shown = credentials(call.request);
  const bool by_this_site = !shown.by_cookie || !match.endpoint || endpoint_reads(match.endpoint->method) ||
                            same_origin(call.request, call.remote, call.core.shared.config.server.base_url);
  // Another site's request is not counted for the one whose cookie it rides on.
  if (by_this_site) call.token = shown.token;
  call.by_cookie = shown.by_cookie;

  // limit: before anything that costs more than the answer
  auto outcome = call.core.limiter.spend(call);
  if (outcome == Limiter::Outcome::ask) outcome = co_await call.core.limiter.ask(call);
  if (outcome == Limiter::Outcome::refused) {
    refuse(call);
    co_return;
  }

  if (!match.endpoint) {
    if (match.allowed.empty()) throw Problem(Kind::not_found, "no_such_endpoint", "There is nothing at this address.");
    Problem problem(Kind::method_not_allowed);
    problem.detail = "This address takes " + allow_header(match.allowed) + ".";
    throw std::move(problem);
  }

  // authorize: that a token is needed at all; what it may do is decided by the SQL that does the work
  if (call.endpoint->spec.allow == Access::anonymous) {
    call.identity = api_.anonymous()(call);
  } else {
    if (shown.ambiguous) throw Problem(Kind::malformed, "duplicate_cookie", "The session's cookie is there twice.");
    if (!by_this_site) expect_same_origin(call);
    if (call.token.empty())
      throw Problem(Kind::unauthenticated, "Send the token of a login as `Authorization: Bearer ...`.");
    call.authenticator = &api_.authenticator();
    call.identity = co_await api_.authenticator()(call, call.token, false);
  }

  // decode, transact, encode
  co_await call.endpoint->run(call);
}

async<> Stages::answer(Core& core, const http::Request& request, http::Response& response) const {
  Call call(core, request, response);
  call.begun = std::chrono::steady_clock::now();
  call.request_id = request_id(core, request);
  call.remote = core.shared.proxies.remote(request);
  if (!call.remote.address.is_unspecified()) call.address = text_of(call.remote.address);
  call.user_agent = clean_agent(request);

  std::optional<Problem> failure;
  try {
    co_await run(call);
  } catch (const Problem& problem) { failure = problem; } catch (const std::exception& error) {
    failure = Problem(Kind::internal).because(error.what());
  }
  if (failure) {
    const auto status = info(failure->kind).status;
    if (status == 403 && call.authenticator && call.identity.user && api_.refused())
      co_await api_.refused()(call, *failure);
    if (status >= 500)
      log::error("request failed", {{"request_id", call.request_id},
                                    {"route", call.endpoint ? std::string_view(call.endpoint->path) : "-"},
                                    {"code", failure->code},
                                    {"cause", failure->cause}});
    if (status == 500) failure->detail = "Something went wrong on our side; the request id finds it in the log.";
    write_problem(*failure, call.request_id, response);
    if (status == 405) {
      std::array<std::string_view, 4> values;
      const auto match = router_.find(request.method, request.path.substr(prefix.size()), values);
      response.add_header("Allow", allow_header(match.allowed));
    }
  }
  finish(call);
}

}  // namespace cairn::api
