#include "base/json.hpp"

#include <fmt/format.h>
#include <boost/json/basic_parser_impl.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

namespace cairn::json {
namespace {

namespace bj = boost::json;

// Builds a value from parser events and refuses what DocumentLimits excludes; `refusal` says why it stopped.
struct Builder {
  static constexpr std::size_t max_object_size = std::size_t(-1), max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1), max_string_size = std::size_t(-1);

  DocumentLimits limits;
  std::string refusal;
  bj::value root;
  std::vector<bj::value> open;
  std::vector<std::string> keys;
  std::string text, number;

  bool refuse(std::string why, bj::error_code& ec) {
    refusal = std::move(why);
    ec = bj::error::syntax;
    return false;
  }
  bool put(bj::value value, bj::error_code& ec) {
    if (open.empty()) {
      root = std::move(value);
      return true;
    }
    auto& parent = open.back();
    if (auto* array = parent.if_array()) {
      array->push_back(std::move(value));
      return true;
    }
    auto& object = parent.get_object();
    if (!object.emplace(keys.back(), std::move(value)).second)
      return refuse(fmt::format("the member \"{}\" is given twice", keys.back()), ec);
    keys.pop_back();
    return true;
  }
  bool enter(bj::value value, bj::error_code& ec) {
    if (open.size() >= limits.depth) return refuse(fmt::format("nested deeper than {} levels", limits.depth), ec);
    open.push_back(std::move(value));
    return true;
  }
  bool leave(bj::error_code& ec) {
    auto value = std::move(open.back());
    open.pop_back();
    return put(std::move(value), ec);
  }
  bool add_text(bj::string_view part, bj::error_code& ec) {
    if (part.find('\0') != bj::string_view::npos) return refuse("strings must not hold NUL characters", ec);
    text.append(part.data(), part.size());
    return true;
  }
  bool number_ok(bj::string_view last, bj::error_code& ec) {
    number.append(last.data(), last.size());
    if (number.size() > limits.number_characters)
      return refuse(fmt::format("numbers must have at most {} characters", limits.number_characters), ec);
    if (const auto e = number.find_first_of("eE"); e != std::string::npos) {
      const auto digits = std::string_view(number).substr(e + 1);
      int exponent = 0;
      for (char c : digits)
        if (c >= '0' && c <= '9') exponent = std::min(exponent * 10 + (c - '0'), 100'000);
      if (exponent > limits.exponent)
        return refuse(fmt::format("number exponents must be within {}", limits.exponent), ec);
    }
    return true;
  }
  bool put_number(bj::value value, bj::error_code& ec) {
    number.clear();
    return put(std::move(value), ec);
  }

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code& ec) { return enter(bj::object{}, ec); }
  bool on_object_end(std::size_t, bj::error_code& ec) { return leave(ec); }
  bool on_array_begin(bj::error_code& ec) { return enter(bj::array{}, ec); }
  bool on_array_end(std::size_t, bj::error_code& ec) { return leave(ec); }
  bool on_key_part(bj::string_view part, std::size_t, bj::error_code& ec) { return add_text(part, ec); }
  bool on_key(bj::string_view part, std::size_t, bj::error_code& ec) {
    if (!add_text(part, ec)) return false;
    keys.push_back(std::move(text));
    text.clear();
    return true;
  }
  bool on_string_part(bj::string_view part, std::size_t, bj::error_code& ec) { return add_text(part, ec); }
  bool on_string(bj::string_view part, std::size_t, bj::error_code& ec) {
    if (!add_text(part, ec)) return false;
    bj::value value(text);
    text.clear();
    return put(std::move(value), ec);
  }
  bool on_number_part(bj::string_view part, bj::error_code& ec) {
    number.append(part.data(), part.size());
    return number.size() <= limits.number_characters || number_ok({}, ec);
  }
  bool on_int64(std::int64_t value, bj::string_view last, bj::error_code& ec) {
    return number_ok(last, ec) && put_number(value, ec);
  }
  bool on_uint64(std::uint64_t value, bj::string_view last, bj::error_code& ec) {
    return number_ok(last, ec) && put_number(value, ec);
  }
  bool on_double(double, bj::string_view last, bj::error_code& ec) {
    if (!number_ok(last, ec)) return false;
    double value = 0;  // Boost 1.81's own is a neighbour of the right one now and then
    const auto error = std::from_chars(number.data(), number.data() + number.size(), value).ec;
    // What is smaller would be printed with an exponent that we do not take.
    const bool fits = error == std::errc{} && (value == 0 || std::abs(value) >= 1e-308);
    return fits ? put_number(value, ec) : refuse("a number is out of range", ec);
  }
  bool on_bool(bool value, bj::error_code& ec) { return put(value, ec); }
  bool on_null(bj::error_code& ec) { return put(nullptr, ec); }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }
};

