#include "api/remote.hpp"

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <optional>

namespace cairn::api {
namespace {

namespace ip = boost::asio::ip;
using boost::system::error_code;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
bool same(std::string_view text, std::string_view lower_case) {
  return std::ranges::equal(text, lower_case, {}, lower);
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

// One spelling per address: no IPv4 in IPv6's clothes, as a dual-stack socket shows it, and no interface.
ip::address plain(const ip::address& address) {
  if (address.is_v4()) return address;
  const auto v6 = address.to_v6();
  if (v6.is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, v6);
  return ip::address_v6(v6.to_bytes());
}

ip::address_v6 wide(const ip::address& address) {
  return address.is_v4() ? ip::make_address_v6(ip::v4_mapped, address.to_v4()) : address.to_v6();
}

// "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]:4711", in quotes or not. Nothing for words ("unknown",
// "_hidden") and nonsense.
std::optional<ip::address> node(std::string_view text) {
  if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"')) text = text.substr(1, text.size() - 2);
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == text.npos) return std::nullopt;
    text = text.substr(1, close - 1);
  } else if (std::ranges::count(text, ':') == 1) {
    text = text.substr(0, text.find(':'));
  }
  error_code error;
  const auto address = ip::make_address(text, error);
  if (error || address.is_unspecified()) return std::nullopt;
  return plain(address);
}

// The parts of all fields of that name, the last first, until `visit` has seen enough. Quotes are not looked at: what
// a proxy appends is what stands behind the last comma, whatever its client left open before it.
template<class Visit>
void from_the_end(const http::Request& request, std::string_view name, Visit visit) {
  for (auto field = request.headers.rbegin(); field != request.headers.rend(); ++field) {
    if (!same(field->name, name)) continue;
    auto rest = field->value;
    for (;;) {
      const auto comma = rest.rfind(',');
      if (!visit(trimmed(comma == rest.npos ? rest : rest.substr(comma + 1)))) return;
      if (comma == rest.npos) break;
      rest = rest.substr(0, comma);
    }
  }
}

std::string_view last_of(const http::Request& request, std::string_view name) {
  std::string_view found;
  from_the_end(request, name, [&](std::string_view part) {
    found = part;
    return false;
  });
  return found;
}

// The value of a parameter of one part of Forwarded (RFC 7239 section 4).
std::string_view parameter(std::string_view part, std::string_view name) {
  while (!part.empty()) {
    const auto end = std::min(part.find(';'), part.size());
    const auto pair = trimmed(part.substr(0, end));
    part.remove_prefix(std::min(end + 1, part.size()));
    const auto equals = std::min(pair.find('='), pair.size());
    if (equals == pair.size() || !same(pair.substr(0, equals), name)) continue;
    auto value = pair.substr(equals + 1);
    if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) value = value.substr(1, value.size() - 2);
    return value;
  }
  return {};
}

}  // namespace

Proxies::Proxies(const std::vector<std::string>& trusted, ProxyHeader header) : header_(header) {
  for (const auto& text : trusted) {
    if (text == "unix") {
      unix_ = true;
      continue;
    }
    Network network{};
    error_code error;
    if (text.find('/') == text.npos) {
      network = {wide(plain(ip::make_address(text))).to_bytes(), 128};
    } else if (const auto v4 = ip::make_network_v4(text, error); !error) {
      network = {wide(v4.network()).to_bytes(), 96u + v4.prefix_length()};
    } else {
      const auto v6 = ip::make_network_v6(text);
      network = {v6.network().to_bytes(), v6.prefix_length()};
    }
    networks_.push_back(network);
  }
}

bool Proxies::trusts(const ip::address& address) const {
  if (address.is_unspecified()) return unix_;
  const auto bytes = wide(address).to_bytes();
  return std::ranges::any_of(networks_, [&](const Network& network) {
    const auto whole = network.bits / 8, part = network.bits % 8;
    if (!std::equal(bytes.begin(), bytes.begin() + whole, network.bytes.begin())) return false;
    return part == 0 || (bytes[whole] >> (8 - part)) == (network.bytes[whole] >> (8 - part));
  });
}

Remote Proxies::remote(const http::Request& request) const {
  Remote remote;
  remote.address = plain(request.peer);
  remote.host = request.header("host").value_or("");
  if (!trusts(remote.address)) return remote;

  const bool standard = header_ == ProxyHeader::forwarded;
  from_the_end(request, standard ? "forwarded" : "x-forwarded-for", [&](std::string_view part) {
    const auto before = node(standard ? parameter(part, "for") : part);
    if (!before) return false;
    remote.address = *before;
    return trusts(remote.address);
  });
  const auto nearest = standard ? last_of(request, "forwarded") : std::string_view{};
  const auto scheme = standard ? parameter(nearest, "proto") : last_of(request, "x-forwarded-proto");
  const auto host = standard ? parameter(nearest, "host") : last_of(request, "x-forwarded-host");
  remote.secure = same(scheme, "https");
  if (!host.empty()) remote.host = host;
  return remote;
}

}  // namespace cairn::api
