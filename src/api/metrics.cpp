#include "api/metrics.hpp"

#include <prometheus/gauge.h>
#include <prometheus/text_serializer.h>

namespace cairn::api {

Metrics::Metrics()
    : requests_(
          prometheus::BuildCounter().Name("cairn_http_requests_total").Help("Requests answered.").Register(registry_)),
      seconds_(prometheus::BuildHistogram()
                   .Name("cairn_http_request_duration_seconds")
                   .Help("From the request's last byte to its reply.")
                   .Register(registry_)),
      none_(make("none")) {}

Metrics::Series Metrics::make(const std::string& id) {
  Series series;
  for (unsigned c = 1; c <= 5; ++c)
    series.by_class[c] = &requests_.Add({{"endpoint", id}, {"status", std::to_string(c) + "xx"}});
  const prometheus::Histogram::BucketBoundaries bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                       0.05,   0.1,   0.25,   1,     5};
  series.seconds = &seconds_.Add({{"endpoint", id}}, bounds);
  return series;
}

void Metrics::add(const Endpoint& endpoint) { series_.emplace(&endpoint, make(std::string(endpoint.spec.id))); }

void Metrics::count(const Endpoint* endpoint, unsigned status, std::chrono::microseconds taken) {
  const auto found = series_.find(endpoint);
  const auto& series = found == series_.end() ? none_ : found->second;
  if (status >= 100 && status < 600) series.by_class[status / 100]->Increment();
  series.seconds->Observe(std::chrono::duration<double>(taken).count());
}

void Metrics::gauge(const std::string& name, const std::string& help, std::function<double()> read) {
  auto& made = prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({});
  const std::lock_guard lock(gauges_mutex_);
  gauges_.emplace_back(&made, std::move(read));
}

std::string Metrics::text() {
  const std::lock_guard lock(gauges_mutex_);
  for (const auto& [gauge, read] : gauges_) gauge->Set(read());
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace cairn::api
