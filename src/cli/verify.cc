#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/budget_text.h"
#include "base/counts.h"
#include "base/memory_info.h"
#include "base/result.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/verification.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyOptions {
  EngineFlags engine;
  std::vector<std::string> budgets;
  std::vector<std::string> prompts;
  std::string ids_path;
  std::size_t max_tokens = 32;
  bool json = false;
};

constexpr const char* kVerifyExamples = R"(
Examples:
  flash-moe verify MODEL
  flash-moe verify MODEL --memory 8GiB,12GiB,17.7GB --max-tokens 64
  flash-moe verify MODEL --memory 12GiB -p "def add(a, b):" --json

Runs the same prompts at each budget, and fully resident where memory allows, and compares the bits of every logit and
every greedy token. The exit code is 0 only if all are the same.)";

const std::vector<std::string> kDefaultPrompts = {
    "The history of the city begins with the river, which",
    "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
    "春天来了，花园里的",
    "fn main() {\n    let values = vec![1, 2, 3];\n    for value in",
};

/// One way to run the model, and what came of it.
struct Run {
  std::string name;
  EngineOptions options;
  MemoryPlan plan;
  std::string io_backend;
  std::vector<OutputTrace> traces;  // by prompt
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t bytes_read = 0;
  std::size_t generated_tokens = 0;
  double decode_seconds = 0;
  std::string difference;  // from the first run; empty if there is none

  double hit_rate() const {
    return hits + misses == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(hits + misses);
  }
  double tokens_per_second() const {
    return decode_seconds > 0 ? static_cast<double>(generated_tokens) / decode_seconds : 0;
  }
};

Result<std::vector<std::vector<std::int32_t>>> read_prompts(const VerifyOptions& options,
                                                            const Engine& engine) {
  std::vector<std::vector<std::int32_t>> prompts;
  if (!options.ids_path.empty()) {
    FM_ASSIGN_OR_RETURN(prompts.emplace_back(), read_ids_file(options.ids_path));
    if (prompts.front().empty()) {
      return error(StatusCode::kInvalidArgument, "{}: holds no token ids", options.ids_path);
    }
    return prompts;
  }
  for (const std::string& text : options.prompts.empty() ? kDefaultPrompts : options.prompts) {
    FM_ASSIGN_OR_RETURN(std::vector<std::int32_t> ids, engine.tokenize_raw(text));
    if (ids.empty()) return error(StatusCode::kInvalidArgument, "--prompt: must not be empty");
    prompts.push_back(std::move(ids));
  }
  return prompts;
}

/// The runs to make: the fully resident one first where memory allows, then the budgets, then the
/// smallest of them once more with everything else changed that must not matter.
Result<std::vector<Run>> plan_runs(const VerifyOptions& options, const MemoryPlan& plan) {
  FM_ASSIGN_OR_RETURN(const EngineOptions base, engine_options(options.engine));
  std::vector<std::uint64_t> budgets;
  for (const std::string& text : options.budgets) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t budget, parse_memory(text));
    // Now rather than after the runs before it.
    if (budget < plan.budget_bytes_min) {
      return error(StatusCode::kOutOfBudget, "--memory {}: the smallest budget that works is {}",
                   text, budget_text(plan.budget_bytes_min));
    }
    budgets.push_back(budget);
  }
  if (budgets.empty()) {
    budgets = {(plan.budget_bytes_min + plan.budget_bytes_resident) / 2, plan.budget_bytes_min};
  }
  std::vector<Run> runs;
  const auto add = [&](std::string name, std::uint64_t budget) -> EngineOptions& {
    Run& run = runs.emplace_back();
    run.name = std::move(name);
    run.options = base;
    run.options.memory_bytes = budget;
    return run.options;
  };
  if (plan.budget_bytes_resident <= default_budget_bytes(read_memory_info())) {
    add("resident", plan.budget_bytes_resident);
  }
  for (const std::uint64_t budget : budgets) add("budget", budget);
  EngineOptions& other = add("other settings", *std::min_element(budgets.begin(), budgets.end()));
  other.threads = 1;
  other.prefill_chunk = 5;
  other.io = IoChoice::kPread;
  return runs;
}

/// `on_position` is called after each position of each prompt.
Status execute(Run& run, const VerifyOptions& options,
               std::span<const std::vector<std::int32_t>> prompts,
               const std::function<void()>& on_position) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(run.options));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  for (const std::vector<std::int32_t>& prompt : prompts) {
    GenerateStatistics statistics;
    FM_ASSIGN_OR_RETURN(OutputTrace trace,
                        trace_output(*session, engine->info().vocab_size, prompt,
                                     options.max_tokens, on_position, &statistics));
    run.traces.push_back(std::move(trace));
    run.generated_tokens += statistics.generated_tokens;
    run.decode_seconds += statistics.decode_seconds;
  }
  const EngineStatistics statistics = engine->statistics();
  run.plan = engine->memory_plan();
  run.io_backend = engine->io_backend();
  run.hits = statistics.expert_hits;
  run.misses = statistics.expert_misses;
  run.bytes_read = statistics.bytes_read;
  return Status();
}

Result<std::vector<float>> logits_of(const Run& run, const VerifyOptions& options,
                                     std::span<const std::int32_t> prompt, std::size_t position) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::open(run.options));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  return logits_at(*session, engine->info().vocab_size, prompt, options.max_tokens, position);
}

