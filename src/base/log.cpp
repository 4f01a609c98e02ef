#include "base/log.hpp"

#include "base/text.hpp"
#include "base/time.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <type_traits>

namespace cairn::log {
namespace {

constexpr std::array<std::string_view, 4> level_names{"debug", "info", "warn", "error"};
constexpr std::string_view replacement = "\xef\xbf\xbd";  // U+FFFD

// The length of the well-formed UTF-8 sequence of several bytes that `text` begins with; 0 when it begins with none.
std::size_t sequence(std::string_view text) {
  for (std::size_t length = 2; length <= 4; ++length) {
    if (count_code_points(text.substr(0, length)) == 1) return length;
  }
  return 0;
}

// Whether each character stands for itself in every output.
constexpr auto plain = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0x20; c < 0x7F; ++c) table[c] = c != '"' && c != '\\';
  return table;
}();

// Escaped as in a JSON string, which also keeps control characters from forging lines or steering a terminal.
void append_escaped(std::string& out, std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && plain[static_cast<unsigned char>(text[end])]) ++end;
    out.append(text, i, end - i);
    if (end == text.size()) return;
    i = end;
    const char c = text[i];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      ++i;
    } else if (c == '\n') {
      out += "\\n";
      ++i;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
      ++i;
    } else if (const std::size_t length = sequence(text.substr(i)); length == 0) {
      out += replacement;
      ++i;
    } else if (length == 2 && c == '\xC2' && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      // C1 controls: some terminals obey them.
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(text[i + 1]));
      i += length;
    } else {
      out.append(text, i, length);
      i += length;
    }
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text);
  out += '"';
}

void append_number(std::string& out, auto number) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

void append_json(std::string& out, const Value& value) {
  std::visit(
      [&]<class T>(T held) {
        if constexpr (std::is_same_v<T, std::string_view>) {
          append_quoted(out, held);
        } else if constexpr (std::is_same_v<T, bool>) {
          out += held ? "true" : "false";
        } else if constexpr (std::is_same_v<T, double>) {
          // JSON has no word for infinities and NaN.
          if (held - held == 0) {
            fmt::format_to(std::back_inserter(out), "{}", held);
          } else {
            out += "null";
          }
        } else {
          append_number(out, held);
        }
      },
      value.get());
}

// Text is quoted only where a reader could not tell where it ends.
void append_console(std::string& out, const Value& value) {
  const auto* text = std::get_if<std::string_view>(&value.get());
  if (!text) return append_json(out, value);
  const bool quote = text->empty() || text->find_first_of(" =\"") != std::string_view::npos;
  if (quote) out += '"';
  append_escaped(out, *text);
  if (quote) out += '"';
}

void append_prefix(std::string& out, Format format, bool colour, Level level, Instant now) {
  constexpr std::array<std::string_view, 4> console_names{"DEBUG", "INFO ", "WARN ", "ERROR"};
  constexpr std::array<std::string_view, 4> colours{"\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
  const auto index = static_cast<std::size_t>(level);
  if (format == Format::json) {
    out += R"({"time":")";
    now.append_to(out);
    out += R"(","level":")";
    out += level_names[index];
    out += '"';
    return;
  }
  now.append_to(out);
  out += ' ';
  if (colour) out += colours[index];
  out += console_names[index];
  if (colour) out += "\x1b[0m";
}

void append_message(std::string& out, Format format, std::string_view message) {
  if (format == Format::json) {
    out += R"(,"message":)";
    return append_quoted(out, message);
  }
  out += ' ';
  append_escaped(out, message);
}

void append_field(std::string& out, Format format, std::string_view name, const Value& value) {
  if (format == Format::json) {
    out += ",\"";
    out += name;
    out += "\":";
    return append_json(out, value);
  }
  out += ' ';
  out += name;
  out += '=';
  append_console(out, value);
}

void append_end(std::string& out, Format format) { out += format == Format::json ? "}\n" : "\n"; }

Format resolve(Format format, int fd) {
  if (format != Format::automatic) return format;
  return ::isatty(fd) == 1 ? Format::console : Format::json;
}

// https://no-color.org
bool wants_colour(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  return ::isatty(fd) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

}  // namespace

std::string_view name_of(Level level) { return level_names[static_cast<std::size_t>(level)]; }

Sink::Sink(int fd, Format format, Level level)
    : fd_(fd), colour_(wants_colour(fd)), format_(resolve(format, fd)), level_(level) {}

void Sink::configure(Format format, Level level) {
  format_.store(resolve(format, fd_), std::memory_order_relaxed);
  set_level(level);
}

void Sink::write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  const Format format = this->format();
  std::string line;
  line.reserve(256);
  append_prefix(line, format, colour_, level, Instant::now());
  append_message(line, format, message);
  for (const Field& field : fields) append_field(line, format, field.name, field.value);
  append_end(line, format);
  write_lines(line);
}

void Sink::write_lines(std::string_view lines) {
  // The lock keeps apart what the kernel may split: writes to a pipe above PIPE_BUF.
  const std::lock_guard lock(mutex_);
  while (!lines.empty()) {
    const ssize_t written = ::write(fd_, lines.data(), lines.size());
    if (written >= 0) {
      lines.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      // Someone else made the shared descriptor non-blocking. A reader that has stopped for good costs us the line.
      pollfd ready{fd_, POLLOUT, 0};
      if (::poll(&ready, 1, 1000) != 1) return;
    } else if (errno != EINTR) {
      return;
    }
  }
}

Sink& sink() {
  static Sink instance(STDERR_FILENO, Format::json, Level::info);
  return instance;
}

void start(Format format, Level level) { sink().configure(format, level); }

AccessLog::AccessLog(AccessMode mode, Sink& to) : sink_(to), mode_(mode) {
  if (mode_ != AccessMode::off) lines_.reserve(flush_bytes + 1024);
}

void AccessLog::append(const Access& access) {
  if (mode_ == AccessMode::off || (mode_ == AccessMode::errors && access.status < 400)) return;
  const Level level = access.status >= 500 ? Level::error : Level::info;
  if (!sink_.enabled(level)) return;
  const Format format = sink_.format();
  append_prefix(lines_, format, sink_.colour(), level, Instant::now());
  append_message(lines_, format, "request");
  append_field(lines_, format, "request_id", access.request_id);
  append_field(lines_, format, "method", access.method);
  append_field(lines_, format, "route", access.route);
  append_field(lines_, format, "status", access.status);
  append_field(lines_, format, "duration_us", access.duration.count());
  append_field(lines_, format, "bytes", access.bytes);
  if (!access.actor.empty()) append_field(lines_, format, "actor", access.actor);
  if (!access.organization.empty()) append_field(lines_, format, "organization", access.organization);
  if (!access.ip.empty()) append_field(lines_, format, "ip", access.ip);
  append_end(lines_, format);
  if (lines_.size() >= flush_bytes) flush();
}

void AccessLog::flush() {
  if (lines_.empty()) return;
  sink_.write_lines(lines_);
  lines_.clear();
}

}  // namespace cairn::log
