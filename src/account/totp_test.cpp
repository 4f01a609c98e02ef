#include "account/totp.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace cairn::account::totp {
namespace {

// The secret of RFC 6238, appendix B, whose codes have eight digits: ours are the last six.
Secret rfc_secret() {
  constexpr std::string_view text = "12345678901234567890";
  Secret secret;
  std::copy(text.begin(), text.end(), secret.begin());
  return secret;
}

TEST(Codes, AreThoseOfTheRfc) {
  for (const auto& [second, expected] : std::vector<std::pair<std::int64_t, std::string>>{{59, "287082"},
                                                                                          {1111111109, "081804"},
                                                                                          {1111111111, "050471"},
                                                                                          {1234567890, "005924"},
                                                                                          {2000000000, "279037"},
                                                                                          {20000000000, "353130"}})
    EXPECT_EQ(code(rfc_secret(), step_at(Instant{second * 1'000'000})), expected);
}

TEST(Codes, AreGoodForThreeStepsAndOnce) {
  const auto secret = make_secret();
  const Instant now{1'800'000'000'000'000};
  const auto step = step_at(now);
  for (const auto offset : {-1, 0, 1})
    EXPECT_EQ(matching_step(secret, code(secret, step + offset), now, 0), step + offset);
  for (const auto offset : {-2, 2}) EXPECT_FALSE(matching_step(secret, code(secret, step + offset), now, 0));
  EXPECT_FALSE(matching_step(secret, code(secret, step), now, step));
  EXPECT_TRUE(matching_step(secret, code(secret, step + 1), now, step));
  for (const auto* wrong : {"", "12345", "1234567", "abcdef"}) EXPECT_FALSE(matching_step(secret, wrong, now, 0));
}

TEST(Secrets, AreShownInBase32) {
  EXPECT_EQ(base32(rfc_secret()), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
  constexpr std::array<std::uint8_t, 3> three{0x66, 0x6f, 0x6f};
  EXPECT_EQ(base32(three), "MZXW6");
  EXPECT_EQ(typed(" ab2-3C 9"), "AB23C9");
}

}  // namespace
}  // namespace cairn::account::totp
