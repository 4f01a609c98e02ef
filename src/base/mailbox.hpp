#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/text.hpp"

namespace cairn {

// Somebody as mails name them: "ada@example.org" or "Ada Lovelace <ada@example.org>".
struct Mailbox {
  Mailbox() = default;
  std::string name;  // UTF-8, one line; may be empty
  Email address;

  static std::optional<Mailbox> parse(std::string_view text);
};

}  // namespace cairn
