#pragma once
// Reading the past. `as_of` is an instant, and means what had been changed by then; or the token of an earlier reply,
// and means exactly what that reply saw; or `now`, to get such a token.
#include <optional>
#include <string>
#include <string_view>

#include "api/endpoint.hpp"
#include "base/codec.hpp"
#include "pg/tx.hpp"

namespace cairn::api {

class AsOf {
 public:
  AsOf() = default;
  static std::string problem(std::string_view value);
  static std::optional<AsOf> parse(std::string_view value);

  bool now() const { return now_; }
  // One of the two, for SQL: app.tasks_as_of() and its like.
  const std::optional<Instant>& at() const { return at_; }
  const std::optional<std::string>& seen() const { return seen_; }  // a pg_snapshot
  // What stands for it in the header As-Of.
  std::string text() const;
  static AsOf token(std::string snapshot);

 private:
  bool now_ = false;
  std::optional<Instant> at_;
  std::optional<std::string> seen_;
};

// The query of what has no other.
struct AsOfQuery : json::Written {
  AsOfQuery() = default;
  std::optional<AsOf> as_of;
};
BOOST_DESCRIBE_STRUCT(AsOfQuery, (), (as_of))

// Turns `now` into a token and says in the reply's header As-Of what was read.
async<AsOf> settle(Call& call, pg::ReadTx& tx, AsOf as_of);

}  // namespace cairn::api

namespace cairn::json {
template<>
struct Codec<api::AsOf> : ParsedCodec<api::AsOf, Codec<api::AsOf>> {
  static std::string problem(std::string_view from) { return api::AsOf::problem(from); }
  static void encode(std::string& out, const api::AsOf& value) { append_string(out, value.text()); }
  static bj::object schema(Components&) {
    return {{"type", "string"},
            {"description", "As it was: an RFC 3339 instant, the token of a reply's header As-Of, or now."}};
  }
};
}  // namespace cairn::json
