#pragma once
#include <boost/asio/ip/address.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "base/config.hpp"
#include "http/message.hpp"

namespace cairn::api {

// Who sent a request and whom they asked for, as far as it can be believed.
struct Remote {
  boost::asio::ip::address address;  // unspecified: a unix socket, and no proxy says more
  std::string_view host;             // "cairn.example:8443"
  bool secure = false;               // https, as a proxy says
};

// The proxies whose header fields count. What anybody else sends in them is ignored.
class Proxies {
 public:
  // Networks that `config` has checked. Throws boost::system::system_error on others.
  Proxies(const std::vector<std::string>& trusted, ProxyHeader header);

  // Each proxy appends whom it heard from, so the list is read from its end, for as long as trusted proxies speak.
  Remote remote(const http::Request& request) const;

 private:
  struct Network {
    boost::asio::ip::address_v6::bytes_type bytes;  // IPv4 as ::ffff:0:0/96
    unsigned bits;
  };
  bool trusts(const boost::asio::ip::address& address) const;

  std::vector<Network> networks_;
  bool unix_ = false;
  ProxyHeader header_;
};

}  // namespace cairn::api
