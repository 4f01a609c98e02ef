#pragma once
#include <compare>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

// Well-formed UTF-8 without NUL, counted in code points; nullopt when it is not.
std::optional<std::size_t> count_code_points(std::string_view text);

enum class Shape {
  line,  // no control characters, not blank, no space at either end
  text,  // any characters but NUL; tabs and line breaks included
};
// Why `text` does not fit, in words for the client; empty when it fits. Lengths are in code points.
std::string text_problem(std::string_view text, std::size_t min, std::size_t max, Shape shape);

// Text whose limits are part of its type. Only checked text gets in through `parse`; `trusted` is for rows that
// PostgreSQL has checked already.
template<std::size_t Min, std::size_t Max, Shape S = Shape::line>
class Text {
 public:
  static constexpr std::size_t min = Min, max = Max;
  static constexpr Shape shape = S;

  Text() = default;
  static Text trusted(std::string value) {
    Text text;
    text.value_ = std::move(value);
    return text;
  }
  static std::string problem(std::string_view value) { return text_problem(value, Min, Max, S); }
  static std::optional<Text> parse(std::string_view value) {
    if (!problem(value).empty()) return std::nullopt;
    return trusted(std::string(value));
  }
  const std::string& str() const { return value_; }
  auto operator<=>(const Text&) const = default;

 private:
  std::string value_;
};

using Markdown = Text<0, 100'000, Shape::text>;

// An address that mail can be sent to: ASCII, stored in lower case so that two spellings of one address cannot coexist.
class Email {
 public:
  Email() = default;
  static Email trusted(std::string value) {
    Email email;
    email.value_ = std::move(value);
    return email;
  }
  static std::string problem(std::string_view value);
  static std::optional<Email> parse(std::string_view value);  // lower-cases
  const std::string& str() const { return value_; }
  auto operator<=>(const Email&) const = default;

 private:
  std::string value_;
};

// The part of an organization's address that people read: a-z, 0-9 and single dashes, 2 to 63 characters, no reserved
// word.
class Slug {
 public:
  Slug() = default;
  static Slug trusted(std::string value) {
    Slug slug;
    slug.value_ = std::move(value);
    return slug;
  }
  static std::string problem(std::string_view value);
  static std::optional<Slug> parse(std::string_view value);
  const std::string& str() const { return value_; }
  auto operator<=>(const Slug&) const = default;

 private:
  std::string value_;
};

// An absolute http(s) address of at most Max characters. It is stored and shown, never fetched.
template<std::size_t Max>
class Url {
 public:
  static constexpr std::size_t max = Max;
  Url() = default;
  static Url trusted(std::string value) {
    Url url;
    url.value_ = std::move(value);
    return url;
  }
  static std::string problem(std::string_view value);
  static std::optional<Url> parse(std::string_view value) {
    if (!problem(value).empty()) return std::nullopt;
    return trusted(std::string(value));
  }
  const std::string& str() const { return value_; }
  auto operator<=>(const Url&) const = default;

 private:
  std::string value_;
};
std::string url_problem(std::string_view value, std::size_t max);
template<std::size_t Max>
std::string Url<Max>::problem(std::string_view value) {
  return url_problem(value, Max);
}

// Never logged, never encoded, wiped when it goes.
class Secret {
 public:
  static constexpr std::size_t max = 1024;  // bytes; nothing is truncated below it
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&&) = default;
  Secret& operator=(const Secret&) = default;
  Secret& operator=(Secret&&) = default;
  ~Secret();
  static std::string problem(std::string_view value);
  static std::optional<Secret> parse(std::string_view value) {
    if (!problem(value).empty()) return std::nullopt;
    return Secret(std::string(value));
  }
  const std::string& reveal() const { return value_; }

 private:
  std::string value_;
};

}  // namespace cairn
