#include "base/mailbox.hpp"

namespace cairn {

std::optional<Mailbox> Mailbox::parse(std::string_view text) {
  Mailbox mailbox;
  if (text.ends_with('>')) {
    const auto begin = text.rfind('<');
    if (begin == std::string_view::npos) return std::nullopt;
    auto name = text.substr(0, begin);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (!text_problem(name, 0, 100, Shape::line).empty()) return std::nullopt;
    mailbox.name = name;
    text = text.substr(begin + 1, text.size() - begin - 2);
  }
  const auto address = Email::parse(text);
  if (!address) return std::nullopt;
  mailbox.address = *address;
  return mailbox;
}

}  // namespace cairn
