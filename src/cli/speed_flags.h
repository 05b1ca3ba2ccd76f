#ifndef FLASHMOE_CLI_SPEED_FLAGS_H_
#define FLASHMOE_CLI_SPEED_FLAGS_H_

#include <CLI/App.hpp>
#include <optional>
#include <string>

#include "experts/speed_model.h"
#include "flashmoe/result.h"

namespace flashmoe::cli {

/// What a prediction of speed needs to know.
struct SpeedFlags {
  std::string model;
  std::string disk;
  std::string memory_rate;
};

/// Adds --model, --disk and --memory-rate.
void add_speed_flags(CLI::App& command, SpeedFlags& flags, bool model_is_required);

/// None where no model is given. Errors: kInvalidArgument, naming the flag; those of
/// inspect_model().
Result<std::optional<SpeedModel>> speed_model(const SpeedFlags& flags);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_SPEED_FLAGS_H_
