#pragma once
#include <boost/json/value.hpp>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/problem.hpp"
#include "base/values.hpp"

namespace cairn::json {

// What we accept of a document that somebody else wrote. Ten bytes such as [1e131071] become 131 kB in JSONB, deep
// nesting exhausts PostgreSQL's stack, and a NUL cannot be stored at all: so numbers, depth and strings are bounded
// while reading.
struct DocumentLimits {
  std::size_t depth = 32;
  std::size_t number_characters = 40;
  int exponent = 308;
};

// Parses one document (RFC 8259): UTF-8, no NUL, no lone surrogates, no duplicate members, within `limits`. Throws
// Problem (malformed) whose detail names line and column.
boost::json::value parse(std::string_view text, DocumentLimits limits = {});

// What a JSONB column may hold: at most 16 KiB of text and 256 members in all.
inline constexpr std::size_t stored_bytes = 16 * 1024, stored_members = 256;
// Why `value` may not be stored; empty when it may.
std::string stored_problem(const boost::json::value& value, const std::string& text);

// Compact JSON text of a value; numbers in their shortest form that reads back equal.
void append(std::string& out, const boost::json::value& value);
std::string text(const boost::json::value& value);

// Appends `text`, which is valid UTF-8, as a JSON string with its quotes.
void append_string(std::string& out, std::string_view text);

}  // namespace cairn::json
