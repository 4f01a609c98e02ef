#include "importer/encoding.hpp"

#include <gtest/gtest.h>

namespace cairn::importer {
namespace {

TEST(Encoding, LeavesAsciiAndUtf8Alone) {
  for (const auto* text : {"plain", "na\xC3\xAFve", ""}) {
    const auto decoded = decode(text, Encoding::utf_8_else_windows_1252);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->text, text);
    EXPECT_FALSE(decoded->converted);
  }
}

TEST(Encoding, ReadsWindowsQuotesAndDashes) {
  const auto decoded = decode("doesn\x92t \x96 \x80\xE9", Encoding::utf_8_else_windows_1252);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->text, "doesn’t – €é");
  EXPECT_TRUE(decoded->converted);
}

TEST(Encoding, RefusesBytesThatAreNoText) {
  EXPECT_FALSE(decode("\x92", Encoding::utf_8));
  EXPECT_FALSE(decode("\x81", Encoding::windows_1252));
  EXPECT_FALSE(decode("\xED\xA0\x80", Encoding::utf_8)) << "a surrogate";
}

TEST(Encoding, ReadsEveryByteOfLatin1) {
  const auto decoded = decode("\xC3\xA9", Encoding::latin_1);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->text, "Ã©");
}

}  // namespace
}  // namespace cairn::importer
