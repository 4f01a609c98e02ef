#pragma once
#include "http/message.hpp"

#include <ctime>
#include <string>
#include <string_view>

namespace cairn::http {

// The Date field's value (RFC 9110 section 5.6.7), formatted once a second.
class Date {
 public:
  std::string_view now();

 private:
  std::time_t second_ = -1;
  std::string text_;
};

enum class Connection {
  persistent,
  keep_alive,
  close
};  // the default of HTTP/1.1, the other choice of 1.0, the last reply

// How the content's end is known (RFC 9112 section 6.3).
enum class Framing { length, chunked, close };

// Appends status line and fields, up to and with the empty line. Throws std::invalid_argument, with `out` untouched, if
// the content type would break the header.
void append_header(std::string& out, Response const& response, Connection connection, std::string_view date,
                   Framing framing = Framing::length);

// Whether the content follows that header (RFC 9112 section 6.3).
bool carries_content(Method method, unsigned status);

}  // namespace cairn::http
