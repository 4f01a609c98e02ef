// What a connection's bytes mean does not depend on how they arrive, is never ambiguous, and stays within the limits.
#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cstring>
#include <functional>
#include <vector>

#include "fuzz/fuzz.hpp"
#include "http/parser.hpp"
#include "http/uri.hpp"

namespace cairn::fuzz {
namespace {

using http::Parser;

http::Limits small_limits() {
  http::Limits limits;
  limits.header_bytes = 512;
  limits.headers = 8;
  limits.body_bytes = 128;
  limits.target_bytes = 64;
  return limits;
}
const http::Limits limits = small_limits();

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

void check(const http::Request& request, bool http_1_0) {
  require(request.headers.size() <= limits.headers, "no more fields than the limit");
  require(request.target.size() <= limits.target_bytes, "no target beyond the limit");
  require(request.body.size() <= limits.body_bytes, "no body beyond the limit");
  require(request.path.starts_with('/') || request.path == "*", "a path starts with a slash");
  require(request.path == "*" || http::percent_decode(request.path).has_value(), "a path decodes");
  std::size_t hosts = 0, lengths = 0, codings = 0, bytes = request.target.size();
  for (const auto& [name, value] : request.headers) {
    bytes += name.size() + value.size();
    require(std::none_of(value.begin(), value.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }),
            "a field is one line");
    const auto field = lower(name);
    if (field == "host") ++hosts;
    if (field == "content-length") {
      ++lengths;
      require(!value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos,
              "Content-Length is one number");
      require(std::stoull(std::string(value)) == request.body.size(), "Content-Length is the body's");
    }
    if (field == "transfer-encoding") {
      ++codings;
      require(lower(value) == "chunked", "no coding but chunked");
    }
  }
  require(bytes <= limits.header_bytes, "no header beyond the limit");
  require(hosts == 1 || (hosts == 0 && http_1_0), "exactly one Host");
  require(lengths + codings <= 1, "one way to find the body's end");
  require(lengths + codings == 1 || request.body.empty(), "no body of unknown length");
}

struct Parsed {
  Parsed() = default;
  std::string story;              // requests, and how it ended
  std::vector<std::size_t> ends;  // how many bytes had been given when each request was complete
};

Parsed parse(std::string_view wire, const std::function<std::size_t()>& next_read) {
  Parsed parsed;
  Parser parser(limits, {});
  for (std::size_t given = 0, begin = 0;;) {
    switch (parser.step()) {
      case Parser::Step::wants_continue:
      case Parser::Step::need_more: {
        if (given == wire.size()) {
          parsed.story += "unfinished " + std::to_string(static_cast<int>(parser.phase()));
          return parsed;
        }
        const auto space = parser.space();
        require(!space.empty(), "there is always room to read on");
        const auto size = std::min({std::max<std::size_t>(next_read(), 1), space.size(), wire.size() - given});
        std::memcpy(space.data(), wire.data() + given, size);
        parser.commit(size);
        given += size;
        break;
      }
      case Parser::Step::complete: {
        const auto& request = parser.request();
        check(request, parser.http_1_0());
        parsed.ends.push_back(given);
        parsed.story += std::string(request.method_text) + ' ' + std::string(request.target) + '\n';
        for (const auto& [name, value] : request.headers)
          parsed.story += std::string(name) + ": " + std::string(value) + '\n';
        parsed.story += std::string(request.body) + '\n';
        // Read byte by byte, all that was given is this request's: chunks may cost a few bytes for each of the body.
        require(next_read() != 1 || given - begin <= 2 * limits.header_bytes + 24 * (limits.body_bytes + 1),
                "limits hold while reading");
        begin = given;
        if (!parser.keep_alive()) {
          parsed.story += "close";
          return parsed;
        }
        parser.next();
        break;
      }
      case Parser::Step::fault:
        require(parser.status() >= 400 && !parser.detail().empty(), "a fault has its reason");
        parsed.story += std::to_string(parser.status()) + ' ' + std::string(parser.detail());
        return parsed;
    }
  }
}

}  // namespace

void run(std::string_view bytes) {
  const auto whole = parse(bytes, [] { return std::size_t{1} << 16; });
  const auto slow = parse(bytes, [] { return std::size_t{1}; });
  require(whole.story == slow.story, "read whole and byte by byte, it is the same");
  std::minstd_rand random(static_cast<unsigned>(bytes.size()) + 1);
  for (int i = 0; i < 3; ++i)
    require(parse(bytes, [&] { return random() % 40 + 2; }).story == whole.story, "split anywhere, it is the same");
  // A request ends where it ends: what follows cannot change it.
  for (std::size_t i = 0; i < slow.ends.size(); ++i)
    require(parse(bytes.substr(0, slow.ends[i]), [] { return std::size_t{7}; }).ends.size() == i + 1,
            "a request needs nothing of the next");
}

}  // namespace cairn::fuzz
