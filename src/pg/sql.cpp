#include "pg/sql.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <unordered_set>

#include "base/problem.hpp"

namespace cairn::pg {
namespace {

// Made at first use: statements register from other translation units' static initialisation.
struct Registry {
  std::mutex mutex;
  std::vector<const Statement*> statements;  // null: gone; a slot is never used again
  std::unordered_set<std::string_view> names;
};
Registry& registry() {
  static Registry instance;
  return instance;
}

// `text` with $1 as the placeholder after the first `before` ones, and so on.
std::string renumbered(std::string_view text, std::size_t before) {
  std::string out;
  for (auto at = text.find('$'); at != text.npos; at = text.find('$')) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data() + at + 1, text.data() + text.size(), number);
    out.append(text.substr(0, at)).append(fmt::format("${}", number + before));
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return out.append(text);
}

}  // namespace

Statement::Statement(std::string name, std::string text, std::size_t placeholders, Expectations expectations,
                     Reply reply)
    : name_(std::move(name)),
      text_(std::move(text)),
      placeholders_(placeholders),
      expectations_(std::move(expectations)),
      reply_(reply) {
  auto& all = registry();
  const std::lock_guard lock(all.mutex);
  if (!all.names.insert(name_).second) throw std::logic_error("two statements are called " + name_);
  index_ = all.statements.size();
  all.statements.push_back(this);
}

Statement::~Statement() {
  auto& all = registry();
  const std::lock_guard lock(all.mutex);
  all.statements[index_] = nullptr;
  all.names.erase(name_);
}

// A join from the left to the right, and never pulled apart, because of `offset 0`: the settings are made before any
// policy looks at them, and while the prelude says false nothing on the right is run.
const Statement& Statement::behind(const Statement& prelude) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(behind_, prelude.index(), [](const auto& made) { return made.first; });
  if (found != behind_.end()) return *found->second;
  auto text = fmt::format(
      "select answer.* from ({}\n offset 0) as caller (recognised) cross join lateral (select * from ({}\n) as asked "
      "where caller.recognised offset 0) as answer",
      renumbered(prelude.text(), placeholders_), text_);
  auto made = std::make_unique<Statement>(fmt::format("{} behind {}", name_, prelude.name()), std::move(text),
                                          placeholders_ + prelude.placeholders(), Expectations{});
  return *behind_.emplace_back(prelude.index(), std::move(made)).second;
}

std::vector<const Statement*> statements() {
  auto& all = registry();
  const std::lock_guard lock(all.mutex);
  std::vector<const Statement*> alive;
  std::ranges::copy_if(all.statements, std::back_inserter(alive), [](const auto* s) { return s != nullptr; });
  return alive;
}

std::span<const std::uint8_t> Statement::order(const Result& result, std::span<const char* const> members) const {
  std::call_once(ordered_, [&] {
    std::vector<std::uint8_t> order;
    std::vector<bool> wanted(result.columns());
    for (const std::string_view member : members) {
      std::size_t column = 0;
      while (column < result.columns() && (wanted[column] || result.column_name(column) != member)) ++column;
      if (column == result.columns()) mismatch(member, "no such column in the result");
      wanted[column] = true;
      order.push_back(static_cast<std::uint8_t>(column));
    }
    if (const auto extra = std::ranges::find(wanted, false); extra != wanted.end())
      mismatch(result.column_name(static_cast<std::size_t>(extra - wanted.begin())), "no member takes this column");
    order_ = std::move(order);
  });
  return order_;
}

void Statement::mismatch(std::string_view column, std::string_view what) const {
  throw Problem(Kind::internal).because(fmt::format("statement {}, column {}: {}", name_, column, what));
}

}  // namespace cairn::pg
