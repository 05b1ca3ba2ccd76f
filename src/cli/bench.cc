#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "base/budget_text.h"
#include "base/child_process.h"
#include "base/memory_info.h"
#include "base/model_download.h"
#include "base/result.h"
#include "base/units.h"
#include "cli/benchmark.h"
#include "cli/benchmark_plot.h"
#include "cli/benchmark_report.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "io/page_cache.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe::cli {
namespace {

struct BenchFlags {
  EngineFlags engine;
  std::vector<std::string> budgets;
  std::size_t prompt_tokens = 512;
  std::size_t decode_tokens = 64;
  std::size_t repeat = 3;
  std::uint64_t seed = 0;
  std::string text_path;
  std::string ids_path;
  bool cold = true;
  bool json = false;
  std::string svg_path;
};

constexpr const char* kBenchExamples = R"(
Examples:
  flash-moe bench MODEL
  flash-moe bench MODEL --memory 8GB,12GB,17.7GB --text-file book.txt --svg speed.svg
  flash-moe bench MODEL --memory 12GiB --prompt-tokens 4096 --decode-tokens 128 --repeat 5 --json
  flash-moe bench MODEL --memory 12GiB --text-file book.txt --speculation both
  flash-moe bench SYNTHETIC --memory 12GiB --routing-trace routing.safetensors:python

Every run is a process of its own, which opens the model, reads the prompt and decodes; budgets take turns. The tokens
are given, not sampled, so every run does the same work. Random tokens (the default) route like nothing that people
write: for figures that a user will meet, give a text, or for a model of random weights the routing of a real one.)";

/// Runs `work` in a child process and reads the JSON that it gives.
template <typename T, typename Work>
Result<T> measured_apart(Work work) {
  FM_ASSIGN_OR_RETURN(const std::string text, run_in_child([&]() -> Result<std::string> {
                        FM_ASSIGN_OR_RETURN(const T value, work());
                        return nlohmann::json(value).dump();
                      }));
  return nlohmann::json::parse(text).get<T>();
}

std::vector<std::int32_t> random_ids(std::uint64_t seed, std::size_t count,
                                     std::uint64_t vocab_size) {
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % vocab_size);
  return ids;
}

Result<std::vector<std::int32_t>> ids_of_text(const BenchFlags& flags) {
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(flags.text_path));
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                      Tokenizer::load(flags.engine.model));
  Result<std::vector<std::int32_t>> ids = tokenizer->encode(text);
  return ids.ok() ? ids : ids.status().with_prefix(flags.text_path);
}

/// The ids that runs are fed, from whichever source the user chose.
Result<BenchTokens> load_tokens(const BenchFlags& flags, const BenchModel& model) {
  const std::size_t pass = flags.prompt_tokens + flags.decode_tokens;
  const std::size_t needed = flags.cold ? pass : 2 * pass;
  std::vector<std::int32_t> ids;
  if (!flags.ids_path.empty()) {
    FM_ASSIGN_OR_RETURN(ids, read_ids_file(flags.ids_path));
  } else if (!flags.text_path.empty()) {
    // Apart: a tokenizer's memory would count in the peak of every run.
    FM_ASSIGN_OR_RETURN(
        ids, measured_apart<std::vector<std::int32_t>>([&] { return ids_of_text(flags); }));
  } else {
    ids = random_ids(flags.seed, needed, model.vocab_size);
  }
  if (ids.size() < needed) {
    return error(StatusCode::kInvalidArgument,
                 "{} has {} tokens, {} are needed for {} + {}{}: give more, or lower "
                 "--prompt-tokens or --decode-tokens",
                 flags.ids_path.empty() ? flags.text_path : flags.ids_path, ids.size(), needed,
                 flags.prompt_tokens, flags.decode_tokens,
                 flags.cold ? "" : ", and as many to warm up");
  }
  const auto at = [&](std::size_t i) { return ids.begin() + static_cast<std::ptrdiff_t>(i); };
  return BenchTokens{.warm_up = {at(pass), at(needed)},
                     .prompt = {at(0), at(flags.prompt_tokens)},
                     .decode = {at(flags.prompt_tokens), at(pass)}};
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

std::string token_source(const BenchFlags& flags) {
  if (!flags.ids_path.empty()) return "ids of " + file_name(flags.ids_path);
  if (!flags.text_path.empty()) return "text of " + file_name(flags.text_path);
  return fmt::format("random ids of seed {}", flags.seed);
}

/// The budgets asked for; else the smallest one, the one that holds every expert or the most that
/// is free, and two between.
Result<std::vector<std::uint64_t>> choose_budgets(const BenchFlags& flags,
                                                  const BenchModel& model) {
  std::vector<std::uint64_t> budgets;
  for (const std::string& text : flags.budgets) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t budget, parse_memory(text));
    budgets.push_back(budget);
  }
  const std::uint64_t least = model.budget_bytes_min;
  if (budgets.empty()) {
    const std::uint64_t most = std::max(
        least, std::min(model.budget_bytes_resident, default_budget_bytes(read_memory_info())));
    const std::uint64_t quarter = (most - least) / 4;
    budgets = {least, least + quarter, least + 2 * quarter, most};
    budgets.erase(std::unique(budgets.begin(), budgets.end()), budgets.end());
  }
  for (const std::uint64_t budget : budgets) {
    if (budget >= least) continue;
    return error(StatusCode::kOutOfBudget,
                 "--memory: {} is too little; this model takes {} with this context",
                 format_size(budget), budget_text(least));
  }
  return budgets;
}

