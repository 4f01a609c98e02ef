#include "api/as_of.hpp"

#include <algorithm>
#include <charconv>

namespace cairn::api {
namespace {

constexpr std::string_view prefix_of_token = "snapshot-";
constexpr std::size_t longest = 16 * 1024;

const pg::Sql<std::string()> current_snapshot{"as_of.now", "select pg_current_snapshot()::text"};

// A number of pg_snapshot's, taken off the front.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number <= 0 || text.front() == '0') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}
bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// xmin:xmax:xip,xip as pg_snapshot has it: whatever else PostgreSQL would refuse.
bool is_snapshot(std::string_view text) {
  if (text.size() > longest) return false;
  const auto xmin = take_number(text);
  if (!xmin || !take(text, ':')) return false;
  const auto xmax = take_number(text);
  if (!xmax || *xmax < *xmin || !take(text, ':')) return false;
  for (std::int64_t last = *xmin - 1; !text.empty();) {
    const auto xip = take_number(text);
    if (!xip || *xip <= last || *xip >= *xmax) return false;
    last = *xip;
    if (!text.empty() && (!take(text, ',') || text.empty())) return false;
  }
  return true;
}

}  // namespace

std::string AsOf::problem(std::string_view value) {
  return parse(value) ? std::string()
                      : std::string("must be an RFC 3339 instant, the token of a reply's header As-Of, or now");
}

std::optional<AsOf> AsOf::parse(std::string_view value) {
  AsOf as_of;
  as_of.now_ = value == "now";
  if (as_of.now_) return as_of;
  if (value.starts_with(prefix_of_token)) {
    value.remove_prefix(prefix_of_token.size());
    if (!is_snapshot(value)) return std::nullopt;
    return token(std::string(value));
  }
  as_of.at_ = Instant::parse(value);
  if (!as_of.at_) return std::nullopt;
  return as_of;
}

AsOf AsOf::token(std::string snapshot) {
  AsOf as_of;
  as_of.seen_ = std::move(snapshot);
  return as_of;
}

std::string AsOf::text() const {
  if (seen_) return std::string(prefix_of_token) + *seen_;
  return at_ ? at_->text() : std::string("now");
}

async<AsOf> settle(Call& call, pg::ReadTx& tx, AsOf as_of) {
  if (as_of.now()) as_of = AsOf::token(co_await tx.one(current_snapshot));
  call.response.add_header("As-Of", as_of.text());
  co_return as_of;
}

}  // namespace cairn::api
