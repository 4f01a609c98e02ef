#include "base/hash.hpp"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(AHash, IsSha256) {  // FIPS 180-2, B.1
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hexadecimal, IsPairsOfDigitsOfEitherCaseAndNothingElse) {
  EXPECT_EQ(from_hex(""), std::vector<std::uint8_t>());
  EXPECT_EQ(from_hex("00fFa0"), (std::vector<std::uint8_t>{0, 255, 160}));
  for (const auto* text : {"0", "000", "0g", "g0", " 00", "00 ", "0x00", "0000\n0"})
    EXPECT_EQ(from_hex(text), std::nullopt) << text;
  EXPECT_EQ(from_hex(std::string_view("\0\0", 2)), std::nullopt);
}

}  // namespace
}  // namespace cairn
