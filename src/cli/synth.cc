#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "base/counts.h"
#include "base/result.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "flashmoe/synthesis.h"

namespace flashmoe::cli {
namespace {

struct SynthFlags {
  SynthesisOptions options;
  std::string shard_size;
  bool dry_run = false;
};

constexpr const char* kSynthExamples = R"(
Examples:
  flash-moe synth --like qwen3-coder-next OUT
  flash-moe synth --like qwen3-coder-next --layers 8 --experts 128 --seed 1 OUT
  flash-moe synth --config config.json OUT
  flash-moe synth --like qwen3-next-80b --dry-run OUT
  flash-moe synth --like qwen3-30b-a3b --gguf q4_k_m OUT.gguf

Writes a model folder in the layout of an MLX 4-bit conversion, or a GGUF file as llama.cpp's quantiser makes it, with
pseudo-random weights: for measuring, not for reading what it says. Routing is nearly uniform, the worst case for any cache.)";

Result<SynthesisSummary> synthesize(SynthFlags& flags, const InterruptGuard& interrupt) {
  if (!flags.shard_size.empty()) {
    if (!flags.options.gguf.empty()) {
      return error(StatusCode::kInvalidArgument,
                   "--shard-size: a GGUF file is written whole; leave it out");
    }
    Result<std::uint64_t> size = parse_size(flags.shard_size);
    if (!size.ok()) return size.status().with_prefix("--shard-size");
    flags.options.shard_bytes_max = *size;
  }
  if (flags.dry_run) return plan_synthesis(flags.options);
  ProgressBar bar("writing");
  flags.options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    bar.update(done, total);
    return !interrupt.interrupted();
  };
  return synthesize_checkpoint(flags.options);
}

Result<int> synth(SynthFlags& flags) {
  if (flags.options.like.empty() == flags.options.config.empty()) {
    return error(StatusCode::kInvalidArgument, "give a geometry: either --like or --config");
  }
  const auto start = std::chrono::steady_clock::now();
  // An unfinished folder must not stay behind, so these have to wait until it is removed.
  const InterruptGuard interrupt({SIGINT, SIGTERM, SIGHUP});
  const Result<SynthesisSummary> summary = synthesize(flags, interrupt);
  if (summary.status().code() == StatusCode::kCancelled) return interrupt.exit_code();
  if (!summary.ok()) return summary.status();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::string line =
      fmt::format("{}: {}, {} of {}, {} in {}, {}", flags.options.folder.string(),
                  summary->model_type, counted(summary->layer_count, "layer"),
                  counted(summary->num_experts, "expert"), counted(summary->tensor_count, "tensor"),
                  counted(summary->file_count, "file"), format_size(summary->tensor_bytes));
  if (flags.dry_run) {
    line += " (nothing written)";
  } else {
    const double rate = static_cast<double>(summary->tensor_bytes) / elapsed.count();
    line += fmt::format(", in {} ({})", format_seconds(elapsed.count()), format_rate(rate));
  }
  FM_RETURN_IF_ERROR(print(line + "\n"));
  return kExitOk;
}

}  // namespace

void add_synth(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<SynthFlags>();
  SynthesisOptions& options = flags->options;
  CLI::App* command =
      app.add_subcommand("synth", "Write a checkpoint of a geometry with random weights");
  command
      ->add_option("OUT", options.folder,
                   "The model folder to write: absent, or empty; with --gguf, the file")
      ->required();
  const std::vector<std::string_view> known = geometry_names();
  choose_from(command->add_option("--like", options.like, "A named geometry"),
              {known.begin(), known.end()});
  command->add_option("--config", options.config, "The geometry of this config.json")
      ->type_name("FILE");
  add_whole_number(*command, "--layers", options.layers, {1, 1024},
                   "As many layers; default: the geometry's")
      ->default_str("");
  add_whole_number(*command, "--experts", options.experts, {1, 65535},
                   "As many experts a layer; default: the geometry's")
      ->default_str("");
  add_whole_number(*command, "--seed", options.seed, {}, "The same seed gives the same weights");
  const std::vector<std::string_view> mixtures = gguf_mixture_names();
  choose_from(
      command->add_option("--gguf", options.gguf, "Write a GGUF file, with these types of tensors"),
      {mixtures.begin(), mixtures.end()});
  command
      ->add_option("--shard-size", flags->shard_size,
                   "Most tensor bytes of a file, as 512MiB; default: 5GiB")
      ->type_name("SIZE");
  add_whole_number(*command, "-t,--threads", options.threads, {1, 1024},
                   "Threads that compute; default: one for each core")
      ->default_str("");
  command->add_flag("--dry-run", flags->dry_run, "Only say how much would be written");
  command->footer(kSynthExamples);
  command->callback([flags, &exit_code] {
    const Result<int> code = synth(*flags);
    exit_code = code.ok() ? *code : report(code.status());
  });
}

}  // namespace flashmoe::cli
