#include "pg/sql.hpp"

#include <fmt/format.h>

#include <algorithm>
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

std::string Statement::query() const { return packed() ? "select packed from (" + text_ + ") as packed" : text_; }

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
