#include "cli/engine_flags.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "base/units.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/resident_set_path.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kAuto = "auto";
constexpr const char* kOff = "off";

constexpr std::array kExactModes = {Residency::kExact, Residency::kResident, Residency::kLazy,
                                    Residency::kLcp,   Residency::kLru,      Residency::kLfu};
constexpr std::array kModes = {Residency::kExact,     Residency::kResident,   Residency::kLazy,
                               Residency::kLcp,       Residency::kLru,        Residency::kLfu,
                               Residency::kPinned,    Residency::kPredictive, Residency::kDelta,
                               Residency::kAsyncDelta};
constexpr std::array kMissRules = {OnMiss::kRead, OnMiss::kSkip, OnMiss::kRenormalise,
                                   OnMiss::kSubstitute, OnMiss::kStale};

/// The one of `values` that is called `name`.
template <typename Value, std::size_t kCount>
Result<Value> parse_choice(std::string_view name, const std::array<Value, kCount>& values,
                           std::string_view what) {
  std::string names;
  for (const Value value : values) {
    if (to_string(value) == name) return value;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", to_string(value));
  }
  return error(StatusCode::kInvalidArgument, "{} is no {}: there are {}", name, what, names);
}

/// What --resident-set means. Nobody asked for `auto`, so what goes wrong there is told only where
/// a person has to do something: a file of ours that is damaged stays until it is removed.
void set_resident_set(const EngineFlags& flags, EngineOptions& options) {
  const bool is_auto = flags.resident_set == kAuto;
  // What a known routing uses says nothing of what this model will use, and would be measured.
  if (flags.resident_set == kOff || (is_auto && !flags.routing_trace.empty())) return;
  if (is_auto && !flags.residency.reads_ahead()) return;  // there is nothing to restore
  options.resident_set_file = flags.resident_set;
  if (is_auto) options.resident_set_file = resident_set_path(flags.model).value_or("");
  options.on_warning = [is_auto](const Status& status) {
    if (is_auto && status.code() != StatusCode::kCorrupt) return;
    print_note(fmt::format("flash-moe: note: {}\n", status.message()));
  };
}

/// An option whose value is the name of one of `values`; among those on residency.
template <typename Target, typename Value, std::size_t kCount>
CLI::Option* add_choice(CLI::App& command, const std::string& name, Target& target,
                        const std::array<Value, kCount>& values, const std::string& help) {
  std::map<std::string, Value> by_name;
  std::vector<std::string> names;
  for (const Value value : values) {
    names.emplace_back(to_string(value));
    by_name.emplace(names.back(), value);
  }
  CLI::Option* const option = command.add_option_function<std::string>(
      name, [&target, by_name](const std::string& text) { target = by_name.at(text); }, help);
  return choose_from(option, std::move(names))->group(kResidencyOptions);
}

/// What is wrong with a size of memory, or nothing. An empty one, as "$UNSET", is a slip.
std::string check_size(const std::string& text) {
  if (text.empty()) return "needs a size, as 12GiB";
  const Result<std::uint64_t> size = parse_size(text);
  if (!size.ok()) return size.status().message();
  return *size == 0 ? "must be above 0" : "";
}

