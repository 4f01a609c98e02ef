#include "http/reply.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/beast/http/status.hpp>

#include <iterator>
#include <stdexcept>

namespace cairn::http {
namespace {

bool without_content(unsigned status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

std::string_view Date::now() {
  auto const second = std::time(nullptr);
  if (second != second_) {
    text_ = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(second));
    second_ = second;
  }
  return text_;
}

void append_header(std::string& out, Response const& response, Connection connection, std::string_view date,
                   Framing framing) {
  constexpr std::string_view forbidden{"\r\n\0", 3};
  if (response.content_type.find_first_of(forbidden) != std::string::npos)
    throw std::invalid_argument("a reply's content type would break the header");
  auto const append = [&out](auto... pieces) { (out.append(pieces), ...); };
  auto const decimal = [](fmt::format_int const& number) { return std::string_view{number.data(), number.size()}; };
  append("HTTP/1.1 ", decimal(fmt::format_int{response.status}), " ",
         std::string_view{boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(response.status))},
         "\r\nDate: ", date, "\r\n");
  if (!response.content_type.empty()) append("Content-Type: ", std::string_view{response.content_type}, "\r\n");
  if (framing == Framing::chunked && !without_content(response.status)) append("Transfer-Encoding: chunked\r\n");
  if (framing == Framing::length && !without_content(response.status))
    append("Content-Length: ", decimal(fmt::format_int{response.content().size()}), "\r\n");
  if (connection == Connection::keep_alive) append("Connection: keep-alive\r\n");
  if (connection == Connection::close) append("Connection: close\r\n");
  append(response.fields(), "\r\n");
}

bool carries_content(Method method, unsigned status) { return method != Method::head && !without_content(status); }

}  // namespace cairn::http
