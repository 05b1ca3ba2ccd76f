#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flashmoe::server {
namespace {

using ::testing::HasSubstr;

TEST(Histogram, CountsUpToEachBound) {
  Histogram histogram({1, 10});
  for (const double value : {0.5, 1.0, 5.0, 100.0}) histogram.observe(value);
  std::string out;
  histogram.append(out, "x", "Help.");
  EXPECT_EQ(out,
            "# HELP x Help.\n# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_bucket{le=\"10\"} 3\n"
            "x_bucket{le=\"+Inf\"} 4\nx_sum 106.5\nx_count 4\n");
}

TEST(Metrics, AreInPrometheusTextFormat) {
  Metrics metrics;
  metrics.record({.endpoint = "/v1/chat/completions",
                  .finish = "stop",
                  .counts = {.prompt_tokens = 20, .completion_tokens = 3},
                  .total_seconds = 0.5,
                  .first_token_seconds = 0.2});
  metrics.record({.endpoint = "other", .status = 404});
  const SchedulerStatistics scheduler{.running = 2, .prompt_tokens = 20, .cached_tokens = 5};
  const std::string text = metrics.text("a \"model\"", scheduler, {}, 1000, 3);
  EXPECT_THAT(text, HasSubstr("llamacpp:prompt_tokens_total 15\n"));
  EXPECT_THAT(text, HasSubstr("vllm:num_requests_running{model_name=\"a \\\"model\\\"\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("finished_reason=\"stop\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("flashmoe_http_responses_total{endpoint=\"other\",status=\"404\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vllm:time_to_first_token_seconds_count 1\n"));
  // Each metric has its type once, before its values.
  std::map<std::string, int> types;
  std::size_t at = 0;
  while ((at = text.find("# TYPE ", at)) != std::string::npos) {
    ++types[text.substr(at, text.find(' ', at + 7) - at)];
    ++at;
  }
  for (const auto& [name, count] : types) EXPECT_EQ(count, 1) << name;
}

}  // namespace
}  // namespace flashmoe::server
