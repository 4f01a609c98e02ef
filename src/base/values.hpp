#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/id.hpp"
#include "base/text.hpp"
#include "base/time.hpp"

namespace cairn {

// A fixed-point number as PostgreSQL's DECIMAL(Precision, Scale); `units` counts 10^-Scale. Text form has all Scale
// digits.
template<int Precision, int Scale>
struct Decimal {
  std::int64_t units = 0;
  auto operator<=>(const Decimal&) const = default;
};
// The text form of `units` with `scale` digits after the point.
void append_decimal(std::string& out, std::int64_t units, int scale);
// Parses "-12.5"; nullopt when it is no plain decimal, has more than `scale` digits after the point that are not zero,
// or does not fit in `precision` digits. No exponents, no NaN.
std::optional<std::int64_t> parse_decimal(std::string_view text, int precision, int scale);

// Whole numbers with limits of their own, in the type like everything else that is checked.
template<std::int64_t Min, std::int64_t Max>
struct Bounded {
  std::int64_t value = Min;
  auto operator<=>(const Bounded&) const = default;
};

// JSON kept as text, checked for what JSONB can hold and we are willing to store (see json.hpp: DocumentLimits).
enum class JsonKind { object, array };
template<JsonKind K>
class JsonText {
 public:
  static constexpr JsonKind kind = K;
  JsonText() = default;
  static JsonText trusted(std::string value) {
    JsonText json;
    json.value_ = std::move(value);
    return json;
  }
  const std::string& str() const { return value_; }
  auto operator<=>(const JsonText&) const = default;

 private:
  std::string value_ = K == JsonKind::object ? "{}" : "[]";
};
using JsonObject = JsonText<JsonKind::object>;
using JsonArray = JsonText<JsonKind::array>;

// JSON from our own database, passed on as it is (history's old and new values). Never an input.
class RawJson {
 public:
  RawJson() = default;
  explicit RawJson(std::string value) : value_(std::move(value)) {}
  const std::string& str() const { return value_; }

 private:
  std::string value_ = "null";
};

// A member of a merge patch (RFC 7396): absent, or given. Null is a value only where T is an optional; for every other
// T an explicit null is refused. Binds to SQL as two parameters: whether it is given, and the value.
template<class T>
class Change {
 public:
  Change() = default;
  Change(T value)
      : given_(true), value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): Change{x} reads as x
  bool given() const { return given_; }
  const T& value() const { return value_; }
  T& value() { return value_; }
  void set(T value) {
    given_ = true;
    value_ = std::move(value);
  }

 private:
  bool given_ = false;
  T value_{};
};

template<class T>
struct is_optional : std::false_type {};
template<class T>
struct is_optional<std::optional<T>> : std::true_type {};
template<class T>
struct is_change : std::false_type {};
template<class T>
struct is_change<Change<T>> : std::true_type {};

}  // namespace cairn
