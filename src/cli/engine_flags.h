#ifndef FLASHMOE_CLI_ENGINE_FLAGS_H_
#define FLASHMOE_CLI_ENGINE_FLAGS_H_

#include <CLI/App.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "flashmoe/engine.h"
#include "flashmoe/result.h"

namespace flashmoe::cli {

/// The flags of every command that computes.
struct EngineFlags {
  std::string model;
  std::string memory;
  std::size_t threads = 0;
  std::size_t context = 0;
  KvPrecision kv_precision = KvPrecision::kF32;
  std::size_t prefill_chunk = 0;
  std::string io = "auto";
  std::string speculation = "on";     // or off; both, of commands that compare them
  std::string record_trace;           // of commands that add it
  std::string routing_trace;          // of commands that add it
  std::string resident_set = "off";   // of commands that add it: auto, off or a file
  ResidencyOptions residency;         // of commands that add its flags
  bool may_change_residency = false;  // of commands that call Engine::set_residency()
};

/// Adds --memory, --threads, --context, --kv, --prefill-chunk, --io and --speculation, but not
/// MODEL (model_argument.h). `flags` must outlive `command`.
void add_engine_flags(CLI::App& command, EngineFlags& flags);

/// Adds --kv. `precision` must outlive `command`.
void add_kv_flag(CLI::App& command, KvPrecision& precision);

/// Adds --record-trace, for a command that ends in finish_trace().
void add_record_trace_flag(CLI::App& command, EngineFlags& flags);

/// Adds --routing-trace, for a command that says in its output that routing was replayed.
void add_routing_trace_flag(CLI::App& command, EngineFlags& flags);

/// Adds --resident-set, auto unless given, for a command that neither measures nor compares.
void add_resident_set_flag(CLI::App& command, EngineFlags& flags);

/// Which modes a command offers: those that are exact; also what an expert's absence may do to the
/// output; also fixed sets of experts, which follow the subject of one session. Commands with the
/// latter two say in their output that it is approximate.
enum class ResidencyFlags : std::uint8_t { kExact, kMisses, kFixedSets };

/// Adds --residency and --capacity, and what else belongs to `which`.
void add_residency_flags(CLI::App& command, EngineFlags& flags, ResidencyFlags which);

/// The mode called `name`. Errors: kInvalidArgument, naming those there are.
Result<Residency> parse_residency(std::string_view name);
Result<OnMiss> parse_on_miss(std::string_view name);

/// Of what routers picked for generated tokens, the share that was not in memory and was not read.
double fallback_rate(const EngineStatistics& statistics);

/// A line that says how approximate the output was.
std::string describe_approximation(const ResidencyOptions& residency,
                                   const EngineStatistics& statistics);

/// Bytes of a --memory value. Errors: kInvalidArgument, naming the flag.
Result<std::uint64_t> parse_memory(const std::string& text);

/// The options the flags stand for; may create the user's cache folder. Errors: kInvalidArgument,
/// naming the flag.
Result<EngineOptions> engine_options(const EngineFlags& flags);

/// Opens the engine, with a progress bar on a terminal, and prints what is odd about the model.
/// `on_progress`, unless it is null, hears of bytes of weights read and of how many.
Result<std::unique_ptr<Engine>> open_engine(
    const EngineFlags& flags,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& on_progress = nullptr);

/// Whether a larger --context would be of help: the model has one.
bool can_raise_context(const Engine& engine);

/// ModelInfo::warnings, for people.
void print_warnings(const ModelInfo& model);

/// Completes the recording that the flags asked for, however the command ended: a trace of what was
/// computed helps as much after an error. Returns `outcome`, or why the trace could not be written.
Result<int> finish_trace(const EngineFlags& flags, Engine& engine, Result<int> outcome);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_ENGINE_FLAGS_H_
