#include "redis/codec.hpp"

#include <hiredis/hiredis.h>

#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

namespace cairn::redis {

namespace {

// Where the reader's next object goes. A parent gets no further element while one of its own elements is still being
// filled, so the address of that element holds.
Reply* place(const redisReadTask* task, Reply::Type type) {
  auto& place = task->parent ? static_cast<Reply*>(task->parent->obj)->elements.emplace_back()
                             : *static_cast<Reply*>(task->privdata);
  place.type = type;
  return &place;
}

// Called by C, so nothing may be thrown: running out of memory ends the process.
redisReplyObjectFunctions build{
    .createString = [](const redisReadTask* task, char* text, std::size_t size) noexcept -> void* {
      auto* reply = place(task, task->type == REDIS_REPLY_ERROR ? Reply::Type::error : Reply::Type::string);
      reply->text.assign(text, size);
      return reply;
    },
    // The announced size is not reserved: a few bytes could announce gigabytes.
    .createArray = [](const redisReadTask* task, int) noexcept -> void* { return place(task, Reply::Type::array); },
    .createInteger = [](const redisReadTask* task, long long value) noexcept -> void* {
      auto* reply = place(task, Reply::Type::integer);
      reply->integer = value;
      return reply;
    },
    .createNil = [](const redisReadTask* task) noexcept -> void* { return place(task, Reply::Type::nil); },
    .freeObject = [](void*) noexcept {},  // the decoder owns the root
};

}  // namespace

std::string encode(std::span<const std::string_view> parts) {
  if (parts.empty()) throw std::invalid_argument("an empty Redis command");
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  texts.reserve(parts.size());
  sizes.reserve(parts.size());
  for (auto part : parts) {
    texts.push_back(part.data());
    sizes.push_back(part.size());
  }
  char* wire = nullptr;
  auto size = redisFormatCommandArgv(&wire, static_cast<int>(parts.size()), texts.data(), sizes.data());
  if (size < 0) throw std::bad_alloc();
  std::unique_ptr<char, decltype(&redisFreeCommand)> owner(wire, redisFreeCommand);
  return std::string(wire, static_cast<std::size_t>(size));
}

Decoder::Decoder() : reader_(redisReaderCreateWithFunctions(&build)) {
  if (!reader_) throw std::bad_alloc();
  reader_->privdata = &root_;
}

void Decoder::Free::operator()(redisReader* reader) const { redisReaderFree(reader); }

void Decoder::feed(std::string_view bytes) { redisReaderFeed(reader_.get(), bytes.data(), bytes.size()); }

std::optional<Reply> Decoder::next() {
  void* whole = nullptr;
  if (redisReaderGetReply(reader_.get(), &whole) != REDIS_OK || !whole) return std::nullopt;
  return std::exchange(root_, Reply());
}

bool Decoder::broken() const { return reader_->err != 0; }

}  // namespace cairn::redis
