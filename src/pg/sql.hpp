#pragma once
#include <array>
#include <boost/describe.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "pg/codec.hpp"
#include "pg/result.hpp"

namespace cairn::pg {

// A column that a row type expects. Columns of a single-value row have no name: any will do.
struct Column {
  Column() = default;
  Column(std::string_view column_name, SqlType column_type) : name(column_name), type(std::move(column_type)) {}
  std::string name;
  SqlType type;
};

// How rows come back. `one` is for statements that are asked often and yield one row or none: it is read in one
// statement with the prelude that proves who asks (`behind`), and has a single column. PostgreSQL pays for each column
// a statement lists, and describes it in each reply, half a kilobyte for a task. So where the row type is a struct, the
// column is a whole row of a table (`select t from tasks t`), and the struct's members are the table's columns in the
// table's order; columns that are added to the table later are passed over.
enum class Reply { rows, one };

// A named statement with a constant text. The name is the prepared statement's name, the metric label and the log key;
// it is unique in the process (std::logic_error when it is not). Constant after construction; any thread may use it.
class Statement {
 public:
  // What the C++ side expects of the server; asked for by the contract test only (pg/contract.hpp).
  struct Expectations {
    std::function<std::vector<SqlType>()> params;
    std::function<std::vector<Column>()> columns;
  };

  Statement(std::string name, std::string text, std::size_t placeholders, Expectations expectations,
            Reply reply = Reply::rows);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }
  bool one() const { return reply_ == Reply::one; }
  // This one behind a checked prelude (pg/tx.hpp), in one statement: its row, if the prelude says true, and otherwise
  // none. Binds its own parameters and then the prelude's. Made at first use and kept. Any thread.
  const Statement& behind(const Statement& prelude) const;
  std::size_t index() const { return index_; }  // dense: the slot in per-connection and per-statement tables
  std::size_t placeholders() const { return placeholders_; }
  const Expectations& expectations() const { return expectations_; }

  // For each member the column of that name, found at the first result and kept. Throws an internal Problem that names
  // the statement and the column when one is missing or nobody expects it.
  std::span<const std::uint8_t> order(const Result& result, std::span<const char* const> members) const;
  [[noreturn]] void mismatch(std::string_view column, std::string_view what) const;

 private:
  std::string name_, text_;
  std::size_t index_, placeholders_;
  Expectations expectations_;
  Reply reply_;
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<std::size_t, std::unique_ptr<Statement>>> behind_;  // by the prelude's index
  mutable std::once_flag ordered_;
  mutable std::vector<std::uint8_t> order_;
};

// Every statement alive in this process, in order of registration.
std::vector<const Statement*> statements();

// How many parameters a C++ type binds: a Change<T> binds two, anything else one.
template<class T>
inline constexpr std::size_t placeholders_of = 1;
template<class T>
inline constexpr std::size_t placeholders_of<Change<T>> = 2;

// A literal whose placeholders are $1 to $Count, each used at least once: anything else does not compile. Quoted text
// and comments are skipped. Being consteval it also refuses any text that is put together at run time.
template<std::size_t Count>
class SqlText {
 public:
  consteval SqlText(const char* text) : text_(text) {  // NOLINT(google-explicit-constructor): written as a literal
    bool used[Count + 1] = {};
    for (const char* c = text; *c != '\0'; ++c) {
      if (*c == '\'') {
        for (++c; *c != '\''; ++c)
          if (*c == '\0') throw "the text ends inside quotes";
      } else if (*c == '-' && c[1] == '-') {
        while (c[1] != '\0' && c[1] != '\n') ++c;
      } else if (*c == '$' && c[1] >= '0' && c[1] <= '9') {
        std::size_t number = 0;
        for (; c[1] >= '0' && c[1] <= '9'; ++c) number = number * 10 + static_cast<std::size_t>(c[1] - '0');
        if (number == 0 || number > Count) throw "the text has a placeholder without a parameter";
        used[number] = true;
      }
    }
    for (std::size_t number = 1; number <= Count; ++number)
      if (!used[number]) throw "a parameter has no placeholder in the text";
  }
  constexpr const char* str() const { return text_; }

 private:
  const char* text_;
};

template<class Row>
std::vector<Column> columns_of();  // what a row type expects of a result

