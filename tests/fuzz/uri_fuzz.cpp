// Percent-decoding happens once and yields text; a query is the parameters that it names, whatever else is in it.
#include <fmt/format.h>

#include "api/paging.hpp"
#include "api/registry.hpp"
#include "fuzz/fuzz.hpp"
#include "http/uri.hpp"

namespace cairn::fuzz {
namespace {

BOOST_DEFINE_ENUM_CLASS(Word, todo, in_progress, done)

struct Filter : api::PageQuery {
  Filter() = default;
  std::optional<std::vector<Word>> word;
  std::optional<std::vector<Text<1, 64>>> tags;
  std::optional<Uuid> id;
  std::optional<bool> yes;
  std::optional<Instant> from;
  std::optional<Decimal<12, 2>> money;
};
BOOST_DESCRIBE_STRUCT(Filter, (api::PageQuery), (word, tags, id, yes, from, money))

struct Row : json::Read {
  Row() = default;
  Uuid id;
};
BOOST_DESCRIBE_STRUCT(Row, (), (id))

const pg::Family<Row> family{
    "fuzz.list", "select id from t where true", {"t.a = {}"}, {{"name", "t.name"}, {"created_at", "t.created_at"}}};

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  return out;
}

void check_query(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> pairs, again;
  std::string rebuilt;
  for (const auto& [name, value] : http::Query{text}) {
    require(count_code_points(name) && count_code_points(value), "parameters are UTF-8 without NUL");
    pairs.emplace_back(name, value);
    rebuilt += (rebuilt.empty() ? "" : "&") + encoded(name) + "=" + encoded(value);
  }
  for (const auto& [name, value] : http::Query{rebuilt}) again.emplace_back(name, value);
  require(pairs == again, "encoded again, it is the same query");
}

void check_filter(std::string_view text) {
  http::Request request;
  request.query = text;
  try {
    const auto filter = api::detail::decode_query<Filter>(request);
    require(!filter.limit || (filter.limit->value >= 1 && filter.limit->value <= 200), "a page has a size");
    if (filter.tags)
      for (const auto& tag : *filter.tags) require(Text<1, 64>::problem(tag.str()).empty(), "a tag is a tag");
    const auto order = api::order_of(family, filter.sort, "name");
    require(order.sort < family.sorts().size(), "only sorts that there are");
  } catch (const Problem& problem) {
    require(problem.kind == Kind::invalid || problem.kind == Kind::malformed, "a refusal is the sender's fault");
    for (const auto& error : problem.errors) require(error.pointer.starts_with('?'), "an error names its parameter");
  }
}

}  // namespace

void run(std::string_view bytes) {
  if (const auto once = http::percent_decode(bytes)) {
    require(count_code_points(*once).has_value(), "decoded, it is UTF-8 without NUL");
    require(http::percent_decode(encoded(*once)) == once, "it is decoded once");
  }
  check_query(bytes);
  check_filter(bytes);
}

}  // namespace cairn::fuzz