Status drop_model_from_page_cache(const std::filesystem::path& model) {
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(model, failure)) {
    if (entry.is_regular_file(failure)) FM_RETURN_IF_ERROR(drop_page_cache(entry.path()));
  }
  if (failure) {
    return error(StatusCode::kIo, "{}: list the folder: {}", model.string(), failure.message());
  }
  return Status();
}

/// One run for each budget, then again from the first, so that a machine that grows slower or
/// faster meanwhile does so for all of them.
Status run_in_turns(const BenchFlags& flags, const EngineOptions& base, const BenchTokens& tokens,
                    BenchReport& report) {
  ProgressBar bar("measuring");
  const std::size_t total = flags.repeat * report.budgets.size();
  for (std::size_t i = 0; i < total; ++i) {
    BenchBudget& budget = report.budgets[i % report.budgets.size()];
    if (flags.cold) FM_RETURN_IF_ERROR(drop_model_from_page_cache(base.model));
    bar.update(i, total);
    EngineOptions options = base;
    options.memory_bytes = budget.budget_bytes;
    options.speculation = budget.speculation;
    Result<BenchRun> run =
        measured_apart<BenchRun>([&] { return measure_run(report.model, options, tokens); });
    if (!run.ok()) {
      return run.status().with_prefix(fmt::format("--memory {}", format_size(budget.budget_bytes)));
    }
    budget.runs.push_back(std::move(run).value());
  }
  return Status();
}

Status write_svg(const std::string& path, const BenchReport& report) {
  std::ofstream file(path, std::ios::binary);
  file << to_svg(report);
  file.close();
  if (file.good()) return Status();
  return error(StatusCode::kIo, "{}: write the plot: {}; check that the folder exists", path,
               std::generic_category().message(errno));
}

/// The most tokens of a run: as every command has it, or what the run takes.
std::size_t choose_context(const BenchFlags& flags) {
  const std::size_t pass = flags.prompt_tokens + flags.decode_tokens;
  return flags.engine.context == 0 && pass > kDefaultContext ? pass : flags.engine.context;
}

/// Speculative reads on, off, or one beside the other.
std::vector<bool> speculations(const EngineFlags& flags) {
  if (flags.speculation == "both") return {false, true};
  return {flags.speculation == "on"};
}

