#include "cli/trace.h"

#include "cli/commands.h"

namespace flashmoe::cli {

void add_trace(CLI::App& app, int& exit_code) {
  CLI::App* trace = app.add_subcommand(
      "trace", "Routing traces: which experts were used, and what a cache makes of it");
  trace->require_subcommand(1);
  add_trace_info(*trace, exit_code);
  add_trace_replay(*trace, exit_code);
  add_trace_compare(*trace, exit_code);
  add_trace_autotune(*trace, exit_code);
  add_trace_generate(*trace, exit_code);
  trace->footer(R"(
Examples:
  flash-moe run MODEL --raw "Once upon a time" --record-trace once.safetensors
  flash-moe trace info once.safetensors
  flash-moe trace replay once.safetensors --policy lfu,lru,belady --slots 16,32,64)");
}

}  // namespace flashmoe::cli
