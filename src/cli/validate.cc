#include "validation/validate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/interrupt.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"

namespace flashmoe::cli {
namespace {

struct ValidateFlags {
  std::string model;
  std::string folder;
  std::string memory;
  std::size_t threads = 0;
  bool quick = false;
  std::vector<int> experiments;
};

constexpr const char* kValidateExamples = R"(
Experiments: 1 caches dropped, 2 capacities, 3 twelve prompts, 4 an async switch token by token, 5 cycles,
6 discovery depth, 7 a stale cache, 8 cold start, 9 long answers, 10 all modes end to end.

Examples:
  flash-moe validate MODEL --out validation
  flash-moe validate MODEL --suite 8,10 --memory 17.7GB --out cold
  flash-moe validate MODEL --quick --out look

DIR/index.html is a page to look at; report.md and report.json say the same.)";

/// Runs the experiments and writes the report.
Result<int> measure(const ValidateFlags& flags, ValidateOptions options) {
  const InterruptGuard interrupt;
  ProgressBar bar("validating");

  options.on_trial = [&](int experiment, const std::string&) {
    const auto at = std::ranges::find(options.experiments, experiment);
    bar.update(static_cast<std::uint64_t>(at - options.experiments.begin()),
               options.experiments.size());
    return !interrupt.interrupted();
  };
  Result<ValidationReport> report = validate(options);
  bar.clear();
  if (report.status().code() == StatusCode::kCancelled) {
    cli::report(report.status());
    return interrupt.exit_code();
  }
  FM_RETURN_IF_ERROR(report.status());
  FM_RETURN_IF_ERROR(write_report(*report, flags.folder));
  std::string text;
  for (const Claim& claim : report->claims) {
    text += fmt::format("{:<18} {}\n", claim.verdict, claim.claim);
  }
  FM_RETURN_IF_ERROR(print(fmt::format("{}\n{}/index.html\n", text, flags.folder)));
  return kExitOk;
}

Result<int> run(const ValidateFlags& flags) {
  ValidateOptions options;
  options.bench.model = flags.model;
  options.bench.threads = flags.threads;
  if (!flags.memory.empty()) {
    FM_ASSIGN_OR_RETURN(options.bench.memory_bytes, parse_memory(flags.memory));
  }
  options.scale = flags.quick ? quick_scale() : full_scale();
  options.experiments = flags.experiments;
  for (int number = 1; flags.experiments.empty() && number <= kExperimentCount; ++number) {
    options.experiments.push_back(number);
  }
  std::ranges::sort(options.experiments);
  options.experiments.erase(std::unique(options.experiments.begin(), options.experiments.end()),
                            options.experiments.end());

  // Before hours of work rather than after them.
  std::error_code failed;
  const bool is_new = std::filesystem::create_directories(flags.folder, failed);
  if (failed || !std::filesystem::is_directory(flags.folder)) {
    return error(StatusCode::kIo, "--out {}: no folder can be made there", flags.folder);
  }
  Result<int> outcome = measure(flags, options);
  if (is_new) std::filesystem::remove(flags.folder, failed);  // where nothing came of it: empty
  return outcome;
}

}  // namespace

void add_validate(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<ValidateFlags>();
  CLI::App* command = app.add_subcommand(
      "validate", "Measure residency modes by the experiments of the system this one starts from");
  add_model_argument(*command, flags->model);
  command->add_option("--out", flags->folder, "Folder for the report")
      ->required()
      ->type_name("DIR")
      ->group(kOutputOptions);
  command->add_option("--suite", flags->experiments, "Experiments, as 1,2,8; default: all")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        return check_whole_number(text, {1, static_cast<std::uint64_t>(kExperimentCount)});
      })
      ->type_name("N,...")
      ->group(kOutputOptions);
  command
      ->add_flag("--quick", flags->quick,
                 "So little of everything that it takes seconds: to see that it works")
      ->group(kOutputOptions);
  command
      ->add_option("--memory", flags->memory,
                   "Memory of each engine, as 12GiB; default: what is free")
      ->type_name("SIZE")
      ->group(kModelOptions);
  add_whole_number(*command, "-t,--threads", flags->threads, {1, ThreadPool::kThreadCountMax},
                   "Threads that compute; default: one for each core")
      ->default_str("")
      ->group(kModelOptions);
  command->footer(kValidateExamples);
  command->callback([flags, &exit_code] {
    const Result<int> result = run(*flags);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
