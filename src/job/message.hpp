#pragma once
#include <string>
#include <string_view>

#include "base/mailbox.hpp"
#include "base/time.hpp"

namespace cairn::job {

// What a mail says. Subject and text may hold anything: what is no text becomes spaces.
struct Content {
  Content() = default;
  std::string id;  // makes the Message-ID, so that a mail sent twice can be recognised
  Email to;
  std::string subject, text;  // UTF-8; lines end with \n
};

// The mail as RFC 5322 has it, with CRLF line ends, ASCII throughout (RFC 2047, quoted-printable).
std::string message(const Mailbox& from, const Content& content, Instant date);

}  // namespace cairn::job
