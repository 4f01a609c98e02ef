#include "api/remote.hpp"

#include <gtest/gtest.h>

namespace cairn::api {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

class Requests : public testing::Test {
 protected:
  std::string from(std::string_view peer, const Fields& fields) {
    const auto address = remote(peer, fields).address;
    return address.is_unspecified() ? "unix" : address.to_string();
  }
  Remote remote(std::string_view peer, const Fields& fields) {
    request_ = http::Request();
    fields_ = fields;
    if (peer != "unix") request_.peer = boost::asio::ip::make_address(peer);
    for (const auto& [name, value] : fields_) request_.headers.push_back({name, value});
    return Proxies(trusted, header).remote(request_);
  }

  std::vector<std::string> trusted{"10.0.0.0/8", "2001:db8:1::/48", "192.0.2.7"};
  ProxyHeader header = ProxyHeader::x_forwarded;

 private:
  http::Request request_;
  Fields fields_;
};

TEST_F(Requests, ComeFromTheirPeerUnlessThatIsATrustedProxy) {
  const Fields spoof{{"X-Forwarded-For", "203.0.113.1"},
                     {"Forwarded", "for=203.0.113.1;proto=https;host=evil.example"},
                     {"X-Forwarded-Proto", "https"},
                     {"X-Forwarded-Host", "evil.example"},
                     {"Host", "cairn.example"}};
  for (const auto* peer : {"11.0.0.1", "192.0.2.8", "2001:db8:2::1", "127.0.0.1", "unix"}) {
    EXPECT_EQ(from(peer, spoof), peer);
    EXPECT_EQ(remote(peer, spoof).host, "cairn.example") << peer;
    EXPECT_FALSE(remote(peer, spoof).secure) << peer;
  }
  trusted.clear();
  EXPECT_EQ(from("10.0.0.1", spoof), "10.0.0.1");
}

TEST_F(Requests, ComeFromWhomATrustedProxyNames) {
  for (const auto* peer : {"10.255.255.255", "::ffff:10.0.0.1", "2001:db8:1:ffff::9", "192.0.2.7"})
    EXPECT_EQ(from(peer, {{"x-forwarded-for", "203.0.113.1"}}), "203.0.113.1") << peer;
  EXPECT_EQ(from("10.0.0.1", {}), "10.0.0.1");
  const auto all = remote("10.0.0.1", {{"Host", "inner:8080"},
                                       {"X-Forwarded-Proto", "HTTPS"},
                                       {"X-Forwarded-Host", "cairn.example"},
                                       {"X-Forwarded-For", "203.0.113.1"}});
  EXPECT_EQ(all.host, "cairn.example");
  EXPECT_TRUE(all.secure);
}

TEST_F(Requests, AreReadFromTheEndOfTheListWhereNobodyButTheProxiesWrites) {
  EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", "1.1.1.1, 203.0.113.1"}}), "203.0.113.1");
  EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", "1.1.1.1,203.0.113.1 , 10.0.0.2,192.0.2.7"}}), "203.0.113.1");
  EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}}), "10.0.0.3");
  // Two fields are one list in their order.
  EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", "1.1.1.1"}, {"X-Forwarded-For", "203.0.113.1"}}), "203.0.113.1");
  EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", "203.0.113.1"}, {"X-Forwarded-For", "10.0.0.2"}}), "203.0.113.1");
}

TEST_F(Requests, ComeFromTheLastOneKnownWhenTheListIsNonsense) {
  for (const auto* list : {"", ",", "unknown", "203.0.113.1, _hidden", "203.0.113.1, 300.1.1.1", "1.1.1.1, 0.0.0.0",
                           "[::1", "203.0.113.1, ::", "203.0.113.1;10.0.0.1", "localhost"})
    EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", list}}), "10.0.0.1") << list;
  EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", "1.1.1.1, nonsense, 10.0.0.2"}}), "10.0.0.2");
}

TEST_F(Requests, ShowAddressesInOneSpelling) {
  for (const auto* list : {"203.0.113.1:4711", "::ffff:203.0.113.1", "[::ffff:cb00:7101]:80", "\"203.0.113.1\""})
    EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", list}}), "203.0.113.1") << list;
  for (const auto* list : {"2001:DB8::1", "[2001:db8::1]", "[2001:db8:0::1]:4711"})
    EXPECT_EQ(from("10.0.0.1", {{"X-Forwarded-For", list}}), "2001:db8::1") << list;
  EXPECT_EQ(from("fe80::1%1", {}), "fe80::1");
}

TEST_F(Requests, MayComeThroughAProxyOnAUnixSocket) {
  trusted = {"unix"};
  EXPECT_EQ(from("unix", {{"X-Forwarded-For", "1.1.1.1, 203.0.113.1"}}), "203.0.113.1");
  EXPECT_EQ(from("unix", {}), "unix");
  EXPECT_EQ(from("127.0.0.1", {{"X-Forwarded-For", "203.0.113.1"}}), "127.0.0.1");
}

TEST_F(Requests, AreToldByForwardedOnlyWhereTheProxiesWriteIt) {
  const Fields both{
      {"X-Forwarded-For", "203.0.113.1"},
      {"X-Forwarded-Host", "x.example"},
      {"X-Forwarded-Proto", "http"},
      {"Forwarded", "for=1.1.1.1, For=\"[2001:db8::17]:4711\"; Proto=https;by=10.0.0.1;host=\"a.example\""}};
  EXPECT_EQ(from("10.0.0.1", both), "203.0.113.1");
  EXPECT_EQ(remote("10.0.0.1", both).host, "x.example");
  header = ProxyHeader::forwarded;
  EXPECT_EQ(from("10.0.0.1", both), "2001:db8::17");
  EXPECT_EQ(remote("10.0.0.1", both).host, "a.example");
  EXPECT_TRUE(remote("10.0.0.1", both).secure);
  EXPECT_EQ(from("10.0.0.1", {{"Forwarded", "for=\"1.1.1.1, for=203.0.113.1"}}), "203.0.113.1");
  EXPECT_EQ(from("10.0.0.1", {{"Forwarded", "for=203.0.113.1;for=1.1.1.1, for=10.1.1.1"}}), "203.0.113.1");
  EXPECT_EQ(from("10.0.0.1", {{"Forwarded", "proto=https"}}), "10.0.0.1");
}

}  // namespace
}  // namespace cairn::api
