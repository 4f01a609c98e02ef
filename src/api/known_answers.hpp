#pragma once
#include <memory>
#include <string>
#include <unordered_map>

namespace cairn::api {

struct KnownAnswer {
  KnownAnswer(std::string as_of, std::string json) : seen(std::move(as_of)), content(std::move(json)) {}

  std::string seen;  // what app.holds_as_of() takes; later each time that the answer is found to hold still
  const std::string content;
  unsigned renewals = 0;  // of `seen`
};

// Answers that this core has given or found in Redis of late, so that the next request need not ask Redis. Whether one
// holds is asked for each time all the same.
class KnownAnswers {
 public:
  // Null: none.
  std::shared_ptr<KnownAnswer> find(const std::string& key) const;
  void add(const std::string& key, std::shared_ptr<KnownAnswer> answer);

 private:
  static constexpr std::size_t capacity = 16 << 20;  // bytes, about
  std::size_t bytes_ = 0;
  std::unordered_map<std::string, std::shared_ptr<KnownAnswer>> answers_;
};

}  // namespace cairn::api
