#pragma once
#include <boost/asio/ip/address.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::http {

enum class Method { get, head, post, put, patch, del, options, other };

struct Header {
  std::string_view name, value;  // as received; the value without surrounding blanks
};

// One request, complete and checked: every rule of RFC 9112 on framing holds, and target, once decoded, is UTF-8
// without NUL. Every view lives in the session's buffers and is valid until the handler returns.
struct Request {
  Request() = default;

  // The first field of that name (give it in lower case; the request's own case does not matter).
  std::optional<std::string_view> header(std::string_view lower_case_name) const;

  Method method = Method::other;
  std::string_view method_text;
  std::string_view target;  // as received
  std::string_view path;    // "/a%20b": still percent-encoded, starts with '/'; or "*" (OPTIONS only)
  std::string_view query;   // without the '?', still percent-encoded
  std::vector<Header> headers;
  std::string_view body;
  boost::asio::ip::address peer;  // unspecified on a unix socket
};

// What a handler fills. The session adds Content-Length, Connection and Date, and leaves the body out where HTTP
// forbids one (HEAD, 204, 304), so a handler need not care.
class Response {
 public:
  Response() = default;

  unsigned status = 200;
  std::string content_type;  // no field when empty

  // Throws std::invalid_argument if the name is no token, the value holds CR, LF or NUL, or the field is one of the
  // session's.
  void add_header(std::string_view name, std::string_view value);
  // Append here; the capacity is reused between requests.
  std::string& body() { return body_; }
  // Sends a shared body without copying it, instead of body().
  void body_view(std::shared_ptr<const std::string> body) { shared_body_ = std::move(body); }
  // Back to an empty 200.
  void clear();

  std::string_view content() const { return shared_body_ ? std::string_view{*shared_body_} : std::string_view{body_}; }
  // Serialised "Name: value\r\n" lines.
  std::string_view fields() const { return fields_; }

 private:
  std::string fields_;
  std::string body_;
  std::shared_ptr<const std::string> shared_body_;
};

}  // namespace cairn::http
