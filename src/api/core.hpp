#pragma once
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <memory>
#include <string>

#include "api/known_answers.hpp"
#include "api/limits.hpp"
#include "api/remote.hpp"
#include "base/config.hpp"
#include "base/hasher.hpp"
#include "base/log.hpp"
#include "pg/pool.hpp"
#include "redis/connection.hpp"

namespace cairn::api {

class Metrics;

// What all cores share. Everything in it is either constant after start or safe from any thread.
struct Shared {
  explicit Shared(Config settings);
  ~Shared();
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  const Config config;
  const Proxies proxies;
  const Policies policies;
  limits::Counters counters;
  std::string base_url;  // as users reach the server, for links: server.base_url, or else where it listens
  Hasher hasher;
  std::unique_ptr<Metrics> metrics;
  std::atomic<bool> draining{false};
};

// Is told of every change that a request of its core has committed, and of the server's end.
struct Witness {
  Witness() = default;
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  virtual ~Witness() = default;
  virtual void changed() = 0;
  virtual void stop() = 0;
};

// One thread's world: nothing in it is touched by another thread, so nothing in it is locked.
struct Core {
  Core(Shared& all, unsigned index, pg::Settings database, redis::Settings cache);

  Shared& shared;
  unsigned number;
  boost::asio::io_context io{1};
  pg::Pool database;
  redis::Client redis;
  Limiter limiter;
  KnownAnswers answers;
  std::shared_ptr<Witness> witness;  // the live feed
  log::AccessLog access;
  std::uint64_t requests = 0;
  std::string request_prefix;  // random, so that request ids of all cores and all runs differ
};

}  // namespace cairn::api