[[noreturn]] void malformed(std::string_view text, std::size_t at, std::string why) {
  const auto before = text.substr(0, std::min(at, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto begin = before.rfind('\n');
  const auto column = 1 + before.size() - (begin == std::string_view::npos ? 0 : begin + 1);
  throw Problem(Kind::malformed, "malformed_json",
                fmt::format("The body is not acceptable JSON at line {}, column {}: {}.", line, column, why));
}

std::size_t count_members(const bj::value& value) {
  std::size_t count = 0;
  if (const auto* object = value.if_object()) {
    count += object->size();
    for (const auto& member : *object) count += count_members(member.value());
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) count += count_members(item);
  }
  return count;
}

}  // namespace

bj::value parse(std::string_view text, DocumentLimits limits) {
  bj::parse_options options;
  options.max_depth = limits.depth + 1;  // the builder's own refusal comes first and says why
  bj::basic_parser<Builder> parser(options, Builder{});
  parser.handler().limits = limits;
  bj::error_code ec;
  const auto read = parser.write_some(false, text.data(), text.size(), ec);
  if (ec) {
    auto& refusal = parser.handler().refusal;
    malformed(text, read, refusal.empty() ? (text.empty() ? "it is empty" : ec.message()) : std::move(refusal));
  }
  if (read < text.size() && text.find_first_not_of(" \t\r\n", read) != std::string_view::npos)
    malformed(text, read, "something follows the end of the document");
  return std::move(parser.handler().root);
}

std::string stored_problem(const bj::value& value, const std::string& text) {
  if (text.size() > stored_bytes) return fmt::format("must have at most {} bytes, has {}", stored_bytes, text.size());
  if (count_members(value) > stored_members) return fmt::format("must have at most {} members in all", stored_members);
  return {};
}

void append_string(std::string& out, std::string_view text) {
  static constexpr auto escape = [] {
    std::array<char, 256> table{};
    for (std::size_t i = 0; i < 0x20; ++i) table[i] = 'u';
    table['"'] = '"';
    table['\\'] = '\\';
    table['\b'] = 'b';
    table['\f'] = 'f';
    table['\n'] = 'n';
    table['\r'] = 'r';
    table['\t'] = 't';
    return table;
  }();
  out.push_back('"');
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const char code = escape[byte];
    if (code == 0) continue;
    out.append(text, begin, i - begin);
    begin = i + 1;
    out.push_back('\\');
    out.push_back(code);
    if (code == 'u') fmt::format_to(std::back_inserter(out), "{:04x}", byte);
  }
  out.append(text, begin, text.size() - begin);
  out.push_back('"');
}

void append(std::string& out, const bj::value& value) {
  const auto write = std::back_inserter(out);
  switch (value.kind()) {
    case bj::kind::null: out += "null"; break;
    case bj::kind::bool_: out += value.get_bool() ? "true" : "false"; break;
    case bj::kind::int64: fmt::format_to(write, "{}", value.get_int64()); break;
    case bj::kind::uint64: fmt::format_to(write, "{}", value.get_uint64()); break;
    // JSONB knows no negative zero.
    case bj::kind::double_: fmt::format_to(write, "{}", value.get_double() + 0.0); break;
    case bj::kind::string: append_string(out, {value.get_string().data(), value.get_string().size()}); break;
    case bj::kind::array: {
      char separator = '[';
      for (const auto& item : value.get_array()) {
        out.push_back(separator);
        append(out, item);
        separator = ',';
      }
      out += separator == '[' ? "[]" : "]";
      break;
    }
    case bj::kind::object: {
      char separator = '{';
      for (const auto& member : value.get_object()) {
        out.push_back(separator);
        append_string(out, {member.key().data(), member.key().size()});
        out.push_back(':');
        append(out, member.value());
        separator = ',';
      }
      out += separator == '{' ? "{}" : "}";
      break;
    }
  }
}

std::string text(const bj::value& value) {
  std::string out;
  append(out, value);
  return out;
}

}  // namespace cairn::json