/// Says where `run` parts from `reference`, with the values, which it computes again.
Status describe_difference(const Run& reference, Run& run, const VerifyOptions& options,
                           std::span<const std::vector<std::int32_t>> prompts) {
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    const auto difference = first_difference(reference.traces[p], run.traces[p], prompts[p].size());
    if (!difference) continue;
    run.difference = fmt::format("prompt {}, position {}: {}", p + 1, difference->position,
                                 difference->token_differs ? "another token" : "other logits");
    FM_ASSIGN_OR_RETURN(const std::vector<float> a,
                        logits_of(reference, options, prompts[p], difference->position));
    FM_ASSIGN_OR_RETURN(const std::vector<float> b,
                        logits_of(run, options, prompts[p], difference->position));
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      if (fingerprint({&a[i], 1}) == fingerprint({&b[i], 1})) continue;
      run.difference +=
          fmt::format("; logit {} is {:a} here and {:a} in the first run", i, b[i], a[i]);
      break;
    }
    return Status();
  }
  return Status();
}

Status print_table(std::span<const Run> runs, std::size_t prompt_count) {
  std::string table = fmt::format("{:<15} {:>10} {:>8} {:>6} {:>9} {:>13} {:>7} {:>10} {:>9}  {}\n",
                                  "run", "memory", "threads", "chunk", "io", "experts", "hits",
                                  "read", "tokens/s", "identical");
  for (const Run& run : runs) {
    const std::size_t threads = run.options.threads;
    table += fmt::format(
        "{:<15} {:>10} {:>8} {:>6} {:>9} {:>13} {:>5.1f} % {:>10} {:>9.1f}  {}\n", run.name,
        format_size(run.plan.budget_bytes), threads == 0 ? "all" : std::to_string(threads),
        run.plan.prefill_chunk, run.io_backend,
        fmt::format("{} of {}", run.plan.expert_slots, run.plan.expert_count), 100 * run.hit_rate(),
        format_size(run.bytes_read), run.tokens_per_second(),
        &run == &runs.front() ? "(compared with)"
                              : (run.difference.empty() ? "yes" : "NO: " + run.difference));
  }
  std::size_t positions = 0;
  for (const OutputTrace& trace : runs.front().traces) {
    positions += trace.logits_fingerprints.size();
  }
  return print(table + fmt::format("{}, {}: the bits of every logit compared\n",
                                   counted(prompt_count, "prompt"),
                                   counted(positions, "position")));
}

Status print_report(std::span<const Run> runs, bool identical) {
  Json list = Json::array();
  for (const Run& run : runs) {
    Json entry = {{"name", run.name},
                  {"budget_bytes", run.plan.budget_bytes},
                  {"threads", run.options.threads},
                  {"prefill_chunk", run.plan.prefill_chunk},
                  {"io_backend", run.io_backend},
                  {"expert_slots", run.plan.expert_slots},
                  {"expert_count", run.plan.expert_count},
                  {"expert_hit_rate", run.hit_rate()},
                  {"bytes_read", run.bytes_read},
                  {"decode_tokens_per_second", run.tokens_per_second()},
                  {"identical", run.difference.empty()}};
    if (!run.difference.empty()) entry["difference"] = run.difference;
    list.push_back(std::move(entry));
  }
  return print_json({{"identical", identical}, {"runs", std::move(list)}});
}

Result<int> verify(const VerifyOptions& options) {
  // The first engine only tells what budgets there are, and the prompts' ids.
  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<Run> runs;
  {
    FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open_engine(options.engine));
    FM_ASSIGN_OR_RETURN(prompts, read_prompts(options, *engine));
    FM_ASSIGN_OR_RETURN(runs, plan_runs(options, engine->memory_plan()));
  }
  std::size_t positions = 0;
  for (const std::vector<std::int32_t>& prompt : prompts) {
    positions += prompt.size() + options.max_tokens - 1;  // nothing follows the last token
  }
  ProgressBar bar("verifying");
  std::size_t positions_done = 0;
  const auto on_position = [&] { bar.update(++positions_done, runs.size() * positions); };
  bool identical = true;
  for (Run& run : runs) {
    const Status status = execute(run, options, prompts, on_position);
    if (!status.ok()) return status.with_prefix(run.name);
    if (&run != &runs.front()) {
      FM_RETURN_IF_ERROR(describe_difference(runs.front(), run, options, prompts));
    }
    identical = identical && run.difference.empty();
  }
  bar.clear();
  FM_RETURN_IF_ERROR(options.json ? print_report(runs, identical)
                                  : print_table(runs, prompts.size()));
  return identical ? kExitOk : kExitFailure;
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command =
      app.add_subcommand("verify", "Prove that the output does not depend on the budget");
  add_model_argument(*command, options->engine.model);
  add_engine_flags(*command, options->engine);
  command->remove_option(command->get_option("--memory"));
  command
      ->add_option("--memory", options->budgets,
                   "Budgets to compare, as 8GiB,12GiB; default: the smallest and a middling one")
      ->delimiter(',')
      ->allow_extra_args(false)  // one list: the next word may be MODEL
      ->type_name("SIZE,...")
      ->configurable(false)
      ->group(kModelOptions);
  CLI::Option* prompt =
      command->add_option("-p,--prompt", options->prompts, "A text to continue; may be repeated")
          ->allow_extra_args(false)
          ->type_name("TEXT")
          ->group(kPromptOptions);
  command
      ->add_option("--ids-file", options->ids_path,
                   "The prompt as token ids: a JSON array, or numbers between spaces")
      ->excludes(prompt)
      ->type_name("FILE")
      ->group(kPromptOptions);
  add_whole_number(*command, "-n,--max-tokens,--n-predict", options->max_tokens,
                   {1, std::uint64_t{1} << 20}, "Tokens to generate after each, greedily")
      ->configurable(false)
      ->group(kPromptOptions);
  command->add_flag("--json", options->json, "Print one JSON object")->group(kOutputOptions);
  command->footer(kVerifyExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = verify(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
