#include "api/core.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include "api/metrics.hpp"

namespace cairn::api {
namespace {

Hasher::Settings hasher_settings(const Config& config) {
  Hasher::Settings settings;
  settings.memory_bytes = std::size_t{config.password.memory_kib} * 1024;
  settings.iterations = config.password.iterations;
  settings.queue = config.password.queue;
  return settings;
}

}  // namespace

Shared::Shared(Config settings)
    : config(std::move(settings)),
      proxies(config.server.trusted_proxies, config.server.proxy_header),
      policies(config.limits),
      hasher(hasher_settings(config)),
      metrics(std::make_unique<Metrics>()) {}
Shared::~Shared() = default;

Core::Core(Shared& all, unsigned index, pg::Settings database_settings, redis::Settings redis_settings)
    : shared(all),
      number(index),
      database(io, std::move(database_settings)),
      redis(io, std::move(redis_settings)),
      limiter(all.policies, redis, all.counters),
      access(all.config.log.access),
      request_prefix(fmt::format("{:08x}{:02x}", randombytes_random(), index)) {}

}  // namespace cairn::api
