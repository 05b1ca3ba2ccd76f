#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/memory_info.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/sampling_flags.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {
namespace {

struct RunOptions {
  EngineFlags engine;
  SamplingFlags sampling;
  std::string prompt;
  bool has_prompt = false;
  std::string prompt_path;
  std::string ids_path;
  bool json = false;
};

constexpr const char* kExamples = R"(
Examples:
  flash-moe run MODEL -p "Once upon a time"
  flash-moe run MODEL --memory 12GiB --max-tokens 100 --temperature 0.7 --seed 1 -p "def add(a, b):"
  flash-moe run MODEL --prompt-file question.txt --json
  echo "The sea" | flash-moe run MODEL
  flash-moe run MODEL --ids-file ids.json --max-tokens 48
  flash-moe run MODEL --residency lfu --capacity 48 --on-miss renormalise -p "The sea")";

/// The prompt's tokens, from whichever of the four sources the user chose.
Result<std::vector<std::int32_t>> prompt_ids(const RunOptions& options, const Engine& engine) {
  if (!options.ids_path.empty()) return read_ids_file(options.ids_path);
  if (options.has_prompt) return engine.tokenize(options.prompt);
  const std::string path = options.prompt_path.empty() ? "-" : options.prompt_path;
  if (path == "-" && isatty(STDIN_FILENO) != 0) {
    print_note("Type the prompt; Ctrl-D on an empty line ends it.\n");
  }
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  Result<std::vector<std::int32_t>> ids = engine.tokenize(text);
  if (!ids.ok()) return ids.status().with_prefix(path == "-" ? "standard input" : path);
  return ids;
}

