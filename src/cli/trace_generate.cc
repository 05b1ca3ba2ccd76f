#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/trace.h"
#include "experts/routing_trace_file.h"
#include "experts/trace_generator.h"

namespace flashmoe::cli {
namespace {

struct GenerateTraceOptions {
  std::string path;
  TraceGeneratorOptions trace;
};

constexpr const char* kTraceGenerateExamples = R"(
Examples:
  flash-moe trace generate qcn.safetensors
  flash-moe trace generate switch.safetensors --switch 512 --seed 1
  flash-moe trace generate worst.safetensors --uniform --layers 8 --experts 128 --top-k 8

LRU hits 67 % of such a trace with an eighth of a layer's experts in memory and 81 % with a quarter, as is published
for 512 experts, top 10. `flash-moe trace info` prints its other statistics.)";

Status generate(const GenerateTraceOptions& options) {
  FM_ASSIGN_OR_RETURN(const RoutingTrace trace, generate_trace(options.trace));
  return write_routing_trace(options.path, trace);
}

}  // namespace

void add_trace_generate(CLI::App& trace, int& exit_code) {
  auto options = std::make_shared<GenerateTraceOptions>();
  CLI::App* command = trace.add_subcommand("generate", "Make up a trace with published hit rates");
  command->add_option("FILE", options->path, "The trace to write")->required();
  add_whole_number(*command, "--layers", options->trace.layer_count, {1, 1024},
                   "Layers with routed experts");
  add_whole_number(*command, "--tokens", options->trace.token_count, {1, 1 << 20}, "Tokens");
  add_whole_number(*command, "--experts", options->trace.num_experts, {1, 65536},
                   "Experts of a layer");
  add_whole_number(*command, "--top-k", options->trace.experts_per_token, {1, 65536},
                   "Experts of a token");
  add_whole_number(*command, "--seed", options->trace.seed, {}, "Another seed, another trace");
  command->add_flag("--uniform", options->trace.uniform,
                    "Every choice equally likely: the worst case for a cache");
  add_whole_number(*command, "--switch", options->trace.switch_every, {},
                   "Change the subject after every N tokens; 0: never");
  command->footer(kTraceGenerateExamples);
  command->callback([options, &exit_code] {
    const Status status = generate(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
