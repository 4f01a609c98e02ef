#pragma once
#include "redis/reply.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct redisReader;

namespace cairn::redis {

// A command as it goes over the wire. Throws std::invalid_argument when it is empty: Redis would not answer it.
std::string encode(std::span<const std::string_view> parts);

// Turns bytes, cut anywhere, into replies.
class Decoder {
 public:
  Decoder();
  Decoder(const Decoder&) = delete;  // the reader points at `root_`
  Decoder& operator=(const Decoder&) = delete;

  void feed(std::string_view bytes);
  // The next whole reply; nullopt when bytes are missing, and for ever once the bytes made no sense.
  std::optional<Reply> next();
  bool broken() const;

 private:
  struct Free {
    void operator()(redisReader* reader) const;
  };
  Reply root_;
  std::unique_ptr<redisReader, Free> reader_;
};

}  // namespace cairn::redis
