#ifndef FLASHMOE_CLI_BENCHMARK_PLOT_H_
#define FLASHMOE_CLI_BENCHMARK_PLOT_H_

#include <string>

#include "cli/benchmark_report.h"

namespace flashmoe::cli {

/// Tokens per second by budget, decode above prefill, as an SVG document that needs nothing else:
/// medians on a line, with the spread over runs as bars. Readable on light and on dark ground.
std::string to_svg(const BenchReport& report);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_BENCHMARK_PLOT_H_
