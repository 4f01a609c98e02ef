// Whom a request comes from is what trusted proxies say, and never what anybody else does.
#include <algorithm>

#include "api/remote.hpp"
#include "fuzz/fuzz.hpp"

namespace cairn::fuzz {
namespace {

const api::Proxies lists({"10.0.0.0/8", "2001:db8::/33"}, ProxyHeader::x_forwarded);
const api::Proxies forwarded({"10.0.0.0/8", "2001:db8::/33"}, ProxyHeader::forwarded);

bool trusted(const boost::asio::ip::address& address) {
  if (address.is_v4()) return address.to_v4().to_bytes()[0] == 10;
  const auto bytes = address.to_v6().to_bytes();
  return bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] == 0x0d && bytes[3] == 0xb8 && bytes[4] < 0x80;
}

}  // namespace

// Each line of the input is a field, "Name: value".
void run(std::string_view bytes) {
  http::Request request;
  while (!bytes.empty()) {
    const auto end = std::min(bytes.find('\n'), bytes.size());
    const auto line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    const auto colon = std::min(line.find(": "), line.size());
    request.headers.push_back({line.substr(0, colon), line.substr(std::min(colon + 2, line.size()))});
  }
  for (const auto* proxies : {&lists, &forwarded}) {
    for (const auto* peer : {"192.0.2.1", "::ffff:192.0.2.1", "2001:db8:8000::1"}) {
      request.peer = boost::asio::ip::make_address(peer);
      const auto remote = proxies->remote(request);
      require(!trusted(remote.address) && !remote.secure, "a stranger is not believed");
      require(remote.host == request.header("host").value_or(""), "nor about the host");
    }
    for (const auto* peer : {"10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"}) {
      request.peer = boost::asio::ip::make_address(peer);
      const auto remote = proxies->remote(request);
      require(!remote.address.is_unspecified(), "there is always an address");
      require(!remote.address.is_v6() || !remote.address.to_v6().is_v4_mapped(), "an address has one spelling");
      if (trusted(remote.address)) continue;
      // What a client writes in front of what the proxy appends changes nothing.
      auto pretended = request;
      const auto name = proxies == &lists ? "X-Forwarded-For" : "Forwarded";
      pretended.headers.insert(pretended.headers.begin(), {name, "for=203.0.113.9, 203.0.113.9"});
      require(proxies->remote(pretended).address == remote.address, "the last word counts");
    }
  }
}

}  // namespace cairn::fuzz
