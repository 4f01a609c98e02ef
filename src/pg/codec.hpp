#pragma once
#include <array>
#include <bit>
#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/id.hpp"
#include "base/text.hpp"
#include "base/time.hpp"
#include "base/values.hpp"
#include "pg/params.hpp"
#include "pg/result.hpp"

namespace cairn::pg {

// What a C++ type accepts on the server's side, for the contract test.
struct SqlType {
  SqlType() = default;
  explicit SqlType(std::vector<std::string> accepted) : names(std::move(accepted)) {}
  std::vector<std::string> names;   // as format_type() spells them
  std::vector<std::string> labels;  // of an enum, which may have any name; with neither names nor labels: any type
  bool array = false;               // of such an enum (other arrays have names of their own)
};

// A value that is not what the type expects; reported with the names of statement and column.
class BadField : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Binary wire format of T (PostgreSQL 15: src/backend/utils/adt, *_send and *_recv):
//   static SqlType type();
//   static void encode(const T&, std::string& out);    appends the value's bytes
//   static T decode(Field);                            throws BadField
// There is none for inet (cast to text in SQL) and none for a Secret's way out.
template<class T>
struct Codec;

namespace wire {

template<class T>
void put(std::string& out, T value) {  // big endian
  for (auto shift = static_cast<int>(sizeof(T) * 8) - 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(static_cast<std::make_unsigned_t<T>>(value) >> shift & 0xff));
}
template<class T>
T get(std::string_view bytes) {  // reads the first sizeof(T) bytes, which must be there
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  return static_cast<T>(value);
}
// The field's bytes; throws when it is NULL or, unless `size` is 0, of another size.
std::string_view bytes(Field field, std::size_t size = 0);

void put_decimal(std::string& out, std::int64_t units, int scale);
std::int64_t get_decimal(std::string_view bytes, int precision, int scale);

// One-dimensional arrays: the header, then length and bytes of each element. No NULL elements.
void put_array_header(std::string& out, std::uint32_t element_oid, std::size_t count);
// Calls `element` with the bytes of each; throws BadField for anything but a 1-d array without NULLs.
class ArrayReader {
 public:
  explicit ArrayReader(Field field);
  std::size_t size() const { return size_; }
  std::string_view next();

 private:
  std::string_view rest_;
  std::size_t size_ = 0;
};

// The fields of a record of so many or more. Throws BadField when there are fewer.
class RecordReader {
 public:
  RecordReader(Field record, std::size_t size);
  Field next();

