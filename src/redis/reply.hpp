#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace cairn::redis {

// A reply as RESP2 knows it, https://redis.io/docs/reference/protocol-spec/.
struct Reply {
  enum class Type { nil, integer, string, array, error };

  Reply() = default;
  bool is_nil() const { return type == Type::nil; }
  bool is_error() const { return type == Type::error; }

  Type type = Type::nil;
  std::int64_t integer = 0;
  std::string
      text;  // of a string, a status ("OK") or an error ("WRONGTYPE ..."), which may quote arguments: never log it
  std::vector<Reply> elements;
};

}  // namespace cairn::redis
