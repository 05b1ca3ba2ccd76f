#include "cli/engine_flags.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstddef>
#include <map>
#include <string>

#include "base/thread_pool.h"
#include "base/units.h"
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

/// An option whose value is the name of one of `values`.
template <typename Target, typename Value, std::size_t kCount>
CLI::Option* add_choice(CLI::App& command, const std::string& name, Target& target,
                        const std::array<Value, kCount>& values, const std::string& help) {
  std::map<std::string, Value> by_name;
  for (const Value value : values) by_name.emplace(to_string(value), value);
  return command
      .add_option_function<std::string>(
          name, [&target, by_name](const std::string& text) { target = by_name.at(text); }, help)
      ->check(CLI::IsMember(by_name))
      ->type_name("NAME");
}

/// What modes with a fixed set know.
void add_fixed_set_flags(CLI::App& command, ResidencyOptions& residency) {
  command
      .add_option("--profile", residency.profile,
                  "How often experts are routed (`flash-moe profile`): whom pinned pins, and what "
                  "fills a fixed set beside what was discovered")
      ->type_name("FILE");
  command
      .add_option("--pinned", residency.pinned,
                  "With pinned: experts of a layer that never leave; default: half of those in "
                  "memory")
      ->check(CLI::Range(1, 65535));
  command
      .add_option("--discovery-tokens", residency.discovery_tokens,
                  "Tokens generated to see which experts a subject needs, with predictive, delta "
                  "and async-delta")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  command
      .add_option("--swap-layers", residency.swap_layers,
                  "With async-delta: layers swapped between two tokens")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  command
      .add_option("--swap-seconds", residency.swap_seconds,
                  "With async-delta, instead: seconds for swaps between two tokens")
      ->type_name("SECONDS");
  add_choice(command, "--hold", residency.hold, std::array{Hold::kOutput, Hold::kRestart},
             "With async-delta: keep the answer back until the swaps are made. output: it goes on "
             "from there; restart: it begins again from the prompt")
      ->expected(0, 1)
      ->default_str("output");
  command
      .add_option("--refresh-every", residency.refresh_every,
                  "Find the fixed set anew after so many generated tokens, from what they routed")
      ->check(CLI::Range(1, 1 << 30));
  add_choice(command, "--drop-caches-on-switch", residency.drop_caches,
             std::array{DropCaches::kAuto, DropCaches::kOn, DropCaches::kOff},
             "Give freed memory and cached pages of the model back before a change of subject")
      ->default_str("auto");
}

}  // namespace

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command.add_option("model", flags.model, "Model folder, as downloaded")
      ->required()
      ->type_name("MODEL");
  command
      .add_option("--memory", flags.memory,
                  "Memory for the whole process, as 12GiB or 17.7GB; default: what is free")
      ->type_name("SIZE")
      ->check([](const std::string& text) {  // --memory "$UNSET" is a slip, not the default
        return text.empty() ? "needs a size, as 12GiB" : "";
      });
  command
      .add_option("--threads", flags.threads, "Threads that compute; default: one for each core")
      ->check(CLI::Range(std::size_t{1}, ThreadPool::kThreadCountMax));
  command
      .add_option(
          "--context", flags.context,
          fmt::format("Most tokens of a conversation; default: the model's limit, at most {}",
                      kDefaultContext))
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30));
  command
      .add_option("--prefill-chunk", flags.prefill_chunk,
                  "Prompt tokens computed at a time; default: by the budget")
      ->check(CLI::Range(1, 65536));
  command.add_option("--io", flags.io, "How experts are read: auto, io_uring or pread")
      ->check(CLI::IsMember({"auto", "io_uring", "pread"}))
      ->capture_default_str();
  command
      .add_option("--speculation", flags.speculation,
                  "Read experts on a guess while the disk is idle, where that pays: on or off. The "
                  "output is the same")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
}

void add_record_trace_flag(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--record-trace", flags.record_trace,
                  "Record which experts the routers choose to a file for `flash-moe trace`")
      ->type_name("FILE");
}

void add_routing_trace_flag(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--routing-trace", flags.routing_trace,
                  "Measure under a known routing: route as FILE or FILE:ENTRY says, not as the "
                  "model would. Text then means nothing")
      ->type_name("TRACE");
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
      ->capture_default_str();
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
  command
      .add_option("--capacity", flags.residency.capacity,
                  "Most experts of a layer in memory, as a mean; default: what the budget holds")
      ->check(CLI::Range(1, 65535));
  if (which == ResidencyFlags::kExact) return;
  add_choice(command, "--on-miss", flags.residency.on_miss, kMissRules,
             "What a token does without an expert: read (exact), or approximately skip, "
             "renormalise, substitute or stale; default: read, and stale with a fixed set");
  command
      .add_option("--miss-threshold", flags.residency.miss_threshold,
                  "With substitute: read experts of at least this weight")
      ->type_name("WEIGHT");
  command
      .add_option("--quality-budget", flags.residency.quality_budget,
                  "Replace at most this share of all routed weight, 0 to 1, and read the rest")
      ->type_name("SHARE")
      ->default_str("1");
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

Result<std::unique_ptr<Engine>> open_engine(const EngineFlags& flags) {
  FM_ASSIGN_OR_RETURN(EngineOptions options, engine_options(flags));
  ProgressBar bar("loading");
  options.on_progress = [&bar](std::uint64_t done, std::uint64_t total) {
    bar.update(done, total);
  };
  Result<std::unique_ptr<Engine>> engine = Engine::open(options);
  bar.clear();
  if (engine.ok()) print_warnings((*engine)->info());
  return engine;
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
