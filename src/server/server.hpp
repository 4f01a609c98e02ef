#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/config.hpp"
#include "feed/feed.hpp"
#include "job/worker.hpp"
#include "server/site.hpp"

namespace cairn::server {

// Where the data is.
struct Backends {
  Backends() = default;
  std::string database_url;  // of the runtime role, libpq's
  std::string role;          // that every connection takes on; empty when database_url is the runtime role's own
  std::string redis_url;
};

// Where links lead that the server gives away; never what a request says of itself.
std::string base_url(const Config& config, std::uint16_t port);

// The HTTP server: one thread per core, each with its own listener on the same port, its own connections and its own
// session cache; and one thread for what may wait. The database must be migrated already.
class Server {
 public:
  Server(Config config, Backends backends);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Returns when every core listens. Throws when the database cannot be used or the address is taken.
  void start();
  // The port of `server.listen`, or the one that was free when that is 0.
  std::uint16_t port() const { return port_; }
  // Stops accepting, lets requests that have begun finish for at most server.drain_seconds, and closes everything.
  // Idempotent.
  void stop();

  const api::Api& api() const { return site_->api(); }
  api::Shared& shared() { return *shared_; }

 private:
  struct Gauges;
  struct Running;
  void publish_gauges();

  Backends backends_;
  std::unique_ptr<api::Shared> shared_;
  std::unique_ptr<Site> site_;
  const std::shared_ptr<feed::Streams> streams_ = std::make_shared<feed::Streams>();
  std::uint16_t port_ = 0;
  std::vector<std::unique_ptr<Running>> cores_;
  std::unique_ptr<job::Worker> worker_;  // none when other servers do what may wait
};

}  // namespace cairn::server
