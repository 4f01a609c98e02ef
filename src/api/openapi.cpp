#include "api/openapi.hpp"

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include <array>

#include "api/credentials.hpp"

namespace cairn::api {

namespace bj = boost::json;

namespace {

std::string_view method_name(http::Method method) {
  switch (method) {
    case http::Method::get: return "get";
    case http::Method::post: return "post";
    case http::Method::put: return "put";
    case http::Method::patch: return "patch";
    case http::Method::del: return "delete";
    default: return "options";
  }
}

bj::object problem_schema() {
  const bj::object text{{"type", "string"}};
  return {{"type", "object"},
          {"description", "RFC 9457. `code` is stable and meant for programs; `detail` is meant for people."},
          {"properties",
           {{"type", text},
            {"title", text},
            {"status", {{"type", "integer"}}},
            {"code", text},
            {"detail", text},
            {"request_id", text},
            {"errors",
             {{"type", "array"},
              {"items",
               {{"type", "object"},
                {"properties",
                 {{"pointer",
                   {{"type", "string"}, {"description", "RFC 6901 pointer into the body, or ?name of a parameter."}}},
                  {"code", text},
                  {"detail", text}}},
                {"required", bj::array{"pointer", "code", "detail"}},
                {"additionalProperties", false}}}}}}},
          {"required", bj::array{"type", "title", "status", "code"}},
          {"additionalProperties", false}};
}

void problem_reply(bj::object& replies, std::string_view status, std::string_view text) {
  replies[status] = {
      {"description", bj::string(text)},
      {"content", {{"application/problem+json", {{"schema", {{"$ref", "#/components/schemas/Problem"}}}}}}}};
}

bj::object header_reference(std::string_view name) { return {{"$ref", fmt::format("#/components/headers/{}", name)}}; }
bj::object header(std::string_view type, std::string_view text) {
  return {{"schema", {{"type", bj::string(type)}}}, {"description", bj::string(text)}};
}

}  // namespace

namespace detail {

bj::object describe_base(const Endpoint& endpoint, bool matches, bool conditional_reply) {
  const auto& spec = endpoint.spec;
  bj::object operation{{"operationId", bj::string(spec.id)}, {"summary", bj::string(spec.summary)}};
  operation["tags"] = bj::array{bj::string(spec.id.substr(0, spec.id.find('.')))};
  if (!spec.description.empty()) operation["description"] = bj::string(spec.description);
  operation["x-authz"] = {{"allow", bj::string(boost::describe::enum_to_string(spec.allow, ""))}};
  operation["security"] = spec.allow == Access::anonymous
                              ? bj::array{}
                              : bj::array{bj::object{{"bearer", bj::array{}}}, bj::object{{"cookie", bj::array{}}}};

  bj::array parameters;
  for (const auto& name : endpoint.path_names)
    parameters.push_back({{"name", bj::string(name)},
                          {"in", "path"},
                          {"required", true},
                          {"schema", {{"type", "string"}, {"format", "uuid"}}}});
  if (matches)
    parameters.push_back(
        {{"name", "If-Match"},
         {"in", "header"},
         {"required", false},
         {"schema", {{"type", "string"}}},
         {"description", "The ETag last read: the change is refused with 412 if somebody was faster."}});
  if (conditional_reply)
    parameters.push_back({{"name", "If-None-Match"},
                          {"in", "header"},
                          {"required", false},
                          {"schema", {{"type", "string"}}},
                          {"description", "An ETag that is known: answered with 304 while it still holds."}});
  operation["parameters"] = std::move(parameters);

  bj::object replies;
  if (conditional_reply) replies["304"] = {{"description", "Not changed."}};
  problem_reply(replies, "400", "Malformed.");
  const auto names = [&](std::string_view code) { return spec.problems.find(code) != std::string_view::npos; };
  if (spec.allow != Access::anonymous) problem_reply(replies, "401", "No valid token.");
  if (names("invalid_credentials") || names("invalid_refresh_token"))
    problem_reply(replies, "401", "Not the right credentials.");
  if (spec.allow != Access::anonymous)
    problem_reply(replies, "403",
                  "Visible, but not among what the caller or the API token may do; or with a cookie, but not from "
                  "a page of this server.");
  if (names("cross_origin")) problem_reply(replies, "403", "With a cookie, but not from a page of this server.");
  if (names("setup_closed")) problem_reply(replies, "403", "There is no first administrator to make, or not so.");
  if (names("registration_closed")) problem_reply(replies, "403", "This server takes no registrations.");
  if (!endpoint.path_names.empty())
    problem_reply(replies, "404", "Not there, or not visible: the two are not told apart.");
  if (!endpoint_reads(endpoint.method)) problem_reply(replies, "409", "In conflict with what is there.");
  if (matches) problem_reply(replies, "412", "Changed since it was read.");
  if (!endpoint_reads(endpoint.method) && endpoint.method != http::Method::del) {
    problem_reply(replies, "413", "The body is too large.");
    problem_reply(replies, "415", "The body is not JSON.");
  }
  problem_reply(replies, "422", "Understood, but not acceptable; `errors` says what and where.");
  problem_reply(replies, "429", "Too often; try again after Retry-After seconds.");
  replies["429"].as_object()["headers"] = {{"Retry-After", header_reference("Retry-After")},
                                           {"RateLimit-Policy", header_reference("RateLimit-Policy")},
                                           {"RateLimit", header_reference("RateLimit")}};
  problem_reply(replies, "503", "Busy or not ready; try again after Retry-After seconds.");
  replies["503"].as_object()["headers"] = {{"Retry-After", header_reference("Retry-After")}};
  problem_reply(replies, "504",
                endpoint_reads(endpoint.method)
                    ? "The database took too long."
                    : "The database took too long: whether anything was changed is not known.");
  operation["responses"] = std::move(replies);
  if (!spec.problems.empty()) operation["x-problem-codes"] = bj::string(spec.problems);
  return operation;
}

void describe_parameter(bj::object& operation, std::string_view name, bj::object schema, std::string_view text,
                        bool required) {
  bj::object parameter{{"name", bj::string(name)}, {"in", "query"}, {"required", required}};
  if (schema.contains("type") && schema["type"] == "array") {
    parameter["style"] = "form";
    parameter["explode"] = false;
  }
  if (!text.empty()) parameter["description"] = bj::string(text);
  parameter["schema"] = std::move(schema);
  operation["parameters"].as_array().push_back(std::move(parameter));
}

void describe_body(bj::object& operation, bj::object schema, bool merge_patch) {
  bj::object content{{"application/json", {{"schema", schema}}}};
  if (merge_patch) content["application/merge-patch+json"] = {{"schema", std::move(schema)}};
  operation["requestBody"] = {{"required", true}, {"content", std::move(content)}};
}

void describe_reply(bj::object& operation, std::string_view status, std::string_view text, bj::object schema, bool etag,
                    bool location) {
  bj::object reply{{"description", bj::string(text)}};
  bj::object headers;
  if (etag) headers["ETag"] = {{"schema", {{"type", "string"}}}, {"description", "The version, for If-Match."}};
  if (location) headers["Location"] = {{"schema", {{"type", "string"}}}};
  if (!headers.empty()) reply["headers"] = std::move(headers);
  if (!schema.empty()) reply["content"] = {{"application/json", {{"schema", std::move(schema)}}}};
  operation["responses"].as_object()[status] = std::move(reply);
}

void describe_stream(bj::object& operation, std::string_view type, std::string_view text) {
  auto& reply = operation["responses"].as_object()["200"].as_object();
  if (!reply.contains("content")) reply["content"].emplace_object();
  reply["content"].as_object()[type] = {{"schema", {{"type", "string"}, {"description", bj::string(text)}}}};
}

}  // namespace detail

std::string openapi(const Api& api, std::string_view base_url) {
  json::Components components;
  bj::object paths;
  for (const auto& endpoint : api.endpoints()) {
    auto& path = paths[std::string(prefix) + endpoint->path];
    if (path.is_null()) path.emplace_object();
    auto operation = endpoint->describe(components);
    if (endpoint->spec.allow != Access::anonymous && api.scope()) {
      const auto scope = api.scope()(*endpoint);
      operation["x-authz"].as_object()["scope"] = scope.empty() ? bj::value() : bj::value(bj::string(scope));
      if (!scope.empty()) operation["security"].at(0).at("bearer").as_array().emplace_back(bj::string(scope));
    }
    path.as_object()[method_name(endpoint->method)] = std::move(operation);
  }
  bj::object schemas;
  for (const auto& [name, schema] : components.all()) schemas[name] = schema;
  schemas["Problem"] = problem_schema();

  const bj::object document{
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "Cairn"},
        {"version", "1"},
        {"description",
         "Organizations, projects and tasks, with every change on the record.\n\nErrors are RFC 9457 problems with a "
         "stable "
         "`code`. Lists are read page by page: give `next_cursor` as `cursor`. A change may name the version it means "
         "with "
         "`If-Match`. `x-authz.allow` is the least role an operation needs, `x-authz.scope` the scope of an API token, "
         "which opens nothing where it is null. Every reply tells by `RateLimit-Policy` "
         "and "
         "`RateLimit` how often the operation may be called."},
        {"license", {{"name", "See the repository"}, {"identifier", "LicenseRef-Cairn"}}}}},
      {"servers", bj::array{bj::object{{"url", base_url.empty() ? bj::string("/") : bj::string(base_url)}}}},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", std::move(schemas)},
        {"headers",
         {{"Retry-After", header("integer", "In so many seconds it may work.")},
          {"RateLimit-Policy", header("string", "`\"read\";q=3000;w=60`: 3000 calls in 60 seconds.")},
          {"RateLimit", header("string", "`\"read\";r=2954;t=31`: 2954 more in the next 31 seconds.")}}},
        {"securitySchemes",
         {{"bearer",
           {{"type", "http"}, {"scheme", "bearer"}, {"description", "The token that login returns, or an API token."}}},
          {"cookie",
           {{"type", "apiKey"},
            {"in", "cookie"},
            {"name", bj::string(session_cookie)},
            {"description",
             "What a login with `cookie` sets. A change needs an `Origin` or `Sec-Fetch-Site` of this server beside "
             "it."}}}}}}}};
  return json::text(document);
}

}  // namespace cairn::api
