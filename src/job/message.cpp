#include "job/message.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace cairn::job {
namespace {

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Control characters have no place in a mail, least of all a line break in a header.
std::string plain(std::string_view text, bool keep_lines) {
  std::string out;
  for (const char c : text) {
    if (c == '\r' && keep_lines) continue;
    const bool kept = (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) || (keep_lines && (c == '\n' || c == '\t'));
    out.push_back(kept ? c : ' ');
  }
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out(sodium_base64_encoded_len(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  out.pop_back();
  return out;
}

// RFC 2047: words of at most 75 characters, none of which splits a character.
std::string encoded_words(std::string_view text) {
  constexpr std::size_t most = 39;  // with the field's name in front, a line of 76
  std::string out;
  while (!text.empty()) {
    auto length = std::min(most, text.size());
    while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
    if (!out.empty()) out += "\r\n ";
    out += "=?UTF-8?B?" + base64(text.substr(0, length)) + "?=";
    text.remove_prefix(length);
  }
  return out;
}

std::string subject_field(std::string_view subject) {
  const auto text = plain(subject, false);
  return is_ascii(text) && text.size() <= 60 && text.find("=?") == std::string::npos ? text : encoded_words(text);
}

std::string mailbox_field(const Mailbox& mailbox) {
  const auto address = "<" + mailbox.address.str() + ">";
  if (mailbox.name.empty()) return address;
  if (!is_ascii(mailbox.name)) return encoded_words(mailbox.name) + " " + address;
  std::string quoted = "\"";
  for (const char c : mailbox.name) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  return quoted + "\" " + address;
}

// RFC 2045 section 6.7, one line without its end.
std::string quoted_printable(std::string_view line) {
  constexpr std::size_t most = 75;  // and the "=" of a soft line break
  std::string out;
  std::size_t column = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    const bool bare = c < 0x7F && c != '=' && (c > 0x20 || (c == ' ' && i + 1 < line.size()));
    const auto piece = bare ? std::string(1, line[i]) : fmt::format("={:02X}", c);
    if (column + piece.size() > most) {
      out += "=\r\n";
      column = 0;
    }
    out += piece;
    column += piece.size();
  }
  return out;
}

std::string date_field(Instant date) {
  constexpr std::array days{"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
  constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  namespace chrono = std::chrono;
  const chrono::sys_seconds moment{chrono::floor<chrono::seconds>(chrono::microseconds(date.micros))};
  const auto day = chrono::floor<chrono::days>(moment);
  const chrono::year_month_day civil(day);
  const chrono::hh_mm_ss time(moment - day);
  return fmt::format("{}, {} {} {} {:02}:{:02}:{:02} +0000",
                     days[static_cast<std::size_t>(day.time_since_epoch().count() % 7)], unsigned{civil.day()},
                     months[unsigned{civil.month()} - 1], int{civil.year()}, time.hours().count(),
                     time.minutes().count(), time.seconds().count());
}

}  // namespace

std::string message(const Mailbox& from, const Content& content, Instant date) {
  const auto text = plain(content.text, true);
  std::size_t longest = 0, length = 0;
  for (const char c : text) longest = std::max(longest, length = c == '\n' ? 0 : length + 1);
  // As it is where it can be, so that people can read the files.
  const bool encode = !is_ascii(text) || longest > 900;

  const auto domain = std::string_view(from.address.str()).substr(from.address.str().find('@') + 1);
  auto out = fmt::format(
      "Date: {}\r\nFrom: {}\r\nTo: <{}>\r\nSubject: {}\r\nMessage-ID: <{}@{}>\r\nAuto-Submitted: auto-generated\r\n"
      "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {}\r\n\r\n",
      date_field(date), mailbox_field(from), content.to.str(), subject_field(content.subject), content.id, domain,
      encode ? "quoted-printable" : "7bit");
  for (std::string_view rest = text; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    out += encode ? quoted_printable(line) : std::string(line);
    out += "\r\n";
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

}  // namespace cairn::job