// Sql<Row(Params...)>: Row is a described struct (columns and members match by name), one value, or void.
template<class Signature>
class Sql;

template<class Row, class... Params>
class Sql<Row(Params...)> : public Statement {
 public:
  Sql(const char* name, SqlText<(placeholders_of<Params> + ... + 0)> text, Reply reply = Reply::rows)
      : Statement(name, text.str(), (placeholders_of<Params> + ... + 0), {&params, &columns_of<Row>}, reply) {}

 private:
  static std::vector<SqlType> params() {
    std::vector<SqlType> types;
    (append_types<Params>(types), ...);
    return types;
  }
};

// A row that is a described struct; every other row type is one value.
template<class Row>
concept DescribedRow = boost::describe::has_describe_members<Row>::value && std::is_class_v<Row>;

namespace detail {

template<class Row>
using Members = boost::describe::describe_members<Row, boost::describe::mod_public | boost::describe::mod_inherited>;

template<class Row, template<class...> class List, class... Member>
constexpr std::array<const char*, sizeof...(Member)> member_names(List<Member...>) {
  return {Member::name...};
}
template<class Row>
inline constexpr auto names = member_names<Row>(Members<Row>{});

template<class Value>
Value decode(const Statement& statement, std::string_view column, Field field) {
  try {
    return Codec<Value>::decode(field);
  } catch (const BadField& error) { statement.mismatch(column, error.what()); }
}

// `next` gives the members' fields one after another.
template<DescribedRow Row, class Next, template<class...> class List, class... Member>
void decode_members(Row& into, const Statement& statement, Next next, List<Member...>) {
  ((into.*Member::pointer =
        decode<std::remove_cvref_t<decltype(into.*Member::pointer)>>(statement, Member::name, next())),
   ...);
}

template<DescribedRow Row>
void decode_whole(Row& into, const Statement& statement, Field record) {
  try {
    wire::RecordReader reader(record, names<Row>.size());
    decode_members(
        into, statement, [&reader] { return reader.next(); }, Members<Row>{});
  } catch (const BadField& error) { statement.mismatch("*", error.what()); }
}

}  // namespace detail

template<class Row>
std::vector<Column> columns_of() {
  std::vector<Column> columns;
  if constexpr (DescribedRow<Row>) {
    boost::mp11::mp_for_each<detail::Members<Row>>([&](auto member) {
      using Value = std::remove_cvref_t<decltype(std::declval<Row&>().*member.pointer)>;
      columns.emplace_back(member.name, Codec<Value>::type());
    });
  } else if constexpr (!std::is_void_v<Row>) {
    columns.emplace_back("", Codec<Row>::type());
  }
  return columns;
}

// Every row of the result. Throws an internal Problem when the result does not fit the row type.
template<class Row>
std::vector<Row> read_rows(const Statement& statement, const Result& result) {
  std::vector<Row> rows;
  rows.reserve(result.rows());
  if constexpr (DescribedRow<Row>) {
    static_assert(!std::is_aggregate_v<Row> || std::is_trivially_destructible_v<Row>,
                  "start the struct with `X() = default;` (docs/adr/0006-await-rule.md)");
    if (statement.one()) {
      for (std::size_t row = 0; row < result.rows(); ++row)
        detail::decode_whole(rows.emplace_back(), statement, result.field(row, 0));
      return rows;
    }
    const auto order = statement.order(result, detail::names<Row>);
    for (std::size_t row = 0; row < result.rows(); ++row) {
      auto column = order.begin();
      const auto next = [&] { return result.field(row, *column++); };
      detail::decode_members(rows.emplace_back(), statement, next, detail::Members<Row>{});
    }
  } else {
    if (result.columns() != 1) statement.mismatch("*", "one column expected");
    for (std::size_t row = 0; row < result.rows(); ++row)
      rows.push_back(detail::decode<Row>(statement, result.column_name(0), result.field(row, 0)));
  }
  return rows;
}

// The only row, or nullopt. More than one row is an internal Problem.
template<class Row>
std::optional<Row> read_row(const Statement& statement, const Result& result) {
  if (result.rows() > 1) statement.mismatch("*", "more than one row");
  auto rows = read_rows<Row>(statement, result);
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front());
}

}  // namespace cairn::pg