double per_second(std::size_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

/// Tokens that decoding alone took: the first one falls to prefill.
std::size_t decoded_count(const GenerateStatistics& statistics) {
  return statistics.generated_tokens > 0 ? statistics.generated_tokens - 1 : 0;
}

double hit_rate(std::uint64_t hits, std::uint64_t misses) {
  return hits + misses > 0 ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0;
}

/// What makes this output another than the model's own, if anything does.
nlohmann::ordered_json exactness_json(const EngineFlags& flags, const EngineStatistics& total) {
  nlohmann::ordered_json json = {{"routing", flags.routing_trace.empty() ? "model" : "replayed"},
                                 {"residency", to_string(flags.residency.residency)},
                                 {"on_miss", to_string(flags.residency.on_miss)},
                                 {"approximate", flags.residency.is_approximate()}};
  if (!flags.routing_trace.empty()) json["routing_trace"] = flags.routing_trace;
  if (!flags.residency.is_approximate()) return json;
  json["routed_requests"] = total.routed_requests;
  json["routed_fallbacks"] = total.routed_fallbacks;
  json["routed_reads"] = total.routed_reads;
  json["fallback_rate"] = fallback_rate(total);
  json["replaced_weight_share"] = total.replaced_weight_share;
  return json;
}

nlohmann::ordered_json to_json(const GenerateResult& result, const Engine& engine,
                               const EngineFlags& flags) {
  const GenerateStatistics& run = result.statistics;
  const EngineStatistics total = engine.statistics();
  const MemoryPlan& plan = engine.memory_plan();
  nlohmann::ordered_json json = {
      {"text", result.text},
      {"token_ids", result.token_ids},
      {"finish_reason", to_string(result.finish_reason)},
      {"statistics",
       {{"prompt_tokens", run.prompt_tokens},
        {"generated_tokens", run.generated_tokens},
        {"load_seconds", total.load_seconds},
        {"prefill_seconds", run.prefill_seconds},
        {"prefill_tokens_per_second", per_second(run.prompt_tokens, run.prefill_seconds)},
        {"time_to_first_token_seconds", run.time_to_first_token_seconds},
        {"decode_seconds", run.decode_seconds},
        {"decode_tokens_per_second", per_second(decoded_count(run), run.decode_seconds)},
        {"expert_hit_rate", hit_rate(run.expert_hits, run.expert_misses)},
        {"expert_hits", run.expert_hits},
        {"expert_misses", run.expert_misses},
        {"experts_restored", total.experts_restored},
        {"speculative_reads", total.speculative_reads},
        {"speculative_hits", total.speculative_hits},
        {"expert_wait_seconds", run.expert_wait_seconds},
        {"expert_slots", plan.expert_slots},
        {"expert_slot_limit", total.expert_slot_limit},
        {"cache_shrinks", total.cache_shrinks},
        {"cache_growths", total.cache_growths},
        {"expert_limit_evictions", total.expert_limit_evictions},
        {"expert_count", plan.expert_count},
        {"bytes_read", total.bytes_read},
        {"expert_bytes_read", run.bytes_read},
        {"peak_rss_bytes", read_process_memory().peak_rss_bytes},
        {"budget_bytes", plan.budget_bytes},
        {"huge_page_bytes", engine.huge_page_bytes()},
        {"context", plan.context},
        {"prefill_chunk", plan.prefill_chunk},
        {"cpu_target", engine.cpu_target()},
        {"io_backend", engine.io_backend()}}}};
  json["statistics"].update(exactness_json(flags, total));
  return json;
}

void print_statistics(const GenerateResult& result, const Engine& engine,
                      const EngineFlags& flags) {
  const GenerateStatistics& run = result.statistics;
  const EngineStatistics total = engine.statistics();
  const MemoryPlan& plan = engine.memory_plan();
  print_note(fmt::format(
      "prefill {} tokens, {:.1f}/s | decode {} tokens, {:.1f}/s | first token {} | experts: "
      "{} of {} in memory, {:.1f} % hits | read {} | peak memory {} of {}\n",
      run.prompt_tokens, per_second(run.prompt_tokens, run.prefill_seconds), run.generated_tokens,
      per_second(decoded_count(run), run.decode_seconds),
      format_seconds(run.time_to_first_token_seconds), plan.expert_slots, plan.expert_count,
      100 * hit_rate(run.expert_hits, run.expert_misses), format_size(total.bytes_read),
      format_size(read_process_memory().peak_rss_bytes), format_size(plan.budget_bytes)));
  if (total.cache_shrinks > 0) {
    print_note(fmt::format(
        "memory was short: the expert cache shrank {} times and grew {} times; {} of {} slots "
        "now\n",
        total.cache_shrinks, total.cache_growths, total.expert_slot_limit, plan.expert_slots));
  }
  if (!flags.routing_trace.empty()) {
    print_note(
        fmt::format("routing was replayed from {}: the text means nothing\n", flags.routing_trace));
  }
  if (flags.residency.is_approximate()) {
    print_note(describe_approximation(flags.residency, total) + "\n");
  }
}

Result<int> run_on(Engine& engine, const RunOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, prompt_ids(options, engine));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine.new_session());

  InterruptGuard interrupt;
  ProgressBar bar("reading the prompt");
  Status printed;
  GenerateOptions generate = options.sampling.generate;
  generate.on_prompt = [&](std::size_t done, std::size_t total) {
    bar.update(done, total);
    return !interrupt.interrupted();
  };
  generate.on_text = [&](std::string_view text) {
    bar.clear();
    if (!options.json) printed = print(text);
    return printed.ok() && !interrupt.interrupted();
  };
  FM_ASSIGN_OR_RETURN(const GenerateResult result, session->generate(ids, generate));
  bar.clear();
  FM_RETURN_IF_ERROR(printed);
  if (options.json) {
    FM_RETURN_IF_ERROR(print_json(to_json(result, engine, options.engine)));
  } else {
    FM_RETURN_IF_ERROR(print("\n"));
    print_statistics(result, engine, options.engine);
  }
  return interrupt.interrupted() ? interrupt.exit_code() : kExitOk;
}

Result<int> run(const RunOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open_engine(options.engine));
  return finish_trace(options.engine, *engine, run_on(*engine, options));
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Continue a text");
  add_engine_flags(*command, options->engine);
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "Text to continue");
  CLI::Option* file = command->add_option("--prompt-file", options->prompt_path,
                                          "Take the prompt from a file; - is standard input");
  CLI::Option* ids = command->add_option(
      "--ids-file", options->ids_path,
      "Take token ids from a file: a JSON array, or numbers separated by white space");
  prompt->excludes(file)->excludes(ids);
  file->excludes(ids);
  add_sampling_flags(*command, options->sampling);
  add_record_trace_flag(*command, options->engine);
  add_routing_trace_flag(*command, options->engine);
  add_resident_set_flag(*command, options->engine);
  add_residency_flags(*command, options->engine, /*with_misses=*/true);
  command->add_flag("--json", options->json, "Print one JSON object instead of streaming");
  command->footer(kExamples);
  command->callback([options, prompt, &exit_code] {
    options->has_prompt = prompt->count() > 0;
    const Result<int> result = run(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
