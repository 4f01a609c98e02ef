#pragma once
#include <string_view>

#include "base/problem.hpp"
#include "http/message.hpp"

namespace cairn::api {

// The one place where an error becomes a reply: RFC 9457 application/problem+json. A 5xx says nothing about its cause.
void write_problem(const Problem& problem, std::string_view request_id, http::Response& response);

}  // namespace cairn::api
