#include "api/known_answers.hpp"

namespace cairn::api {
namespace {

std::size_t size_of(const std::string& key, const KnownAnswer& answer) {
  return key.size() + answer.content.size() + 256;  // what is around them
}

}  // namespace

std::shared_ptr<KnownAnswer> KnownAnswers::find(const std::string& key) const {
  const auto found = answers_.find(key);
  return found == answers_.end() ? nullptr : found->second;
}

void KnownAnswers::add(const std::string& key, std::shared_ptr<KnownAnswer> answer) {
  if (const auto old = answers_.find(key); old != answers_.end()) {
    bytes_ -= size_of(key, *old->second);
    answers_.erase(old);
  }
  const auto size = size_of(key, *answer);
  if (size > capacity / 16) return;
  if (bytes_ + size > capacity) {
    answers_.clear();
    bytes_ = 0;
  }
  bytes_ += size;
  answers_.emplace(key, std::move(answer));
}

}  // namespace cairn::api
