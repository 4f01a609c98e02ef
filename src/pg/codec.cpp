#include "pg/codec.hpp"

#include <algorithm>

namespace cairn::pg {
namespace {

constexpr std::int64_t epoch_days = 10'957;  // PostgreSQL counts from 2000-01-01
constexpr std::int64_t epoch_micros = epoch_days * 86'400'000'000;
constexpr auto infinite_micros = std::numeric_limits<std::int64_t>::max();
constexpr auto infinite_days = std::numeric_limits<std::int32_t>::max();

constexpr std::int64_t power_of_ten(int exponent) {
  std::int64_t power = 1;
  while (exponent-- > 0) power *= 10;
  return power;
}

}  // namespace

void Params::add_null() { slots_.push_back({0, -1, Format::binary}); }

namespace wire {

std::string_view bytes(Field field, std::size_t size) {
  if (field.null()) throw BadField("unexpected null");
  if (size != 0 && field.bytes().size() != size)
    throw BadField(std::to_string(size) + " bytes expected, not " + std::to_string(field.bytes().size()));
  return field.bytes();
}

// numeric: digits to the base of 10000. `weight` is the power of 10000 of the first one.
void put_decimal(std::string& out, std::int64_t units, int scale) {
  const bool negative = units < 0;
  const auto magnitude = negative ? 0 - static_cast<std::uint64_t>(units) : static_cast<std::uint64_t>(units);
  const auto one = static_cast<std::uint64_t>(power_of_ten(scale));
  const int fraction_digits = (scale + 3) / 4;

  std::array<std::int16_t, 12> digits{};  // 5 for 18 digits before the point, 5 after it
  std::size_t count = 0;
  std::uint64_t whole = magnitude / one;
  for (; whole != 0; whole /= 10'000) digits[count++] = static_cast<std::int16_t>(whole % 10'000);
  const int weight = static_cast<int>(count) - 1;
  std::reverse(digits.begin(), digits.begin() + static_cast<std::ptrdiff_t>(count));

  // The fraction as four-digit groups: one group at a time, so that nothing overflows.
  std::uint64_t rest = magnitude % one;
  int left = scale;
  for (int i = 0; i < fraction_digits; ++i) {
    const int taken = std::min(left, 4);
    left -= taken;
    const auto group = static_cast<std::uint64_t>(power_of_ten(left));
    digits[count++] = static_cast<std::int16_t>(rest / group * static_cast<std::uint64_t>(power_of_ten(4 - taken)));
    rest %= group;
  }

  put(out, static_cast<std::int16_t>(count));
  put(out, static_cast<std::int16_t>(weight));
  put(out, static_cast<std::int16_t>(negative ? 0x4000 : 0));
  put(out, static_cast<std::int16_t>(scale));
  for (std::size_t i = 0; i < count; ++i) put(out, digits[i]);
}

std::int64_t get_decimal(std::string_view bytes, int precision, int scale) {
  const auto bad = [] { return BadField("not a number of this precision and scale"); };
  if (bytes.size() < 8) throw bad();
  const auto count = get<std::int16_t>(bytes);
  const auto weight = get<std::int16_t>(bytes.substr(2));
  const auto sign = get<std::uint16_t>(bytes.substr(4));
  if (count < 0 || bytes.size() != 8 + 2 * static_cast<std::size_t>(count)) throw bad();
  if (sign != 0 && sign != 0x4000) throw bad();  // NaN, infinities

  std::int64_t units = 0;
  for (int i = 0; i < count; ++i) {
    std::int64_t digit = get<std::int16_t>(bytes.substr(8 + 2 * static_cast<std::size_t>(i)));
    if (digit == 0) continue;
    const int exponent = 4 * (weight - i) + scale;
    if (exponent > 18 || exponent < -3) throw bad();
    if (exponent < 0) {
      if (digit % power_of_ten(-exponent) != 0) throw bad();
      digit /= power_of_ten(-exponent);
    } else if (__builtin_mul_overflow(digit, power_of_ten(exponent), &digit)) {
      throw bad();
    }
    if (__builtin_add_overflow(units, digit, &units)) throw bad();
  }
  if (units >= power_of_ten(precision)) throw bad();
  return sign == 0 ? units : -units;
}

void put_array_header(std::string& out, std::uint32_t element_oid, std::size_t count) {
  put(out, std::int32_t{count == 0 ? 0 : 1});  // dimensions
  put(out, std::int32_t{0});                   // no NULLs
  put(out, element_oid);
  if (count == 0) return;
  put(out, static_cast<std::int32_t>(count));
  put(out, std::int32_t{1});  // lower bound
}

ArrayReader::ArrayReader(Field field) : rest_(wire::bytes(field)) {
  if (rest_.size() < 12) throw BadField("not an array");
  const auto dimensions = get<std::int32_t>(rest_);
  if (dimensions == 0) return;
  if (dimensions != 1 || rest_.size() < 20) throw BadField("not an array of one dimension");
  const auto count = get<std::int32_t>(rest_.substr(12));
  rest_.remove_prefix(20);
  if (count < 0 || static_cast<std::size_t>(count) > rest_.size() / 4) throw BadField("a cut-off array");
  size_ = static_cast<std::size_t>(count);
}

std::string_view ArrayReader::next() {
  if (rest_.size() < 4) throw BadField("a cut-off array");
  const auto length = get<std::int32_t>(rest_);
  rest_.remove_prefix(4);
  if (length < 0) throw BadField("null in an array");
  if (static_cast<std::size_t>(length) > rest_.size()) throw BadField("a cut-off array");
  const auto element = rest_.substr(0, static_cast<std::size_t>(length));
  rest_.remove_prefix(element.size());
  return element;
}

// The number of fields, and of each its type's OID, its length (-1: null) and its bytes (record_send).
RecordReader::RecordReader(Field record, std::size_t size) : rest_(wire::bytes(record)) {
  if (rest_.size() < 4 || static_cast<std::size_t>(get<std::int32_t>(rest_)) < size)
    throw BadField("a record of fewer fields");
  rest_.remove_prefix(4);
}

Field RecordReader::next() {
  if (rest_.size() < 8) throw BadField("a cut-off record");
  const auto length = get<std::int32_t>(rest_.substr(4));
  rest_.remove_prefix(8);
  if (length < 0) return {};
  if (static_cast<std::size_t>(length) > rest_.size()) throw BadField("a cut-off record");
  const Field field(rest_.substr(0, static_cast<std::size_t>(length)));
  rest_.remove_prefix(field.bytes().size());
  return field;
}

}  // namespace wire

Uuid Codec<Uuid>::decode(Field field) {
  const auto bytes = wire::bytes(field, 16);
  Uuid id;
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

void Codec<Instant>::encode(const Instant& value, std::string& out) {
  std::int64_t micros = value.micros;
  if (micros != infinite_micros && __builtin_sub_overflow(micros, epoch_micros, &micros))
    micros = std::numeric_limits<std::int64_t>::min();  // earlier than PostgreSQL's calendar: '-infinity'
  wire::put(out, micros);
}
Instant Codec<Instant>::decode(Field field) {
  std::int64_t micros = wire::get<std::int64_t>(wire::bytes(field, 8));
  if (micros == infinite_micros) return Instant::infinity();
  if (micros == std::numeric_limits<std::int64_t>::min()) throw BadField("-infinity");
  return {micros + epoch_micros};  // timestamps end in the year 294276, far from overflow
}

void Codec<Date>::encode(const Date& value, std::string& out) {
  wire::put(out, static_cast<std::int32_t>(value.days - epoch_days));
}
Date Codec<Date>::decode(Field field) {
  const auto days = wire::get<std::int32_t>(wire::bytes(field, 4));
  if (days == infinite_days || days == std::numeric_limits<std::int32_t>::min()) throw BadField("an infinite date");
  return {static_cast<std::int32_t>(days + epoch_days)};
}

void Codec<RawJson>::encode(const RawJson& value, std::string& out) {
  out.push_back('\1');
  out.append(value.str());
}
RawJson Codec<RawJson>::decode(Field field) {
  const auto bytes = wire::bytes(field);
  if (bytes.empty() || bytes.front() != '\1') throw BadField("not jsonb version 1");
  return RawJson(std::string(bytes.substr(1)));
}

}  // namespace cairn::pg
