#include "pg/family.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace cairn::pg {
namespace {

struct Families {
  std::mutex mutex;
  std::vector<const FamilyBase*> alive;
};
Families& registry() {
  static Families instance;
  return instance;
}

// Appends `fragment`, each {} in it replaced by the next placeholder, and the types of their values.
void append(std::string& text, std::string_view fragment, std::vector<SqlType>& types,
            std::span<const SqlType> values = {}) {
  const auto before = types.size();
  for (auto at = fragment.find("{}"); at != fragment.npos; at = fragment.find("{}")) {
    const auto value = types.size() - before;
    types.push_back(value < values.size() ? values[value] : SqlType{});
    text.append(fragment.substr(0, at)).append(fmt::format("${}", types.size()));
    fragment.remove_prefix(at + 2);
  }
  text.append(fragment);
  if (!values.empty() && values.size() != types.size() - before)
    throw std::logic_error("a filter with another number of values than types: " + std::string(fragment));
}

}  // namespace

FamilyBase::FamilyBase(const char* name, const char* select, std::initializer_list<Filter> filters,
                       std::initializer_list<Sort> sorts, std::vector<Column> (*columns)())
    : name_(name), select_(select), filters_(filters), sorts_(sorts), columns_(columns) {
  if (filters_.size() > 32 || sorts_.empty())
    throw std::logic_error("a family of 0 to 32 filters and some sort: " + name_);
  statements();  // their registry is made before this family is, hence destroyed after its variants
  const std::lock_guard lock(registry().mutex);
  registry().alive.push_back(this);
}

FamilyBase::~FamilyBase() {
  const std::lock_guard lock(registry().mutex);
  std::erase(registry().alive, this);
}

std::vector<const FamilyBase*> families() {
  const std::lock_guard lock(registry().mutex);
  return registry().alive;
}

std::optional<unsigned> FamilyBase::sort(std::string_view name) const {
  const auto found = std::ranges::find(sorts_, name, [](const Sort& sort) { return std::string_view(sort.name); });
  if (found == sorts_.end()) return std::nullopt;
  return static_cast<unsigned>(found - sorts_.begin());
}

const Statement& FamilyBase::variant(std::uint32_t filters, unsigned sort, bool descending, bool after_cursor) const {
  const auto key = std::uint64_t{filters} << 32 | sort << 2 | (descending ? 2U : 0U) | (after_cursor ? 1U : 0U);
  const std::lock_guard lock(mutex_);
  auto& found = variants_[key];
  if (!found) {
    std::vector<SqlType> types;
    auto sql = text(filters, sort, descending, after_cursor, types);
    auto name = fmt::format("{}/{:x}.{}{}{}", name_, filters, sorts_.at(sort).name, descending ? ".desc" : "",
                            after_cursor ? ".after" : "");
    const auto placeholders = types.size();
    Statement::Expectations expected{[types = std::move(types)] { return types; }, columns_};
    found = std::make_unique<Statement>(std::move(name), std::move(sql), placeholders, std::move(expected));
  }
  return *found;
}

std::string FamilyBase::text(std::uint32_t filters, unsigned sort, bool descending, bool after_cursor,
                             std::vector<SqlType>& types) const {
  static const std::array<SqlType, 2> with_id{SqlType{}, Codec<Uuid>::type()}, any{};
  static const std::array<SqlType, 1> limit{Codec<std::int64_t>::type()};
  const Sort& by = sorts_.at(sort);
  const std::string_view direction = descending ? " desc" : "";
  std::string text;
  append(text, select_, types);
  for (std::size_t i = 0; i < filters_.size(); ++i) {
    if ((filters >> i & 1) == 0) continue;
    text.append(" and (");
    append(text, filters_[i].sql, types, filters_[i].types);
    text.append(")");
  }
  if (after_cursor)
    append(text, fmt::format(" and ({}, {}) {} ({{}}, {{}})", by.key, by.tie, descending ? '<' : '>'), types,
           by.by_id() ? with_id : any);
  append(text, fmt::format(" order by {}{}, {}{} limit {{}}", by.key, direction, by.tie, direction), types, limit);
  return text;
}

void FamilyBase::make_all() const {
  const auto all = static_cast<std::uint32_t>((std::uint64_t{1} << filters_.size()) - 1);
  std::vector<std::uint32_t> choices{0, all};
  for (std::size_t i = 0; i < filters_.size(); ++i) choices.push_back(std::uint32_t{1} << i);
  for (const auto chosen : choices)
    for (unsigned sort = 0; sort < sorts_.size(); ++sort)
      for (const bool descending : {false, true})
        for (const bool after : {false, true}) variant(chosen, sort, descending, after);
}

}  // namespace cairn::pg