/// What modes with a fixed set know.
void add_fixed_set_flags(CLI::App& command, ResidencyOptions& residency) {
  command
      .add_option("--profile", residency.profile,
                  "How often experts are routed (`flash-moe profile`): what pinned pins, and what "
                  "fills a fixed set beside what was discovered")
      ->type_name("FILE")
      ->group(kResidencyOptions);
  add_whole_number(command, "--pinned", residency.pinned, {1, 65535},
                   "With pinned: experts of a layer that never leave; default: half of those in "
                   "memory")
      ->default_str("")
      ->group(kResidencyOptions);
  add_whole_number(command, "--discovery-tokens", residency.discovery_tokens, {1, 65535},
                   "Tokens generated to see which experts a subject needs, with predictive, delta "
                   "and async-delta")
      ->group(kResidencyOptions);
  add_whole_number(command, "--swap-layers", residency.swap_layers, {1, 65535},
                   "With async-delta: layers swapped between two tokens")
      ->group(kResidencyOptions);
  add_decimal(command, "--swap-seconds", residency.swap_seconds, {},
              "With async-delta, instead: seconds for swaps between two tokens")
      ->default_str("")
      ->group(kResidencyOptions);
  add_choice(command, "--hold", residency.hold, std::array{Hold::kOutput, Hold::kRestart},
             "With async-delta: keep the answer back until the swaps are made. output: it goes on "
             "from there; restart: it begins again from the prompt")
      ->expected(0, 1)
      ->default_str("output");
  add_whole_number(command, "--refresh-every", residency.refresh_every, {1, std::uint64_t{1} << 30},
                   "Find the fixed set anew after so many generated tokens, from what they routed")
      ->default_str("")
      ->group(kResidencyOptions);
  add_choice(command, "--drop-caches-on-switch", residency.drop_caches,
             std::array{DropCaches::kAuto, DropCaches::kOn, DropCaches::kOff},
             "Give freed memory and cached pages of the model back before a change of subject")
      ->default_str("auto");
}

}  // namespace

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--memory", flags.memory,
                  "Memory for the whole process, as 12GiB or 17.7GB; default: what is free")
      ->type_name("SIZE")
      ->check(check_size)
      ->group(kModelOptions);
  add_whole_number(
      command, "-c,--context,--ctx-size", flags.context, {1, std::uint64_t{1} << 30},
      fmt::format("Most tokens of a conversation; default: the model's limit, at most {}",
                  kDefaultContext))
      ->default_str("")
      ->group(kModelOptions);
  add_kv_flag(command, flags.kv_precision);
  add_whole_number(command, "-t,--threads", flags.threads, {1, ThreadPool::kThreadCountMax},
                   "Threads that compute; default: one for each core")
      ->default_str("")
      ->group(kModelOptions);
  add_whole_number(command, "--prefill-chunk", flags.prefill_chunk, {1, 65536},
                   "Prompt tokens computed at a time; default: by the budget")
      ->default_str("")
      ->group(kSpeedOptions);
  choose_from(command.add_option("--io", flags.io, "How experts are read"),
              {"auto", "io_uring", "pread"})
      ->capture_default_str()
      ->group(kSpeedOptions);
  choose_from(command.add_option("--speculation", flags.speculation,
                                 "Read experts on a guess while the disk is idle, where that "
                                 "pays. The output is the same"),
              {"on", "off"})
      ->capture_default_str()
      ->group(kSpeedOptions);
}

void add_kv_flag(CLI::App& command, KvPrecision& precision) {
  add_choice(command, "--kv", precision,
             std::array{KvPrecision::kF32, KvPrecision::kBF16, KvPrecision::kInt8},
             "How keys and values of a conversation are kept: f32, or rounded to bf16, half the "
             "memory, or int8, little more than a quarter")
      ->default_str("f32")
      ->group(kModelOptions);
}

void add_record_trace_flag(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--record-trace", flags.record_trace,
                  "Record which experts the routers choose to a file for `flash-moe trace`")
      ->type_name("FILE")
      ->group(kMeasuringOptions);
}

void add_routing_trace_flag(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--routing-trace", flags.routing_trace,
                  "Measure under a known routing: route as FILE or FILE:ENTRY says, not as the "
                  "model would. Text then means nothing")
      ->type_name("TRACE")
      ->group(kMeasuringOptions);
}

void add_resident_set_flag(CLI::App& command, EngineFlags& flags) {
  flags.resident_set = kAuto;
  command
      .add_option("--resident-set", flags.resident_set,
                  "Where to keep which experts are in memory, for the next start: auto (the user's "
                  "cache folder), off, or a file")
      ->type_name("FILE")
      ->check(
          [](const std::string& text) { return text.empty() ? "needs auto, off or a file" : ""; })
      ->capture_default_str()
      ->group(kSpeedOptions);
}

