#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

struct pg_result;  // libpq's PGresult

namespace cairn::pg {

// One value of a result in PostgreSQL's binary format; valid as long as its Result.
class Field {
 public:
  Field() = default;
  explicit Field(std::string_view bytes) : bytes_(bytes), null_(false) {}
  bool null() const { return null_; }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
  bool null_ = true;
};

// Owns one libpq result. Empty when default constructed.
class Result {
 public:
  Result() = default;
  explicit Result(pg_result* owned) : result_(owned) {}

  explicit operator bool() const { return result_ != nullptr; }
  const pg_result* get() const { return result_.get(); }

  std::size_t rows() const;
  std::size_t columns() const;
  std::string_view column_name(std::size_t column) const;
  Field field(std::size_t row, std::size_t column) const;
  std::int64_t affected() const;  // rows of insert, update, delete; 0 for anything else

 private:
  struct Clear {
    void operator()(pg_result* result) const noexcept;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

}  // namespace cairn::pg
