#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "flashmoe/engine.h"
#include "format/safetensors_writer.h"

namespace flashmoe::cli {
namespace {

struct ForwardOptions {
  EngineFlags engine;
  std::string ids_path;
  std::string out_path;
  bool hidden = false;
  bool json = false;
};

constexpr const char* kForwardExamples = R"(
Examples:
  flash-moe forward MODEL --ids-file ids.json --out logits.safetensors
  flash-moe forward MODEL --ids-file ids.txt --out all.safetensors --hidden --memory 12GiB

OUT holds input_ids I32 [T], logits F32 [T, vocab] and, with --hidden, hidden F32 [layers + 1, T, hidden_size]: the
embedding's output, then each layer's, the last after the final norm. Of a model with several residual streams, hidden
F32 [layers, T, streams * hidden_size] is what goes into each layer, and final_hidden F32 [T, hidden_size] into lm_head.)";

/// Fails now rather than after minutes of computing.
Status check_writable(const std::string& path) {
  if (path.empty()) return error(StatusCode::kInvalidArgument, "--out: needs the name of a file");
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (access(folder.c_str(), W_OK) == 0) return Status();
  return error(StatusCode::kIo, "--out {}: cannot write to {}: {}", path, folder,
               std::strerror(errno));
}

Result<SafetensorsWriter> create_writer(const ForwardOptions& options, const ModelInfo& info,
                                        std::size_t token_count) {
  std::vector<SafetensorsWriter::Tensor> tensors = {
      {"input_ids", DType::kI32, {token_count}},
      {"logits", DType::kF32, {token_count, info.vocab_size}}};
  if (options.hidden && info.residual_streams == 1) {
    tensors.push_back(
        {"hidden", DType::kF32, {info.layer_count + 1, token_count, info.hidden_size}});
  } else if (options.hidden) {
    // What goes into lm_head is not as wide as what goes before.
    tensors.push_back({"hidden",
                       DType::kF32,
                       {info.layer_count, token_count, info.residual_streams * info.hidden_size}});
    tensors.push_back({"final_hidden", DType::kF32, {token_count, info.hidden_size}});
  }
  return SafetensorsWriter::create(options.out_path, tensors);
}

Result<int> forward(const ForwardOptions& options) {
  FM_RETURN_IF_ERROR(check_writable(options.out_path));
  FM_ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, read_ids_file(options.ids_path));
  if (ids.empty()) {
    return error(StatusCode::kInvalidArgument, "{}: holds no token ids; give at least one",
                 options.ids_path);
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open_engine(options.engine));
  const ModelInfo& info = engine->info();
  // Before room is reserved on the disk: a prompt may be too long for both.
  if (ids.size() > engine->memory_plan().context) {
    return error(
        StatusCode::kInvalidArgument, "{}: {} tokens exceed the context of {}; {}shorten the input",
        options.ids_path, ids.size(), engine->memory_plan().context,
        can_raise_context(*engine) ? "raise --context or " : "the model has no larger one, so ");
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine->new_session());
  // An unfinished file must not stay behind, so these have to wait until the writer is gone.
  const InterruptGuard interrupt({SIGINT, SIGTERM, SIGHUP});
  FM_ASSIGN_OR_RETURN(SafetensorsWriter writer, create_writer(options, info, ids.size()));
  FM_RETURN_IF_ERROR(writer.write<std::int32_t>("input_ids", 0, ids));

  ProgressBar bar("computing");
  std::size_t not_finite_count = 0;
  ForwardObserver observer{.cancel = interrupt.flag()};
  observer.on_progress = [&bar](std::size_t done, std::size_t total) {
    bar.update(done, total);
    return true;
  };
  observer.on_logits = [&](std::size_t position, std::size_t /*rows*/,
                           std::span<const float> logits) -> Status {
    not_finite_count += static_cast<std::size_t>(
        std::ranges::count_if(logits, [](float logit) { return !std::isfinite(logit); }));
    return writer.write("logits", position * info.vocab_size, logits);
  };
  if (options.hidden) {
    observer.on_hidden = [&](std::size_t index, std::size_t position, std::size_t,
                             std::span<const float> hidden) {
      const bool is_apart = info.residual_streams > 1 && index == info.layer_count;
      if (is_apart) return writer.write("final_hidden", position * info.hidden_size, hidden);
      return writer.write(
          "hidden", (index * ids.size() + position) * info.residual_streams * info.hidden_size,
          hidden);
    };
  }
  const auto start = std::chrono::steady_clock::now();
  const Status computed = session->forward(ids, observer);
  bar.clear();
  if (computed.code() == StatusCode::kCancelled) {
    report(computed);
    return interrupt.exit_code();
  }
  FM_RETURN_IF_ERROR(computed);
  // The writer goes without a file: logits that are none must not be taken for a model's.
  if (not_finite_count > 0) {
    return error(StatusCode::kCorrupt,
                 "{}: {} of {} logits are infinite or no numbers; the model's weights are damaged: "
                 "download them again",
                 options.engine.model, not_finite_count, ids.size() * info.vocab_size);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  FM_RETURN_IF_ERROR(writer.finish());
  if (!options.json) return kExitOk;
  FM_RETURN_IF_ERROR(print_json({{"out", options.out_path},
                                 {"tokens", ids.size()},
                                 {"vocab_size", info.vocab_size},
                                 {"hidden", options.hidden},
                                 {"seconds", elapsed.count()}}));
  return kExitOk;
}

}  // namespace

void add_forward(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ForwardOptions>();
  CLI::App* command =
      app.add_subcommand("forward", "Write the logits of token ids to a file, for comparisons");
  add_model_argument(*command, options->engine.model);
  add_engine_flags(*command, options->engine);
  command
      ->add_option("--ids-file", options->ids_path,
                   "Token ids: a JSON array, or numbers separated by white space; - is standard "
                   "input")
      ->required()
      ->type_name("FILE")
      ->group(kOutputOptions);
  command->add_option("--out", options->out_path, "The safetensors file to write")
      ->required()
      ->type_name("FILE")
      ->group(kOutputOptions);
  command->add_flag("--hidden", options->hidden, "Write every layer's output too")
      ->group(kOutputOptions);
  command->add_flag("--json", options->json, "Print a summary as JSON")->group(kOutputOptions);
  command->footer(kForwardExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = forward(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
