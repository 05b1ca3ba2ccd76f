#include "cli/speed_flags.h"

#include <CLI/CLI.hpp>

#include "base/result.h"
#include "base/units.h"
#include "flashmoe/inspection.h"

namespace flashmoe::cli {
namespace {

Result<double> parse_rate(const char* flag, const std::string& text) {
  const Result<std::uint64_t> size = parse_size(text);
  if (!size.ok()) return size.status().with_prefix(flag);
  if (*size == 0) return error(StatusCode::kInvalidArgument, "{}: must be above 0", flag);
  return static_cast<double>(*size);
}

}  // namespace

void add_speed_flags(CLI::App& command, SpeedFlags& flags, bool model_is_required) {
  command
      .add_option("--model", flags.model,
                  "Predict tokens/s for this model: its headers say what an expert weighs")
      ->required(model_is_required)
      ->type_name("MODEL");
  command
      .add_option("--disk", flags.disk,
                  "Bytes a second that the disk gives, as 1.2GB (`flash-moe doctor` measures it)")
      ->required(model_is_required)
      ->type_name("SIZE");
  command
      .add_option("--memory-rate", flags.memory_rate,
                  "Bytes a second that weights are read from memory with, as 27GB")
      ->required(model_is_required)
      ->type_name("SIZE");
}

Result<std::optional<SpeedModel>> speed_model(const SpeedFlags& flags) {
  if (flags.model.empty()) {
    if (flags.disk.empty() && flags.memory_rate.empty()) return std::optional<SpeedModel>();
    return error(StatusCode::kInvalidArgument, "--disk, --memory-rate: need --model as well");
  }
  if (flags.disk.empty() || flags.memory_rate.empty()) {
    return error(StatusCode::kInvalidArgument, "--model: needs --disk and --memory-rate as well");
  }
  SpeedModel model;
  FM_ASSIGN_OR_RETURN(model.disk_bytes_per_second, parse_rate("--disk", flags.disk));
  FM_ASSIGN_OR_RETURN(model.memory_bytes_per_second,
                      parse_rate("--memory-rate", flags.memory_rate));
  FM_ASSIGN_OR_RETURN(const ModelInspection inspection, inspect_model({.model = flags.model}));
  model.expert_bytes = static_cast<double>(inspection.expert_bytes);
  model.dense_bytes = static_cast<double>(inspection.minimum.dense_bytes);
  return std::optional<SpeedModel>(model);
}

}  // namespace flashmoe::cli
