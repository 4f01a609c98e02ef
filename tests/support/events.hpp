#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::support {

// One reader of the live feed, as a browser is: it has the id of the last event that it got. Every wait ends after
// `patience` with nothing.
class EventStream {
 public:
  struct Event {
    Event() = default;
    std::string id, type, data;
  };
  static constexpr std::chrono::seconds patience{20};

  // `path` is below /api/v1 and names the organization's events, with parameters if any. Throws std::runtime_error when
  // the answer is not a stream; its text begins with the status.
  EventStream(std::uint16_t port, std::string_view path, std::string_view token, std::string_view last_id = {});
  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // The next event; heartbeats are passed over. Nothing when the stream has ended.
  std::optional<Event> next();
  // The next of that type, whatever comes before it.
  std::optional<Event> next(std::string_view type);
  const std::string& last_id() const { return last_id_; }
  // Whether the server ended the stream as HTTP has it.
  bool ended_cleanly() const { return ended_; }

 private:
  bool receive();

  int socket_;
  std::string wire_, text_, last_id_;
  bool ended_ = false;
};

}  // namespace cairn::support
