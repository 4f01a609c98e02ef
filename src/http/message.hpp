#pragma once
#include "base/async.hpp"

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

// Content that is made while it is sent. Its next piece is asked for when the kernel has taken the one before, so a
// slow client slows it down, and nobody holds the whole of it.
class Source {
 public:
  Source() = default;
  Source(Source const&) = delete;
  Source& operator=(Source const&) = delete;
  virtual ~Source() = default;

  // Appends to `piece`, which is empty; nothing at the end. What it throws cuts the connection, so that the client
  // knows that something is missing.
  virtual async<void> next(std::string& piece) = 0;
  // The client has closed, or the server is about to: a source that has no end of its own comes to one now.
  virtual void stop() {}
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
  // Sends what the source makes, instead of body(). It outlives the handler and the Request, but not the connection.
  void stream(std::shared_ptr<Source> source) { source_ = std::move(source); }
  std::shared_ptr<Source> const& source() const { return source_; }
  // Back to an empty 200.
  void clear();

  std::string_view content() const { return shared_body_ ? std::string_view{*shared_body_} : std::string_view{body_}; }
  // Serialised "Name: value\r\n" lines.
  std::string_view fields() const { return fields_; }

 private:
  std::string fields_;
  std::string body_;
  std::shared_ptr<const std::string> shared_body_;
  std::shared_ptr<Source> source_;
};

}  // namespace cairn::http
