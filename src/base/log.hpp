#pragma once
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <variant>

// One line per event on standard error, as JSON for machines or as text for people. Nothing here may be given a body,
// a token or a password; a Secret does not convert to a Value.
namespace cairn::log {

enum class Level { debug, info, warn, error };
enum class Format { automatic, json, console };  // automatic: console on a terminal, else json
enum class AccessMode { all, errors, off };      // errors: status 400 and above

std::string_view name_of(Level level);

// What a field may hold. Text is viewed, not copied: it must live until the call returns.
class Value {
 public:
  template<std::convertible_to<std::string_view> T>
  Value(const T& text) : value_(std::string_view(text)) {}
  Value(bool flag) : value_(flag) {}
  template<std::signed_integral T>
  Value(T number) : value_(std::int64_t{number}) {}
  template<std::unsigned_integral T>
  Value(T number) : value_(std::uint64_t{number}) {}
  Value(double number) : value_(number) {}

  const auto& get() const { return value_; }

 private:
  std::variant<std::string_view, bool, std::int64_t, std::uint64_t, double> value_;
};

struct Field {
  std::string_view name;  // snake_case, written as it is
  Value value;
};
using Fields = std::initializer_list<Field>;

// Where lines go. Any thread; every line is one write(2), so lines of other processes on the same descriptor stay whole
// up to PIPE_BUF. What cannot be written is dropped: a full disk must not stop the server.
class Sink {
 public:
  // Does not own `fd`.
  Sink(int fd, Format format, Level level);
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  void configure(Format format, Level level);
  void set_level(Level level) { level_.store(level, std::memory_order_relaxed); }
  bool enabled(Level level) const { return level >= level_.load(std::memory_order_relaxed); }
  // The format in use, never automatic.
  Format format() const { return format_.load(std::memory_order_relaxed); }
  bool colour() const { return colour_; }

  void write(Level level, std::string_view message, Fields fields = {});
  // Whole lines, each with its line break.
  void write_lines(std::string_view lines);

 private:
  int fd_;
  bool colour_;
  std::atomic<Format> format_;
  std::atomic<Level> level_;
  std::mutex mutex_;
};

// The process's sink, on standard error; json at level info until start() is called.
Sink& sink();
void start(Format format, Level level);

inline void debug(std::string_view message, Fields fields = {}) { sink().write(Level::debug, message, fields); }
inline void info(std::string_view message, Fields fields = {}) { sink().write(Level::info, message, fields); }
inline void warn(std::string_view message, Fields fields = {}) { sink().write(Level::warn, message, fields); }
inline void error(std::string_view message, Fields fields = {}) { sink().write(Level::error, message, fields); }

// One answered request. `route` is the template ("/v1/tasks/{task}"), never the target: that may hold a token.
struct Access {
  std::string_view request_id, method, route;
  unsigned status = 0;
  std::chrono::microseconds duration{};
  std::size_t bytes = 0;                     // of the body sent
  std::string_view actor, organization, ip;  // left out of the line when empty
};

// One core's access lines, gathered so that a request does not cost a system call. One thread only.
class AccessLog {
 public:
  static constexpr std::size_t flush_bytes = 32 * 1024;

  explicit AccessLog(AccessMode mode, Sink& to = sink());
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;
  ~AccessLog() { flush(); }

  // Writes the gathered lines out when they have reached flush_bytes.
  void append(const Access& access);
  // Call once a second, so that a quiet server's lines do not wait.
  void flush();

 private:
  Sink& sink_;
  AccessMode mode_;
  std::string lines_;
};

}  // namespace cairn::log
