#include "embedded/redis.hpp"

#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include <csignal>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace cairn::embedded {
namespace {

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(void* reply) const { freeReplyObject(reply); }
};

bool pongs(const std::string& socket) {
  const timeval patience{1, 0};
  const std::unique_ptr<redisContext, Free> context{redisConnectUnixWithTimeout(socket.c_str(), patience)};
  if (!context || context->err || redisSetTimeout(context.get(), patience) != REDIS_OK) return false;
  const std::unique_ptr<void, Free> reply{redisCommand(context.get(), "PING")};
  // While it loads its file it answers every command with an error.
  return reply && static_cast<redisReply*>(reply.get())->type == REDIS_REPLY_STATUS;
}

// Nothing in Redis is the only copy of anything, so a file that it cannot read must not keep everything down.
bool set_aside(const std::filesystem::path& directory) {
  const auto broken = directory / "appendonlydir.broken";
  std::error_code error;
  if (!std::filesystem::exists(directory / "appendonlydir", error) || std::filesystem::exists(broken, error))
    return false;
  std::filesystem::rename(directory / "appendonlydir", broken, error);
  return !error;
}

}  // namespace

std::filesystem::path redis_socket(const Site& site) { return site.sockets / "redis.sock"; }

Recipe redis_recipe(const Site& site) {
  const auto program = find_in_path("redis-server");
  if (!program) throw std::runtime_error{"redis-server is not installed: run apt-get install redis-server"};
  Recipe recipe;
  recipe.name = "Redis";
  recipe.id = "redis";
  const std::string socket = redis_socket(site);
  const std::vector<std::pair<const char*, std::string>> settings = {
      {"port", "0"},
      {"unixsocket", socket},
      {"unixsocketperm", "700"},
      {"daemonize", "no"},
      {"protected-mode", "yes"},
      {"logfile", ""},
      {"save", ""},
      {"appendonly", "yes"},
      {"appendfsync", site.durable ? "everysec" : "no"},
      {"maxmemory", "64mb"},
      {"maxmemory-policy", "noeviction"},
  };
  recipe.argv = {*program};
  for (const auto& [name, value] : settings) recipe.argv.insert(recipe.argv.end(), {fmt::format("--{}", name), value});
  recipe.quit_signal = SIGTERM;
  recipe.abort_signal = SIGKILL;
  recipe.occupied = [] { return false; };
  recipe.answers = [socket](pid_t) { return pongs(socket); };
  recipe.salvage = [directory = site.root / "redis"] { return set_aside(directory); };
  return recipe;
}

}  // namespace cairn::embedded