 private:
  std::string_view rest_;
};

}  // namespace wire

template<class T>
requires std::is_same_v<T, std::int16_t> || std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::int64_t>
struct Codec<T> {
  static constexpr std::uint32_t array_oid = sizeof(T) == 2 ? 21 : sizeof(T) == 4 ? 23 : 20;
  static SqlType type() { return SqlType({sizeof(T) == 2 ? "smallint" : sizeof(T) == 4 ? "integer" : "bigint"}); }
  static void encode(T value, std::string& out) { wire::put(out, value); }
  static T decode(Field field) { return wire::get<T>(wire::bytes(field, sizeof(T))); }
};

// An integer column; the range is the type's business.
template<std::int64_t Min, std::int64_t Max>
struct Codec<Bounded<Min, Max>> {
  using Stored = std::conditional_t<(Min >= INT32_MIN && Max <= INT32_MAX), std::int32_t, std::int64_t>;
  static SqlType type() { return Codec<Stored>::type(); }
  static void encode(Bounded<Min, Max> value, std::string& out) {
    Codec<Stored>::encode(static_cast<Stored>(value.value), out);
  }
  static Bounded<Min, Max> decode(Field field) { return {Codec<Stored>::decode(field)}; }
};

template<>
struct Codec<bool> {
  static SqlType type() { return SqlType({"boolean"}); }
  static void encode(bool value, std::string& out) { out.push_back(value ? '\1' : '\0'); }
  static bool decode(Field field) { return wire::bytes(field, 1)[0] != 0; }
};

template<>
struct Codec<double> {
  static SqlType type() { return SqlType({"double precision"}); }
  static void encode(double value, std::string& out) { wire::put(out, std::bit_cast<std::int64_t>(value)); }
  static double decode(Field field) { return std::bit_cast<double>(wire::get<std::int64_t>(wire::bytes(field, 8))); }
};

template<>
struct Codec<std::string> {
  static constexpr std::uint32_t array_oid = 25;
  static SqlType type() { return SqlType({"text", "character varying", "name"}); }
  static void encode(std::string_view value, std::string& out) { out.append(value); }
  static std::string decode(Field field) { return std::string(wire::bytes(field)); }
};

// Value types over text: Text<>, Email, Slug, Url<>. PostgreSQL has checked what comes back.
template<class T>
concept TextValue = requires(const T& value, std::string text) {
  { T::trusted(std::move(text)) } -> std::same_as<T>;
  { value.str() } -> std::same_as<const std::string&>;
  T::problem(std::string_view{});
};
template<TextValue T>
struct Codec<T> {
  static constexpr std::uint32_t array_oid = 25;
  static SqlType type() { return Codec<std::string>::type(); }
  static void encode(const T& value, std::string& out) { out.append(value.str()); }
  static T decode(Field field) { return T::trusted(std::string(wire::bytes(field))); }
};

template<>
struct Codec<Secret> {
  static SqlType type() { return Codec<std::string>::type(); }
  static void encode(const Secret& value, std::string& out) { out.append(value.reveal()); }
};

template<>
struct Codec<Uuid> {
  static constexpr std::uint32_t array_oid = 2950;
  static SqlType type() { return SqlType({"uuid"}); }
  static void encode(const Uuid& value, std::string& out) {
    out.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  }
  static Uuid decode(Field field);
};
template<class Entity>
struct Codec<Id<Entity>> {
  static constexpr std::uint32_t array_oid = 2950;
  static SqlType type() { return Codec<Uuid>::type(); }
  static void encode(const Id<Entity>& value, std::string& out) { Codec<Uuid>::encode(value.value, out); }
  static Id<Entity> decode(Field field) { return Id<Entity>{Codec<Uuid>::decode(field)}; }
};

template<>
struct Codec<Instant> {
  static SqlType type() { return SqlType({"timestamp with time zone"}); }
  static void encode(const Instant& value, std::string& out);
  static Instant decode(Field field);
};
template<>
struct Codec<Date> {
  static SqlType type() { return SqlType({"date"}); }
  static void encode(const Date& value, std::string& out);
  static Date decode(Field field);
};

template<int Precision, int Scale>
struct Codec<Decimal<Precision, Scale>> {
  static_assert(Precision <= 18 && Scale >= 0 && Scale <= Precision);
  using Value = Decimal<Precision, Scale>;
  static SqlType type() { return SqlType({"numeric"}); }
  static void encode(const Value& value, std::string& out) { wire::put_decimal(out, value.units, Scale); }
  static Value decode(Field field) { return Value{wire::get_decimal(wire::bytes(field), Precision, Scale)}; }
};

// jsonb on the wire: the version, 1, and the text.
template<>
struct Codec<RawJson> {
  static SqlType type() { return SqlType({"jsonb"}); }
  static void encode(const RawJson& value, std::string& out);
  static RawJson decode(Field field);
};
template<JsonKind K>
struct Codec<JsonText<K>> {
  static SqlType type() { return SqlType({"jsonb"}); }
  static void encode(const JsonText<K>& value, std::string& out) {
    out.push_back('\1');
    out.append(value.str());
  }
  static JsonText<K> decode(Field field) { return JsonText<K>::trusted(Codec<RawJson>::decode(field).str()); }
};

template<>
struct Codec<std::span<const std::uint8_t>> {
  static SqlType type() { return SqlType({"bytea"}); }
  static void encode(std::span<const std::uint8_t> value, std::string& out) {
    out.append(reinterpret_cast<const char*>(value.data()), value.size());
  }
};
template<>
struct Codec<std::vector<std::uint8_t>> {
  static SqlType type() { return SqlType({"bytea"}); }
  static void encode(const std::vector<std::uint8_t>& value, std::string& out) {
    Codec<std::span<const std::uint8_t>>::encode(value, out);
  }
  static std::vector<std::uint8_t> decode(Field field) {
    const auto bytes = wire::bytes(field);
    return {bytes.begin(), bytes.end()};
  }
};
template<std::size_t N>
struct Codec<std::array<std::uint8_t, N>> {
  static SqlType type() { return SqlType({"bytea"}); }
  static void encode(const std::array<std::uint8_t, N>& value, std::string& out) {
    Codec<std::span<const std::uint8_t>>::encode(value, out);
  }
  static std::array<std::uint8_t, N> decode(Field field) {
    const auto bytes = wire::bytes(field, N);
    std::array<std::uint8_t, N> value;
    std::copy(bytes.begin(), bytes.end(), value.begin());
    return value;
  }
};

template<class T>
concept DescribedEnum = std::is_enum_v<T> && boost::describe::has_describe_enumerators<T>::value;

// A described enum is its label. The server infers which enum a parameter is.
template<DescribedEnum T>
struct Codec<T> {
  static SqlType type() {
    SqlType type;
    boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>(
        [&](auto enumerator) { type.labels.emplace_back(enumerator.name); });
    return type;
  }
  static std::string_view label(T value) {
    std::string_view found;
    boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>([&](auto enumerator) {
      if (enumerator.value == value) found = enumerator.name;
    });
    return found;
  }
  static void encode(T value, std::string& out) { out.append(label(value)); }
  static T decode(Field field) { return parse(wire::bytes(field)); }
  static T parse(std::string_view text) {
    std::optional<T> found;
    boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>([&](auto enumerator) {
      if (text == enumerator.name) found = enumerator.value;
    });
    if (!found) throw BadField("unknown label " + std::string(text));
    return *found;
  }
};

template<class T>
struct Codec<std::optional<T>> {
  static SqlType type() { return Codec<T>::type(); }
  static std::optional<T> decode(Field field) {
    if (field.null()) return std::nullopt;
    return Codec<T>::decode(field);
  }
};

// Arrays of text, ids and integers, in binary; the element type is part of it, so text parameters must be text[] in
// SQL.
template<class T>
requires requires { Codec<T>::array_oid; }
struct Codec<std::vector<T>> {
  static SqlType type() {
    auto element = Codec<T>::type();
    std::erase(element.names, "name");
    for (auto& name : element.names) name += "[]";
    return element;
  }
  static void encode(const std::vector<T>& values, std::string& out) {
    wire::put_array_header(out, Codec<T>::array_oid, values.size());
    for (const auto& value : values) {
      const auto begin = out.size();
      wire::put(out, std::int32_t{0});
      Codec<T>::encode(value, out);
      std::string length;
      wire::put(length, static_cast<std::int32_t>(out.size() - begin - 4));
      out.replace(begin, 4, length);
    }
  }
  static std::vector<T> decode(Field field) {
    wire::ArrayReader reader(field);
    std::vector<T> values;
    values.reserve(reader.size());
    for (std::size_t i = 0; i < reader.size(); ++i) values.push_back(Codec<T>::decode(Field(reader.next())));
    return values;
  }
};

// Arrays of an enum go out as text, "{a,b}": the binary form would need the enum's OID, which differs per database.
// Enumerators are identifiers, so nothing needs quotes.
template<DescribedEnum T>
struct Codec<std::vector<T>> {
  static constexpr auto format = Params::Format::text;
  static SqlType type() {
    auto type = Codec<T>::type();
    type.array = true;
    return type;
  }
  static void encode(const std::vector<T>& values, std::string& out) {
    out.push_back('{');
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i != 0) out.push_back(',');
      Codec<T>::encode(values[i], out);
    }
    out.push_back('}');
  }
  static std::vector<T> decode(Field field) {
    wire::ArrayReader reader(field);
    std::vector<T> values;
    values.reserve(reader.size());
    for (std::size_t i = 0; i < reader.size(); ++i) values.push_back(Codec<T>::parse(reader.next()));
    return values;
  }
};

namespace detail {

template<class T>
void add(Params& params, const T& value) {
  constexpr auto format = [] {
    if constexpr (requires { Codec<T>::format; })
      return Codec<T>::format;
    else
      return Params::Format::binary;
  }();
  params.add_bytes([&](std::string& out) { Codec<T>::encode(value, out); }, format);
}
template<class T>
void add(Params& params, const std::optional<T>& value) {
  if (value)
    add(params, *value);
  else
    params.add_null();
}
template<class T>
void add(Params& params, const Change<T>& change) {
  add(params, change.given());
  if (change.given())
    add(params, change.value());
  else
    params.add_null();
}

}  // namespace detail

template<class T>
Params& Params::add(const T& value) {
  detail::add(*this, value);
  return *this;
}

// The types of the parameters that a T binds.
template<class T>
struct Bound {
  static void append(std::vector<SqlType>& types) { types.push_back(Codec<T>::type()); }
};
template<class T>
struct Bound<Change<T>> {
  static void append(std::vector<SqlType>& types) {
    types.push_back(Codec<bool>::type());
    types.push_back(Codec<T>::type());
  }
};
template<class T>
void append_types(std::vector<SqlType>& types) {
  Bound<T>::append(types);
}

}  // namespace cairn::pg
