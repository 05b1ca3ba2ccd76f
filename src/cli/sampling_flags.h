#ifndef FLASHMOE_CLI_SAMPLING_FLAGS_H_
#define FLASHMOE_CLI_SAMPLING_FLAGS_H_

#include <CLI/App.hpp>

#include "flashmoe/session.h"

namespace flashmoe::cli {

/// The flags of every command that generates.
struct SamplingFlags {
  GenerateOptions generate;
};

/// Adds --max-tokens, --temperature, --top-k, --top-p, --min-p, --repeat-penalty, --seed, --stop
/// and --ignore-eos, with the values in `flags` as defaults. `flags` must outlive `command`.
void add_sampling_flags(CLI::App& command, SamplingFlags& flags);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_SAMPLING_FLAGS_H_
