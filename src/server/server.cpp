#include "server/server.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <future>

#include "api/metrics.hpp"
#include "api/problem_json.hpp"
#include "audit/audit.hpp"
#include "audit/checkpoint.hpp"
#include "base/vault.hpp"
#include "feed/feed.hpp"
#include "http/listener.hpp"
#include "organization/organization.hpp"

namespace cairn::server {
namespace {

namespace asio = boost::asio;

pg::Settings database_settings(const Config& config, const Backends& backends) {
  pg::Settings settings;
  settings.conninfo = backends.database_url;
  settings.role = backends.role;
  settings.read_connections = config.database.read_connections;
  settings.commit_connections = config.database.commit_connections;
  settings.write_connections = config.database.write_connections;
  return settings;
}

redis::Settings redis_settings(const Backends& backends) {
  auto settings = redis::Settings::parse(backends.redis_url);
  settings.on_change = [away = false](std::string_view problem) mutable {
    if (problem.empty() && std::exchange(away, false)) log::info("redis is back");
    if (!problem.empty() && !std::exchange(away, true))
      log::warn("redis is away; going on without it", {{"problem", problem}});
  };
  return settings;
}

http::Limits http_limits(const Config& config) {
  http::Limits limits;
  limits.header_bytes = config.http.header_bytes;
  limits.headers = config.http.headers;
  limits.body_bytes = config.http.body_bytes;
  limits.target_bytes = config.http.target_bytes;
  limits.connections = config.http.connections;
  limits.header_time = config.http.header_time_seconds;
  limits.body_time = config.http.body_time_seconds;
  limits.idle_time = config.http.idle_time_seconds;
  limits.write_time = config.http.write_time_seconds;
  return limits;
}

http::Listener::Endpoint endpoint_of(const Listen& listen, std::uint16_t port) {
  if (!listen.unix_path.empty()) return asio::local::stream_protocol::endpoint(listen.unix_path);
  boost::system::error_code error;
  auto address = asio::ip::make_address(listen.host, error);
  if (error) {
    asio::io_context io;
    asio::ip::tcp::resolver resolver(io);
    address = resolver.resolve(listen.host, "").begin()->endpoint().address();
  }
  return asio::ip::tcp::endpoint(address, port);
}

void protocol_error(const http::Request&, std::string_view detail, http::Response& response) {
  Problem problem(kind_of(response.status), std::string(detail));
  if (problem.kind == Kind::internal) problem.detail = "Something went wrong on our side.";
  if (response.status == 503) problem.retry_after = 1;
  api::write_problem(problem, {}, response);
}

}  // namespace

std::string base_url(const Config& config, std::uint16_t port) {
  if (!config.server.base_url.empty()) return config.server.base_url;
  auto listen = config.server.listen;
  if (!listen.unix_path.empty()) return "http://localhost";
  listen.port = port;
  return "http://" + listen.text();
}

// What one core tells the others once a second: its own counters are not for other threads to read.
struct Server::Gauges {
  std::atomic<std::uint64_t> connections{0}, in_flight{0}, waiters{0}, reconnects{0}, clients{0}, redis{0};
};

struct Server::Running {
  Running(api::Shared& shared, unsigned index, const Backends& backends, std::shared_ptr<feed::Streams> all_streams)
      : core(shared, index, database_settings(shared.config, backends), redis_settings(backends)),
        tick(core.io),
        streams(std::move(all_streams)),
        redis(redis_settings(backends)) {}

  async<> begin(const Site& site, std::uint16_t port) {
    co_await core.database.start();
    core.redis.start();
    // A moment's patience keeps the first requests from finding Redis away; it is not needed to begin.
    co_await core.redis.wait_healthy(std::chrono::milliseconds(200));
    feed::start(core, redis, streams);
    auto handler = [this, &site](const http::Request& request, http::Response& response) {
      return site.answer(core, request, response);
    };
    listener.emplace(core.io, endpoint_of(core.shared.config.server.listen, port), http_limits(core.shared.config),
                     std::move(handler), protocol_error);
    listener->start();
  }

  // Access lines of a quiet server reach the log, and gauges are renewed, once a second.
  async<> every_second() {
    for (;;) {
      const auto stats = core.database.stats();
      gauges.connections = stats.reads_up + stats.commits_up + stats.writes_up;
      gauges.in_flight = stats.in_flight + stats.queued + stats.writes_leased;
      gauges.waiters = stats.waiters;
      gauges.reconnects = stats.reconnects;
      gauges.clients = listener ? listener->sessions() : 0;
      gauges.redis = core.redis.healthy() ? 1 : 0;
      core.access.flush();
      tick.expires_after(std::chrono::seconds(1));
      co_await tick.async_wait(awaiting);
    }
  }

  // What was deleted long ago goes for good.
  async<> every_hour() {
    asio::steady_timer pause(core.io);
    for (;;) {
      try {
        co_await organization::purge(core.database);
        co_await audit::keep_up(core.database);
      } catch (const std::exception& error) {
        log::warn("what was deleted was not purged", {{"problem", error.what()}});
      }
      pause.expires_after(std::chrono::hours(1));
      co_await pause.async_wait(awaiting);
    }
  }

  // What has come to the record is signed.
  async<> make_checkpoint(std::chrono::seconds patience) {
    try {
      const auto key = audit::SigningKey::open(audit::SigningKey::file_in(core.shared.config.data_dir));
      co_await audit::seal(core.database, key, patience);
    } catch (const std::exception& error) { log::warn("the record got no checkpoint", {{"problem", error.what()}}); }
  }
  async<> make_checkpoints() {
    asio::steady_timer pause(core.io);
    for (;;) {
      co_await make_checkpoint(std::chrono::minutes(10));  // the whole of the record is gone through the first time
      pause.expires_after(core.shared.config.record.checkpoint_minutes);
      co_await pause.async_wait(awaiting);
    }
  }
  bool makes_checkpoints() const {
    return core.number == 0 && core.shared.config.record.checkpoint_minutes.count() > 0;
  }