Result<int> bench(const BenchFlags& flags) {
  FM_ASSIGN_OR_RETURN(EngineOptions options, engine_options(flags.engine));
  options.context = choose_context(flags);
  BenchReport report;
  report.model_name = model_name(options.model);
  report.prompt_tokens = flags.prompt_tokens;
  report.decode_tokens = flags.decode_tokens;
  report.repeat = flags.repeat;
  report.cold = flags.cold;
  report.token_source = token_source(flags);
  report.routing_trace = file_name(flags.engine.routing_trace);
  FM_ASSIGN_OR_RETURN(report.model,
                      measured_apart<BenchModel>([&] { return describe_model(options); }));
  if (flags.prompt_tokens + flags.decode_tokens > report.model.context) {
    return error(StatusCode::kInvalidArgument,
                 "--prompt-tokens and --decode-tokens: {} + {} exceed the context of {}; lower "
                 "them, or raise --context",
                 flags.prompt_tokens, flags.decode_tokens, report.model.context);
  }
  FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> budgets,
                      choose_budgets(flags, report.model));
  for (const std::uint64_t budget : budgets) {
    for (const bool speculation : speculations(flags.engine)) {
      report.budgets.push_back({.budget_bytes = budget, .speculation = speculation, .runs = {}});
    }
  }
  FM_ASSIGN_OR_RETURN(const BenchTokens tokens, load_tokens(flags, report.model));
  FM_ASSIGN_OR_RETURN(report.ceilings, measured_apart<BenchCeilings>([&] {
                        return measure_ceilings(report.model, options);
                      }));
  FM_RETURN_IF_ERROR(run_in_turns(flags, options, tokens, report));
  // Before the plot, which may fail: the figures took long to get.
  FM_RETURN_IF_ERROR(flags.json ? print_json(to_json(report)) : print(to_text(report)));
  if (!flags.svg_path.empty()) FM_RETURN_IF_ERROR(write_svg(flags.svg_path, report));
  return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode at several budgets");
  add_model_argument(*command, flags->engine.model);
  add_engine_flags(*command, flags->engine);
  command->remove_option(command->get_option("--memory"));
  command
      ->add_option("--memory", flags->budgets,
                   "Budgets to measure, as 8GiB,12GiB; default: four, from the smallest to the one "
                   "that holds every expert, or to what is free")
      ->delimiter(',')
      ->allow_extra_args(false)  // one list: the next word may be MODEL
      ->type_name("SIZE,...")
      ->configurable(false)
      ->group(kModelOptions);
  command->remove_option(command->get_option("--speculation"));
  choose_from(command->add_option("--speculation", flags->engine.speculation,
                                  "Read experts on a guess while the disk is idle, or both in "
                                  "turns"),
              {"on", "off", "both"})
      ->capture_default_str()
      ->configurable(false)
      ->group(kSpeedOptions);
  const WholeRange tokens_range = {1, std::uint64_t{1} << 24};
  add_whole_number(*command, "--prompt-tokens", flags->prompt_tokens, tokens_range,
                   "Tokens of the prompt")
      ->group(kPromptOptions);
  add_whole_number(*command, "--decode-tokens", flags->decode_tokens, tokens_range,
                   "Tokens decoded after it")
      ->group(kPromptOptions);
  add_whole_number(*command, "--repeat", flags->repeat, {1, 1000}, "Runs at each budget")
      ->group(kPromptOptions);
  CLI::Option* seed = add_whole_number(*command, "--seed", flags->seed, {}, "Of the random tokens")
                          ->group(kPromptOptions);
  CLI::Option* text = command
                          ->add_option("--text-file", flags->text_path,
                                       "Take the tokens from a text; - is standard input")
                          ->type_name("FILE")
                          ->group(kPromptOptions);
  CLI::Option* ids =
      command
          ->add_option("--ids-file", flags->ids_path,
                       "Take token ids from a file: a JSON array, or numbers separated by white "
                       "space")
          ->type_name("FILE")
          ->group(kPromptOptions);
  text->excludes(ids)->excludes(seed);
  ids->excludes(seed);
  add_routing_trace_flag(*command, flags->engine);
  command
      ->add_flag("--cold,!--warm", flags->cold,
                 "Drop the page cache before each run (the default); or first run as many "
                 "other tokens through the model")
      ->group(kPromptOptions);
  command->add_flag("--json", flags->json, "Print one JSON object")->group(kOutputOptions);
  command->add_option("--svg", flags->svg_path, "Write a plot of tokens/s by budget")
      ->type_name("FILE")
      ->group(kOutputOptions);
  command->footer(kBenchExamples);
  command->callback([flags, &exit_code] {
    const Result<int> code = bench(*flags);
    exit_code = code.ok() ? *code : report(code.status());
  });
}

}  // namespace flashmoe::cli
