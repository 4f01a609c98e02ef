#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pg/sql.hpp"

namespace cairn::pg {

// A condition of a Family. Each `{}` becomes the next placeholder and takes one value.
struct Filter {
  Filter(const char* text) : sql(text) {}  // NOLINT(google-explicit-constructor): written as a literal
  Filter(const char* text, std::vector<SqlType> values) : sql(text), types(std::move(values)) {}
  const char* sql;
  std::vector<SqlType> types;  // of the values, for the contract test; empty: any
};
// filter<std::vector<Status>>("t.status = any({})")
template<class... Values>
Filter filter(const char* sql) {
  std::vector<SqlType> types;
  (append_types<Values>(types), ...);
  return {sql, std::move(types)};
}

// A sort key of a Family: a not-null expression over the row. `name` is what clients ask for. `tie` tells apart what
// has the same key; where it is not the id, whoever binds the key binds it too.
struct Sort {
  const char* name;
  const char* key;
  const char* tie = "t.id";
  bool by_id() const { return std::string_view(tie) == "t.id"; }
};

// The closed set of statements behind one list endpoint: every text is put together from compile-time fragments.
//   <select> [and (<filter>)]... [and (<key>, <tie>) > ({}, {})] order by <key>, <tie> limit {}
// `select` ends with a where clause of its own ("... where t.project_id = {}") and calls its main table t. Values are
// bound in order of use: select's, the chosen filters' in order of declaration, the cursor's key and tie, the limit (an
// std::int64_t).
// Variants are made once, at first use, and kept. Any thread.
class FamilyBase {
 public:
  FamilyBase(const FamilyBase&) = delete;
  FamilyBase& operator=(const FamilyBase&) = delete;

  // Bit i of `filters` chooses filter i.
  const Statement& variant(std::uint32_t filters, unsigned sort, bool descending, bool after_cursor) const;
  std::span<const Sort> sorts() const { return sorts_; }
  // The index of the sort of that name.
  std::optional<unsigned> sort(std::string_view name) const;
  // Makes the variants that together contain every fragment: without filters and each filter alone, under each sort in
  // both directions, with and without cursor, and all filters at once.
  void make_all() const;

 protected:
  FamilyBase(const char* name, const char* select, std::initializer_list<Filter> filters,
             std::initializer_list<Sort> sorts, std::vector<Column> (*columns)());
  ~FamilyBase();

 private:
  std::string text(std::uint32_t filters, unsigned sort, bool descending, bool after_cursor,
                   std::vector<SqlType>& types) const;

  std::string name_, select_;
  std::vector<Filter> filters_;
  std::vector<Sort> sorts_;
  std::vector<Column> (*columns_)();
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::uint64_t, std::unique_ptr<Statement>> variants_;
};

template<class Row>
class Family : public FamilyBase {
 public:
  using row_type = Row;
  Family(const char* name, const char* select, std::initializer_list<Filter> filters, std::initializer_list<Sort> sorts)
      : FamilyBase(name, select, filters, sorts, &columns_of<Row>) {}
};

std::vector<const FamilyBase*> families();

}  // namespace cairn::pg
