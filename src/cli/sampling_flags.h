#ifndef FLASHMOE_CLI_SAMPLING_FLAGS_H_
#define FLASHMOE_CLI_SAMPLING_FLAGS_H_

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "flashmoe/session.h"

namespace flashmoe::cli {

/// The flags of every command that answers. What was not given follows the model's recommendation.
struct SamplingFlags {
  std::optional<std::size_t> max_tokens;
  std::optional<double> temperature;
  std::optional<std::size_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repeat_penalty;
  std::optional<std::uint64_t> seed;  // none: drawn
  std::vector<std::string> stop;
  bool ignore_eos = false;

  /// The options these stand for: what was given, `recommended` for the rest, and a seed that is
  /// drawn at random unless one was given.
  GenerateOptions options(SamplingOptions recommended, std::size_t max_tokens_default) const;
};

/// Leaves of how tokens are drawn only what was typed: what a preset says is not for those who
/// compare.
void forget_preset_sampling(const CLI::App& command, SamplingFlags& flags);

/// Adds --max-tokens, --temperature, --top-k, --top-p, --min-p, --repeat-penalty, --seed, --stop
/// and --ignore-eos. `max_tokens_default` is for the help. `flags` must outlive `command`.
void add_sampling_flags(CLI::App& command, SamplingFlags& flags,
                        const std::string& max_tokens_default);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_SAMPLING_FLAGS_H_
