#include "validation/validate.h"

#include <fmt/ranges.h>

#include <array>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/memory_info.h"
#include "base/units.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

using RunExperiment = Result<Experiment> (*)(Lab&);

constexpr std::array<RunExperiment, kExperimentCount> kExperiments = {
    run_drop_caches,     run_capacity_sweep, run_prompts,    run_token_profile,   run_cycles,
    run_discovery_depth, run_stale_cache,    run_cold_start, run_long_generation, run_end_to_end};

/// Of the control groups that this process is in: under one, experiment 2 shows memory pressure.
std::string memory_limit() {
  const MemoryInfo info = read_memory_info();
  return info.cgroup ? fmt::format("{} by a control group", format_size(info.limit_bytes()))
                     : "none beside the machine's";
}

Status write_file(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path unfinished = path.string() + ".unfinished";
  {
    std::ofstream file(unfinished, std::ios::binary);
    file << content;
    file.close();
    if (!file) {
      std::error_code ignored;
      std::filesystem::remove(unfinished, ignored);
      return error(StatusCode::kIo, "{}: writing the report failed; check the folder and its disk",
                   path.string());
    }
  }
  std::error_code failed;
  std::filesystem::rename(unfinished, path, failed);
  if (!failed) return Status();
  return error(StatusCode::kIo, "{}: {}", path.string(), failed.message());
}

}  // namespace

ValidationScale full_scale() { return {}; }

ValidationScale quick_scale() {
  return {.tokens = 10,
          .profile_tokens = 12,
          .repeats = 1,
          .cycles = 3,
          .prompt_count = 3,
          .long_tokens = {24},
          .sweep = {160, 256},
          .wide_sweep = {},
          .depths = {5, 10, 20}};
}

Result<ValidationReport> validate(const ValidateOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Workbench> bench, Workbench::create(options.bench));
  Lab lab(*bench, options.scale);
  ValidationReport report;
  const ModelInfo& info = bench->info();
  report.setting = {
      {"model", fmt::format("{}: {} layers, {} experts, {} of them for a token",
                            printable(options.bench.model.filename().string()), info.layer_count,
                            info.num_experts, info.num_experts_per_tok)},
      {"memory", options.bench.memory_bytes == 0
                     ? fmt::format("what is free, {} of it",
                                   format_size(default_budget_bytes(read_memory_info())))
                     : format_size(options.bench.memory_bytes)},
      {"memory limit", memory_limit()},
      {"answers", fmt::format("{} tokens, greedy", options.scale.tokens)},
      {"timed trials", fmt::format("{} each, in turns; medians", options.scale.repeats)},
      {"experiments", fmt::format("{}", fmt::join(options.experiments, ", "))}};
  report.definitions = Lab::definitions();
  for (const int number : options.experiments) {
    lab.on_trial = [&](const std::string& trial) {
      return !options.on_trial || options.on_trial(number, trial);
    };
    const RunExperiment run = kExperiments[static_cast<std::size_t>(number - 1)];
    Result<Experiment> experiment = run(lab);
    if (!experiment.ok()) {
      return experiment.status().with_prefix(fmt::format("experiment {}", number));
    }
    report.experiments.push_back(std::move(*experiment));
  }
  report.claims = judge_claims(lab.figures());
  report.origin_arithmetic = origin_arithmetic();
  return report;
}

Status write_report(const ValidationReport& report, const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return error(StatusCode::kIo, "{}: {}", folder.string(), failed.message());
  FM_RETURN_IF_ERROR(write_file(
      folder / "report.json",
      to_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  FM_RETURN_IF_ERROR(write_file(folder / "report.md", to_markdown(report)));
  return write_file(folder / "index.html", to_html(report));
}

}  // namespace flashmoe
