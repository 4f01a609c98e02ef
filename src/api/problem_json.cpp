#include "api/problem_json.hpp"

#include "base/codec.hpp"

namespace cairn::api {

void write_problem(const Problem& problem, std::string_view request_id, http::Response& response) {
  const auto about = info(problem.kind);
  response.clear();
  response.status = about.status;
  response.content_type = "application/problem+json";
  if (problem.retry_after) response.add_header("Retry-After", std::to_string(*problem.retry_after));
  if (about.status == 401) response.add_header("WWW-Authenticate", "Bearer");

  auto& out = response.body();
  const auto member = [&](std::string_view name, std::string_view value) {
    out.push_back(out.empty() ? '{' : ',');
    json::append_string(out, name);
    out.push_back(':');
    json::append_string(out, value);
  };
  member("type", "urn:cairn:problem:" + problem.code);
  member("title", about.title);
  out += ",\"status\":";
  json::encode(out, about.status);
  member("code", problem.code);
  if (!problem.detail.empty()) member("detail", problem.detail);
  if (!request_id.empty()) member("request_id", request_id);
  if (!problem.errors.empty()) {
    out += ",\"errors\":";
    char separator = '[';
    for (const auto& error : problem.errors) {
      out.push_back(separator);
      out += "{\"pointer\":";
      json::append_string(out, error.pointer);
      out += ",\"code\":";
      json::append_string(out, error.code);
      out += ",\"detail\":";
      json::append_string(out, error.detail);
      out.push_back('}');
      separator = ',';
    }
    out.push_back(']');
  }
  out.push_back('}');
}

}  // namespace cairn::api