void add_residency_flags(CLI::App& command, EngineFlags& flags, ResidencyFlags which) {
  const std::string help =
      "Which experts stay in memory: exact (what measured best), resident (all), lazy (none), lcp, "
      "lru, lfu";
  CLI::Option* const mode =
      which == ResidencyFlags::kFixedSets
          ? add_choice(
                command, "--residency", flags.residency.residency, kModes,
                help + ", pinned (a profile's), or a fixed set: predictive, delta, async-delta")
          : add_choice(command, "--residency", flags.residency.residency, kExactModes, help);
  mode->default_str("exact");
  add_whole_number(command, "--capacity", flags.residency.capacity, {1, 65535},
                   "Most experts of a layer in memory, as a mean; default: what the budget holds")
      ->default_str("")
      ->group(kResidencyOptions);
  if (which == ResidencyFlags::kExact) return;
  add_choice(command, "--on-miss", flags.residency.on_miss, kMissRules,
             "What a token does without an expert: read (exact), or approximately skip, "
             "renormalise, substitute or stale; default: read, and stale with a fixed set");
  add_decimal(command, "--miss-threshold", flags.residency.miss_threshold, {},
              "With substitute: read experts of at least this weight")
      ->default_str("")
      ->group(kResidencyOptions);
  add_decimal(command, "--quality-budget", flags.residency.quality_budget, {0, 1},
              "Replace at most this share of all routed weight, and read the rest")
      ->group(kResidencyOptions);
  if (which == ResidencyFlags::kFixedSets) add_fixed_set_flags(command, flags.residency);
}

Result<Residency> parse_residency(std::string_view name) {
  return parse_choice(name, kModes, "residency mode");
}

Result<OnMiss> parse_on_miss(std::string_view name) {
  return parse_choice(name, kMissRules, "rule for misses");
}

double fallback_rate(const EngineStatistics& statistics) {
  return statistics.routed_requests == 0 ? 0
                                         : static_cast<double>(statistics.routed_fallbacks) /
                                               static_cast<double>(statistics.routed_requests);
}

std::string describe_approximation(const ResidencyOptions& residency,
                                   const EngineStatistics& statistics) {
  return fmt::format(
      "approximate (--on-miss {}): of the experts that generated tokens asked for {:.1f} % were "
      "not in memory and not read, {:.1f} % of the routed weight",
      to_string(residency.miss_rule()), 100 * fallback_rate(statistics),
      100 * statistics.replaced_weight_share);
}

Result<std::uint64_t> parse_memory(const std::string& text) {
  Result<std::uint64_t> size = parse_size(text);
  if (!size.ok()) return size.status().with_prefix("--memory");
  if (*size == 0) return error(StatusCode::kInvalidArgument, "--memory: must be above 0");
  return size;
}

Result<EngineOptions> engine_options(const EngineFlags& flags) {
  EngineOptions options;
  options.model = flags.model;
  if (!flags.memory.empty()) {
    FM_ASSIGN_OR_RETURN(options.memory_bytes, parse_memory(flags.memory));
  }
  options.threads = flags.threads;
  options.context = flags.context;
  options.kv_precision = flags.kv_precision;
  options.prefill_chunk = flags.prefill_chunk;
  if (flags.io == "io_uring") options.io = IoChoice::kIoUring;
  if (flags.io == "pread") options.io = IoChoice::kPread;
  options.speculation = flags.speculation != "off";
  options.residency = flags.residency;
  options.may_change_residency = flags.may_change_residency;
  options.record_trace = flags.record_trace;
  options.routing_trace = flags.routing_trace;
  set_resident_set(flags, options);
  return options;
}

Result<std::unique_ptr<Engine>> open_engine(
    const EngineFlags& flags,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& on_progress) {
  FM_ASSIGN_OR_RETURN(EngineOptions options, engine_options(flags));
  ProgressBar bar("loading");
  options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    if (on_progress) on_progress(done, total);
    bar.update(done, total);
  };
  Result<std::unique_ptr<Engine>> engine = Engine::open(options);
  bar.clear();
  if (engine.ok()) print_warnings((*engine)->info());
  return engine;
}

bool can_raise_context(const Engine& engine) {
  return engine.memory_plan().context < engine.info().max_position_embeddings;
}

void print_warnings(const ModelInfo& model) {
  for (const std::string& warning : model.warnings) {
    print_note(fmt::format("flash-moe: warning: {}\n", warning));
  }
}

Result<int> finish_trace(const EngineFlags& flags, Engine& engine, Result<int> outcome) {
  if (flags.record_trace.empty()) return outcome;
  const Status recorded = engine.finish_trace();
  if (outcome.ok() && !recorded.ok()) return recorded;
  return outcome;
}

}  // namespace flashmoe::cli
