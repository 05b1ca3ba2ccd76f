#ifndef FLASHMOE_SERVER_METRICS_H_
#define FLASHMOE_SERVER_METRICS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/engine.h"
#include "flashmoe/scheduler.h"
#include "server/reply.h"

namespace flashmoe::server {

/// Counts observations by upper bounds, as Prometheus has it.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void observe(double value);
  void append(std::string& out, std::string_view name, std::string_view help) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

/// What a server has done, in Prometheus' text format: names as llama-server ("llamacpp:") and vLLM
/// ("vllm:") have them where the metric is the same, and ours under "flashmoe_". Any thread.
class Metrics {
 public:
  void record(const ReplyRecord& record);
  std::string text(const std::string& model, const SchedulerStatistics& scheduler,
                   const MemoryPlan& plan, std::uint64_t rss_bytes, std::size_t connections) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> finished_;   // by finish reason
  std::map<std::string, std::uint64_t> responses_;  // by endpoint and status
  Histogram first_token_{{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300}};
  Histogram token_{{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}};
  Histogram total_{{0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000}};
  Histogram queue_{{0.001, 0.01, 0.1, 1, 10, 100}};
  Histogram prompt_tokens_{{16, 64, 256, 1024, 4096, 16384, 65536}};
  Histogram generated_tokens_{{1, 4, 16, 64, 256, 1024, 4096}};
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_METRICS_H_
