#pragma once
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

// The kinds of failure a request can end with; each has one HTTP status and a title (RFC 9457).
enum class Kind {
  malformed,              // 400
  unauthenticated,        // 401
  forbidden,              // 403, only for things the actor can see
  not_found,              // 404, also for other tenants' and invisible things
  method_not_allowed,     // 405
  not_acceptable,         // 406
  request_timeout,        // 408
  conflict,               // 409
  length_required,        // 411
  stale,                  // 412
  too_large,              // 413
  uri_too_long,           // 414
  unsupported_media,      // 415
  expectation_failed,     // 417
  invalid,                // 422
  precondition_required,  // 428
  rate_limited,           // 429
  headers_too_large,      // 431
  internal,               // 500
  not_implemented,        // 501
  unavailable,            // 503
  timeout,                // 504
  http_version,           // 505
};

struct KindInfo {
  unsigned status;
  std::string_view title;
  std::string_view code;  // the default machine code
};
KindInfo info(Kind kind);
// The kind whose status this is; internal when there is none.
Kind kind_of(unsigned status);

// One thing wrong with the input. `pointer` is an RFC 6901 JSON pointer into the body, or "?name" for a query
// parameter.
struct FieldError {
  FieldError() = default;
  FieldError(std::string where, std::string_view what, std::string text)
      : pointer(std::move(where)), code(what), detail(std::move(text)) {}
  std::string pointer, code, detail;
};

// The only error a request ends with. Thrown to end the request; rendered in one place (api/problem_json.cpp).
// `detail` is shown to the client: never put a driver's text, SQL or a secret in it. `cause` goes to the log only.
class Problem : public std::exception {
 public:
  Problem() = default;
  explicit Problem(Kind k, std::string text = {}) : kind(k), code(info(k).code), detail(std::move(text)) {}
  Problem(Kind k, std::string_view machine_code, std::string text)
      : kind(k), code(machine_code), detail(std::move(text)) {}

  Problem& with(std::vector<FieldError> list) & {
    errors = std::move(list);
    return *this;
  }
  Problem&& with(std::vector<FieldError> list) && {
    errors = std::move(list);
    return std::move(*this);
  }
  Problem&& because(std::string text) && {
    cause = std::move(text);
    return std::move(*this);
  }

  const char* what() const noexcept override { return cause.empty() ? detail.c_str() : cause.c_str(); }

  Kind kind = Kind::internal;
  std::string code;
  std::string detail;
  std::vector<FieldError> errors;
  std::string cause;
  std::optional<int> retry_after;  // seconds
};

}  // namespace cairn
