#include "job/message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn::job {
namespace {

using testing::HasSubstr;
using testing::Not;

Content content(std::string subject, std::string text) {
  Content made;
  made.id = "0195d6f0-0000-7000-8000-000000000000";
  made.to = Email::trusted("ada@example.org");
  made.subject = std::move(subject);
  made.text = std::move(text);
  return made;
}
std::string written(std::string subject, std::string text, std::string_view from = "Cairn <cairn@example.org>") {
  return message(Mailbox::parse(from).value(), content(std::move(subject), std::move(text)), Instant{1767323045000000});
}

TEST(AMessage, OfPlainTextIsReadableAsItIs) {
  EXPECT_EQ(written("Hello", "One\nhttps://x.example/?a=b\n"),
            "Date: Fri, 2 Jan 2026 03:04:05 +0000\r\n"
            "From: \"Cairn\" <cairn@example.org>\r\n"
            "To: <ada@example.org>\r\n"
            "Subject: Hello\r\n"
            "Message-ID: <0195d6f0-0000-7000-8000-000000000000@example.org>\r\n"
            "Auto-Submitted: auto-generated\r\n"
            "MIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 7bit\r\n"
            "\r\n"
            "One\r\n"
            "https://x.example/?a=b\r\n");
}

TEST(AMessage, CannotBeGivenHeadersByItsSubjectOrItsSendersName) {
  const auto text = written("Hi\r\nBcc: eve@example.org\n\nbody", "x");
  EXPECT_THAT(text, HasSubstr("Subject: Hi  Bcc: eve@example.org  body\r\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nBcc")));
  EXPECT_FALSE(Mailbox::parse("A\r\nBcc: eve@example.org <a@example.org>"));
  EXPECT_FALSE(Mailbox::parse("a@example.org, eve@example.org"));
  EXPECT_FALSE(Mailbox::parse("<a@example.org> <eve@example.org"));
}

TEST(AMessage, EncodesWhatIsNotAscii) {
  const auto text =
      written("Łódź " + std::string(60, 'x') + "ż", "Grüße = 1\ntrailing \n", "Æ \"B\" <cairn@example.org>");
  EXPECT_THAT(text, HasSubstr("Subject: =?UTF-8?B?xYHDs2TFuiB4eHh4"));
  EXPECT_THAT(text, HasSubstr("?=\r\n =?UTF-8?B?"));
  EXPECT_THAT(text, HasSubstr("From: =?UTF-8?B?w4YgIkIi?= <cairn@example.org>\r\n"));
  EXPECT_THAT(text, HasSubstr("quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D 1\r\ntrailing=20\r\n"));
  for (const char c : text) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
}

TEST(AMessage, HasNoLineThatIsTooLongAndNoControlCharacter) {
  const auto text = written(std::string(5000, 's'), std::string(5000, 'b') + '\0' + "\x1b[2J\r\n.\r\nend");
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find("\r\n", at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - at, 76u);
    at = end + 2;
  }
  for (const char c : text) EXPECT_TRUE(c == '\r' || c == '\n' || (c >= 0x20 && c < 0x7F));
}

TEST(ASender, IsQuotedWhereItsNameNeedsIt) {
  EXPECT_THAT(written("s", "b", R"(The "Cairn", Inc. \ <cairn@example.org>)"),
              HasSubstr("From: \"The \\\"Cairn\\\", Inc. \\\\\" <cairn@example.org>\r\n"));
  EXPECT_THAT(written("s", "b", "cairn@example.org"), HasSubstr("From: <cairn@example.org>\r\n"));
}

}  // namespace
}  // namespace cairn::job