  // The end is in three parts, each when all cores have done the one before.
  async<> drain() {
    if (core.witness) core.witness->stop();
    if (!listener) co_return;
    listener->drain();
    const auto deadline = std::chrono::steady_clock::now() + core.shared.config.server.drain_seconds;
    asio::steady_timer pause(core.io);
    while (listener->sessions() > 0 && std::chrono::steady_clock::now() < deadline) {
      pause.expires_after(std::chrono::milliseconds(10));
      co_await pause.async_wait(awaiting);
    }
  }
  // What is not signed when the server goes could be rewritten while it is away.
  async<> sign() {
    if (makes_checkpoints() && core.database.ready()) co_await make_checkpoint(std::chrono::seconds(3));
  }
  async<> close() {
    co_await core.database.close();
    co_await core.redis.close();
    core.access.flush();
  }

  api::Core core;
  asio::steady_timer tick;
  std::shared_ptr<feed::Streams> streams;
  redis::Settings redis;
  Gauges gauges;
  std::optional<http::Listener> listener;
  std::thread thread;
};

Server::Server(Config config, Backends backends)
    : backends_(std::move(backends)), shared_(std::make_unique<api::Shared>(std::move(config))) {
  Vault::in(shared_->config.data_dir);  // while somebody looks whether it starts
  const unsigned wanted = shared_->config.server.threads;
  const unsigned available = std::max(1u, std::thread::hardware_concurrency());
  // A unix socket has one listener, hence one core.
  const unsigned cores = !shared_->config.server.listen.unix_path.empty() ? 1 : wanted != 0 ? wanted : available;
  site_ = std::make_unique<Site>(*shared_, cores);
  for (unsigned i = 0; i < cores; ++i) cores_.push_back(std::make_unique<Running>(*shared_, i, backends_, streams_));
  if (shared_->config.mail.deliver)
    worker_ = std::make_unique<job::Worker>(database_settings(shared_->config, backends_), shared_->config);
}

Server::~Server() { stop(); }

void Server::start() {
  port_ = shared_->config.server.listen.port;
  if (port_ != 0) shared_->base_url = base_url(shared_->config, port_);
  for (auto& running : cores_) {
    auto begun = std::make_shared<std::promise<void>>();
    auto result = begun->get_future();
    const auto done = [begun](std::exception_ptr error) {
      if (error)
        begun->set_exception(error);
      else
        begun->set_value();
    };
    asio::co_spawn(running->core.io, running->begin(*site_, port_), done);
    asio::co_spawn(running->core.io, running->every_second(), [](std::exception_ptr) {});
    running->thread = std::thread([&io = running->core.io] { io.run(); });
    result.get();
    // With port 0 the first core finds a free port and the others share it.
    if (port_ == 0) {
      port_ = running->listener->port();
      shared_->base_url = base_url(shared_->config, port_);
    }
  }
  asio::co_spawn(cores_.front()->core.io, cores_.front()->every_hour(), [](std::exception_ptr) {});
  if (cores_.front()->makes_checkpoints())
    asio::co_spawn(cores_.front()->core.io, cores_.front()->make_checkpoints(), [](std::exception_ptr) {});
  if (worker_) worker_->start();
  publish_gauges();
}

void Server::publish_gauges() {
  const auto sum = [this](std::atomic<std::uint64_t> Gauges::*member) {
    return [this, member] {
      std::uint64_t total = 0;
      for (const auto& running : cores_) total += (running->gauges.*member).load(std::memory_order_relaxed);
      return static_cast<double>(total);
    };
  };
  auto& metrics = *shared_->metrics;
  metrics.gauge("cairn_database_connections", "Connections to PostgreSQL.", sum(&Gauges::connections));
  metrics.gauge("cairn_database_in_flight", "Requests that wait for PostgreSQL.", sum(&Gauges::in_flight));
  metrics.gauge("cairn_database_waiters", "Requests that wait for a connection.", sum(&Gauges::waiters));
  metrics.gauge("cairn_database_reconnects", "Connections lost and replaced since the start.",
                sum(&Gauges::reconnects));
  metrics.gauge("cairn_http_connections", "Connections of clients.", sum(&Gauges::clients));
  metrics.gauge("cairn_event_streams", "Live feeds that are open.",
                [streams = streams_] { return static_cast<double>(streams->count()); });
  metrics.gauge("cairn_redis_up", "Cores that can reach Redis.", sum(&Gauges::redis));
}

void Server::stop() {
  shared_->draining = true;
  for (const auto part : {&Running::drain, &Running::sign, &Running::close}) {
    std::vector<std::future<void>> ends;
    for (auto& running : cores_) {
      if (!running->thread.joinable()) continue;
      auto ended = std::make_shared<std::promise<void>>();
      ends.push_back(ended->get_future());
      const auto done = [ended](std::exception_ptr) { ended->set_value(); };
      asio::co_spawn(running->core.io, (running.get()->*part)(), done);
    }
    for (auto& end : ends) end.wait();
  }
  for (auto& running : cores_) {
    running->core.io.stop();
    if (running->thread.joinable()) running->thread.join();
  }
  cores_.clear();
  worker_.reset();
}

}  // namespace cairn::server
