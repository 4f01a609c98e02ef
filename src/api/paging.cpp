#include "api/paging.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include <charconv>

namespace cairn::api {
namespace {

// sort \n key \n id \n text key
constexpr std::size_t longest = 2048;

}  // namespace

std::string Cursor::encode() const {
  const auto plain = fmt::format("{}\n{}\n{}\n{}", sort, key, id.text(), text_key);
  std::string out(sodium_base64_ENCODED_LEN(plain.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(plain.data()), plain.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  out.pop_back();
  return out;
}

std::optional<Cursor> Cursor::decode(std::string_view text) {
  if (text.empty() || text.size() > longest) return std::nullopt;
  std::string plain(text.size(), '\0');
  std::size_t length = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(plain.data()), plain.size(), text.data(), text.size(), nullptr,
                        &length, nullptr, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
    return std::nullopt;
  plain.resize(length);
  if (!count_code_points(plain)) return std::nullopt;

  std::string_view rest = plain;
  const auto line = [&]() -> std::optional<std::string_view> {
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const auto part = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    return part;
  };
  const auto sort = line(), key = line(), id = line();
  if (!sort || !key || !id) return std::nullopt;
  Cursor cursor;
  cursor.sort = *sort;
  const auto [end, error] = std::from_chars(key->data(), key->data() + key->size(), cursor.key);
  const auto uuid = Uuid::parse(*id);
  if (error != std::errc{} || end != key->data() + key->size() || !uuid) return std::nullopt;
  cursor.id = *uuid;
  cursor.text_key = rest;
  if (cursor.encode() != text) return std::nullopt;  // nobody but us spells it otherwise
  return cursor;
}

Order order_of(const pg::FamilyBase& family, const std::optional<std::string>& sort, std::string_view standard) {
  std::string_view name = sort ? std::string_view(*sort) : standard;
  Order order;
  order.descending = name.starts_with('-');
  if (order.descending) name.remove_prefix(1);
  if (const auto found = family.sort(name)) {
    order.sort = *found;
    return order;
  }
  std::string names;
  for (const auto& known : family.sorts())
    names += fmt::format("{}{}, -{}", names.empty() ? "" : ", ", known.name, known.name);
  std::vector<FieldError> errors;
  errors.emplace_back("?sort", "invalid", "must be one of " + names);
  throw Problem(Kind::invalid, "One parameter is not acceptable.").with(std::move(errors));
}

}  // namespace cairn::api
