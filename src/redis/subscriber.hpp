#pragma once
#include <functional>
#include <memory>
#include <string>

#include "redis/connection.hpp"

namespace cairn::redis {

// Listens to one channel, on a connection of its own because SUBSCRIBE takes one over. Nobody may rely on it: what is
// published while Redis cannot be reached is not heard. Used from the thread that runs the io_context.
class Subscriber {
 public:
  Subscriber(boost::asio::io_context& io, Settings settings, std::string channel, std::function<void()> heard);
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;
  ~Subscriber();  // stop()

  // Connects, and keeps connecting, in the background.
  void start();
  void stop();

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace cairn::redis
