#include "support/redis.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <hiredis/hiredis.h>
#include <regex.h>
#include <signal.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "support/stack.hpp"

namespace cairn::support {
namespace {

namespace fs = std::filesystem;

// The specification's nine patterns, with the seconds that each lives.
class Pattern {
 public:
  Pattern(const std::string& text, long seconds) : seconds_(seconds) {
    if (regcomp(&compiled_, ("^" + text + "$").c_str(), REG_EXTENDED | REG_NOSUB) != 0) throw std::logic_error(text);
  }
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  bool fits(const std::string& key) const { return regexec(&compiled_, key.c_str(), 0, nullptr, 0) == 0; }
  long seconds() const { return seconds_; }

 private:
  regex_t compiled_{};
  long seconds_;
};

const std::vector<std::unique_ptr<Pattern>>& patterns() {
  static const auto all = [] {
    const std::string id = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", digest = "[0-9a-f]{64}";
    std::vector<std::unique_ptr<Pattern>> list;
    const auto add = [&](const std::string& text, long seconds) {
      list.push_back(std::make_unique<Pattern>(text, seconds));
    };
    add("session:user:" + id, 24 * 60 * 60);
    add("rate_limit:[A-Za-z0-9._-]+:[A-Za-z0-9._-]+", 60);
    add("api_cache:[A-Za-z0-9._-]+:" + digest, 5 * 60);
    add("permissions:user:" + id + ":org:" + id, 30 * 60);
    add("stats:project:" + id, 10 * 60);
    add("count:org:" + id + ":members", 5 * 60);
    add("counts:project:" + id + ":tasks", 5 * 60);
    add("verify:email:" + digest, 60 * 60);
    add("reset:password:" + digest, 30 * 60);
    return list;
  }();
  return all;
}

std::string problem(const std::string& key, long milliseconds) {
  for (const auto& pattern : patterns()) {
    if (!pattern->fits(key)) continue;
    // 0 is the last millisecond, -1 is for ever.
    if (milliseconds >= 0 && milliseconds <= pattern->seconds() * 1000) return {};
    return fmt::format("{} lives for {} ms, not for up to {} s", key, milliseconds, pattern->seconds());
  }
  return key + " is none of the specification's keys";
}

bool answers(const std::string& socket) {
  const std::unique_ptr<redisContext, decltype(&redisFree)> context(redisConnectUnix(socket.c_str()), redisFree);
  if (!context || context->err) return false;
  const std::unique_ptr<void, decltype(&freeReplyObject)> reply(redisCommand(context.get(), "PING"), freeReplyObject);
  return reply && static_cast<const redisReply*>(reply.get())->type == REDIS_REPLY_STATUS;
}

}  // namespace

std::vector<std::string> redis_key_problems() { return redis_key_problems(servers().redis_socket); }

std::vector<std::string> redis_key_problems(const std::string& socket) {
  const auto found = redis({"EVAL",
                            "local found = {} for _, key in ipairs(redis.call('KEYS', '*')) do "
                            "found[#found + 1] = key found[#found + 1] = redis.call('PTTL', key) end return found",
                            "0"},
                           socket);
  std::vector<std::string> problems;
  for (std::size_t i = 0; i + 1 < found.size(); i += 2)
    if (auto text = problem(found[i], std::stol(found[i + 1])); !text.empty()) problems.push_back(std::move(text));
  return problems;
}

OwnRedis::OwnRedis() {
  std::string name = (fs::temp_directory_path() / "cairn-redis-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
  directory_ = name;
  socket_ = directory_ / "redis.sock";
  start();
}

OwnRedis::~OwnRedis() {
  process_.signal(SIGKILL);
  process_.wait(std::chrono::milliseconds(-1));
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

void OwnRedis::start() {
  const auto program = embedded::find_in_path("redis-server");
  if (!program) throw std::runtime_error("redis-server is not installed");
  const auto log = embedded::open_file(directory_ / "log", O_WRONLY | O_CREAT | O_APPEND);
  embedded::Command command;
  command.argv = {*program,   "--port", "0", "--unixsocket", socket_, "--dir",
                  directory_, "--save", "",  "--appendonly", "no"};
  command.directory = directory_;
  command.output = log.get();
  process_ = embedded::Process(command);
  while (!answers(socket_)) {
    if (process_.wait(std::chrono::milliseconds(5)))
      throw std::runtime_error("Redis does not start: " + embedded::read_file(directory_ / "log"));
  }
}

void OwnRedis::freeze() const { process_.signal(SIGSTOP); }
void OwnRedis::thaw() const { process_.signal(SIGCONT); }

void OwnRedis::snapshot() { redis({"SAVE"}, socket_); }

void OwnRedis::crash_and_return() {
  process_.signal(SIGKILL);
  process_.wait(std::chrono::milliseconds(-1));
  start();
}

}  // namespace cairn::support
