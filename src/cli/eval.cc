#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "base/counts.h"
#include "base/result.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "flashmoe/engine.h"

namespace flashmoe::cli {
namespace {

struct EvalOptions {
  EngineFlags engine;
  std::string text_path;
  std::string ids_path;
  std::size_t windows_max = 0;
  bool json = false;
};

constexpr const char* kEvalExamples = R"(
Examples:
  flash-moe eval MODEL --text-file book.txt --context 1024
  flash-moe eval MODEL --ids-file ids.json --json
  flash-moe eval MODEL --text-file book.txt --context 1024 --max-windows 32 --memory 12GiB

The text is cut into windows of --context tokens, each read from an empty state; a window's first token is given, the
others are predicted. Figures are over predicted tokens and their bytes.)";

/// Sums over predicted tokens.
struct Totals {
  std::size_t token_count = 0;
  std::size_t byte_count = 0;
  double nll = 0;  // nats
};

/// -log softmax(logits)[target], in double.
double negative_log_likelihood(std::span<const float> logits, std::int32_t target) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

Status not_finite_error(std::size_t position) {
  return error(StatusCode::kCorrupt,
               "token {} of a window: the model computed logits that are infinite or no numbers; "
               "its weights are damaged: download them again",
               position);
}

/// Adds one window's likelihood to `totals`; `observer` hears of progress, and may cancel it.
Status add_window(Session& session, std::size_t vocab_size, std::span<const std::int32_t> ids,
                  ForwardObserver observer, Totals& totals) {
  FM_RETURN_IF_ERROR(session.reset());
  observer.on_logits = [&](std::size_t position, std::size_t rows,
                           std::span<const float> logits) -> Status {
    for (std::size_t r = 0; r < rows && position + r + 1 < ids.size(); ++r) {
      const double nll = negative_log_likelihood(logits.subspan(r * vocab_size, vocab_size),
                                                 ids[position + r + 1]);
      if (!std::isfinite(nll)) return not_finite_error(position + r);
      totals.nll += nll;
      ++totals.token_count;
    }
    return Status();
  };
  return session.forward(ids, observer);
}

Result<std::vector<std::int32_t>> input_ids(const EvalOptions& options, const Engine& engine) {
  if (!options.ids_path.empty()) return read_ids_file(options.ids_path);
  FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(options.text_path));
  Result<std::vector<std::int32_t>> ids = engine.tokenize_raw(text);
  if (!ids.ok()) return ids.status().with_prefix(options.text_path);
  return ids;
}

Status print_results(const EvalOptions& options, const Totals& totals, std::size_t window_count,
                     double seconds) {
  const auto tokens = static_cast<double>(totals.token_count);
  const double nll = totals.nll / tokens;
  std::optional<double> bits_per_byte;
  if (totals.byte_count > 0) {
    bits_per_byte = totals.nll / std::numbers::ln2 / static_cast<double>(totals.byte_count);
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"negative_log_likelihood", nll},
                                   {"perplexity", std::exp(nll)},
                                   {"bits_per_byte", nullptr},
                                   {"predicted_tokens", totals.token_count},
                                   {"windows", window_count},
                                   {"seconds", seconds},
                                   {"tokens_per_second", tokens / seconds}};
    if (bits_per_byte) json["bits_per_byte"] = *bits_per_byte;
    return print_json(json);
  }
  return print(fmt::format(
      "negative log-likelihood {:.4f} nats/token, perplexity {:.2f}{}; {} in {}, "
      "{:.1f} tokens/s\n",
      nll, std::exp(nll),
      bits_per_byte ? fmt::format(", {:.4f} bits/byte", *bits_per_byte) : std::string(),
      counted(totals.token_count, "token"), counted(window_count, "window"), tokens / seconds));
}

Result<int> eval_on(Engine& engine, const EvalOptions& options) {
  FM_ASSIGN_OR_RETURN(std::vector<std::int32_t> ids, input_ids(options, engine));
  const std::size_t window_size = engine.memory_plan().context;
  if (options.windows_max > 0 && ids.size() / window_size >= options.windows_max) {
    ids.resize(options.windows_max * window_size);
  }
  if (ids.size() < 2 || window_size < 2) {
    return error(StatusCode::kInvalidArgument,
                 "nothing to predict: the input has {} and a window {}; both must be at least 2",
                 counted(ids.size(), "token"), window_size);
  }

  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine.new_session());
  const InterruptGuard interrupt;
  ProgressBar bar("evaluating");
  Totals totals;
  std::size_t window_count = 0;
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t at = 0; at + 1 < ids.size(); at += window_size) {
    const auto window =
        std::span<const std::int32_t>(ids).subspan(at, std::min(window_size, ids.size() - at));
    const ForwardObserver observer{.cancel = interrupt.flag(),
                                   .on_progress = [&](std::size_t done, std::size_t /*total*/) {
                                     bar.update(at + done, ids.size());
                                     return true;
                                   }};
    const Status added = add_window(*session, engine.info().vocab_size, window, observer, totals);
    if (added.code() == StatusCode::kCancelled) {
      bar.clear();
      report(added);
      return interrupt.exit_code();
    }
    FM_RETURN_IF_ERROR(added);
    // Absent without a tokenizer: ids alone have no bytes.
    const Result<std::string> predicted_text = engine.detokenize(window.subspan(1));
    if (predicted_text.ok()) totals.byte_count += predicted_text->size();
    ++window_count;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  bar.clear();
  FM_RETURN_IF_ERROR(print_results(options, totals, window_count, elapsed.count()));
  return kExitOk;
}

Result<int> eval(const EvalOptions& options) {
  if (options.text_path.empty() == options.ids_path.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "give what is to be predicted: either --text-file or --ids-file");
  }
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, open_engine(options.engine));
  return finish_trace(options.engine, *engine, eval_on(*engine, options));
}

}  // namespace

void add_eval(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "How well the model predicts a text");
  add_model_argument(*command, options->engine.model);
  add_engine_flags(*command, options->engine);
  command->add_option("--text-file", options->text_path, "The text; - is standard input")
      ->type_name("FILE")
      ->group(kPromptOptions);
  command
      ->add_option("--ids-file", options->ids_path,
                   "Token ids: a JSON array, or numbers separated by white space")
      ->type_name("FILE")
      ->group(kPromptOptions);
  add_record_trace_flag(*command, options->engine);
  add_residency_flags(*command, options->engine, ResidencyFlags::kExact);
  add_whole_number(*command, "--max-windows", options->windows_max, {0, std::uint64_t{1} << 30},
                   "Stop after so many windows; 0: all")
      ->group(kPromptOptions);
  command->add_flag("--json", options->json, "Print one JSON object")->group(kOutputOptions);
  command->footer(kEvalExamples);
  command->callback([options, &exit_code] {
    const Result<int> result = eval(*options);
    exit_code = result.ok() ? *result : report(result.status());
  });
}

}  // namespace flashmoe::cli
