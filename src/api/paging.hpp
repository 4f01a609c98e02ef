#pragma once
// Lists that are read by key. A cursor names the last row shown by its sort key and id, so that the next page is an
// index range, whatever has been written in between.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/endpoint.hpp"
#include "base/codec.hpp"
#include "pg/family.hpp"

namespace cairn::api {

using Limit = Bounded<1, 200>;
inline constexpr std::int64_t default_limit = 50;

// What every list's query has, besides its filters.
struct PageQuery : json::Written {
  PageQuery() = default;
  std::optional<Limit> limit;
  std::optional<std::string> cursor, sort;
};
BOOST_DESCRIBE_STRUCT(PageQuery, (), (limit, cursor, sort))

// The place after one row. `key` is the row's sort key in a form that the sort defines; the text form is opaque to
// clients, and nothing is trusted in it: it can only say where to go on within what one may see.
struct Cursor {
  Cursor() = default;
  std::string sort;  // as the client wrote it: a cursor of another order makes no sense
  std::int64_t key = 0;
  std::string text_key;
  Uuid id;

  std::string encode() const;
  static std::optional<Cursor> decode(std::string_view text);
};

// "-due_date": which sort of the family, and whether descending.
struct Order {
  unsigned sort = 0;
  bool descending = false;
};
// Throws Problem (invalid) that lists what there is.
Order order_of(const pg::FamilyBase& family, const std::optional<std::string>& sort, std::string_view standard);

// Collects a list's chosen filters and their values in the family's order.
class Selection {
 public:
  // A filter that is chosen when the query names it.
  template<class T>
  Selection& when(unsigned index, const std::optional<T>& value) {
    if (!value) return *this;
    filters_ |= 1u << index;
    params_.add(*value);
    return *this;
  }
  template<class T>
  Selection& always(const T& value) {
    params_.add(value);
    return *this;
  }
  std::uint32_t filters() const { return filters_; }
  pg::Params& params() { return params_; }

 private:
  std::uint32_t filters_ = 0;
  pg::Params params_;
};

// Reads one page: one statement, one row more than asked for to know whether there is more. `key_of` says a row's sort
// key and `bind_key` binds a cursor's key as the sort's type, with what breaks ties where that is not the id.
template<class Row, class Key, class Bind>
async<Page<Row>> read_page(pg::Reader& tx, const pg::Family<Row>& family, Selection selection, PageQuery query,
                           std::string_view standard_sort, Key key_of, Bind bind_key) {
  const auto order = order_of(family, query.sort, standard_sort);
  const std::string sort = query.sort.value_or(std::string(standard_sort));
  bool after = false;
  if (query.cursor) {
    const auto cursor = Cursor::decode(*query.cursor);
    if (!cursor || cursor->sort != sort) {
      std::vector<FieldError> errors;
      errors.emplace_back("?cursor", "invalid", "is not a cursor of this list in this order");
      throw Problem(Kind::invalid, "One parameter is not acceptable.").with(std::move(errors));
    }
    after = true;
    bind_key(selection.params(), order.sort, *cursor);
    if (family.sorts()[order.sort].by_id()) selection.params().add(cursor->id);
  }
  const auto limit = query.limit ? query.limit->value : default_limit;
  selection.params().add(limit + 1);
  const auto& statement = family.variant(selection.filters(), order.sort, order.descending, after);
  Page<Row> page;
  page.data = co_await tx.template all<Row>(statement, std::move(selection.params()));
  if (std::cmp_greater(page.data.size(), limit)) {
    page.data.resize(static_cast<std::size_t>(limit));
    Cursor next;
    next.sort = sort;
    key_of(page.data.back(), order.sort, next);
    page.next_cursor = next.encode();
  }
  co_return page;
}

}  // namespace cairn::api
