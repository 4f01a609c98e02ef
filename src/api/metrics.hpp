#pragma once
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/endpoint.hpp"

namespace cairn::api {

// Requests, errors and durations per endpoint, never per address, so that no client can make the number of series grow.
// Any thread.
class Metrics {
 public:
  Metrics();

  // Registers an endpoint's series; before the first request only.
  void add(const Endpoint& endpoint);
  // nullptr: a request that no endpoint is for.
  void count(const Endpoint* endpoint, unsigned status, std::chrono::microseconds taken);
  // A value that is read when somebody asks for it.
  void gauge(const std::string& name, const std::string& help, std::function<double()> read);

  // Prometheus text exposition format 0.0.4.
  std::string text();

 private:
  struct Series {
    std::array<prometheus::Counter*, 6> by_class{};  // 1xx..5xx
    prometheus::Histogram* seconds = nullptr;
  };
  Series make(const std::string& id);

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& seconds_;
  std::unordered_map<const Endpoint*, Series> series_;
  Series none_;
  std::vector<std::pair<prometheus::Gauge*, std::function<double()>>> gauges_;
  std::mutex gauges_mutex_;
};

}  // namespace cairn::api
