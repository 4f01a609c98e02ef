#pragma once
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace cairn::http {

// Decodes %XX once (RFC 3986 section 2.1); '+' stays. Nothing if an escape is broken or the result is not UTF-8 without
// NUL.
std::optional<std::string> percent_decode(std::string_view text);

struct Parameter {
  Parameter() = default;
  std::string name, value;
};

// Walks "a=1&b=x+y" as forms write it (WHATWG URL section 5.1): '+' is a blank, a missing '=' an empty value, empty
// pairs are skipped. `for (auto const& [name, value] : Query{request.query})`. The query of a Request never fails to
// decode; in other text the walk ends at the first pair that does.
class Query {
 public:
  explicit Query(std::string_view text) : text_(text) {}

  class iterator {
   public:
    using value_type = Parameter;
    using difference_type = std::ptrdiff_t;

    explicit iterator(std::string_view rest) : rest_(rest) { ++*this; }
    Parameter const& operator*() const { return pair_; }
    Parameter const* operator->() const { return &pair_; }
    iterator& operator++();
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return done_; }

   private:
    std::string_view rest_;
    Parameter pair_;
    bool done_ = false;
  };

  iterator begin() const { return iterator{text_}; }
  std::default_sentinel_t end() const { return {}; }

  // The first value of that name.
  std::optional<std::string> value(std::string_view name) const;

 private:
  std::string_view text_;
};

}  // namespace cairn::http
