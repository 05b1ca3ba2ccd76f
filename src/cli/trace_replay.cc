#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/trace.h"
#include "cli/trace_replays.h"
#include "experts/policies/residency_policies.h"
#include "experts/routing_trace_file.h"

namespace flashmoe::cli {
namespace {

struct ReplayOptions {
  std::string trace;
  std::vector<std::string> policies = {std::string(kDefaultResidencyPolicy)};
  std::vector<std::size_t> slots;
  PinFlags pins;
  bool each = false;
  bool json = false;
};

constexpr const char* kTraceReplayExamples = R"(
Examples:
  flash-moe trace replay once.safetensors --slots 16,32,64
  flash-moe trace replay traces.safetensors --policy lfu,lru,belady --slots 64,128 --each --json
  flash-moe trace replay traces.safetensors --policy lfu,pinned --profile code.safetensors --slots 64

Every sequence begins with an empty cache, or with those pinned, and is decoded token by token. belady knows the future: no policy hits more.)";

nlohmann::ordered_json rate_json(const HitCount& count) {
  return count.lookups == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(count.rate());
}

std::string rate_text(const HitCount& count) {
  return count.lookups == 0 ? "-" : fmt::format("{:.1f} %", 100 * count.rate());
}

Status print_row(const Replayed& row, bool json, nlohmann::ordered_json& rows) {
  const double lookups_per_second =
      row.seconds > 0 ? static_cast<double>(row.result.all.lookups) / row.seconds : 0;
  if (json) {
    rows.push_back(
        {{"trace", row.name.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(row.name)},
         {"policy", row.policy},
         {"slots_per_layer", row.slots_per_layer},
         {"hit_rate_cold", rate_json(row.result.cold)},
         {"hit_rate_steady", rate_json(row.result.steady)},
         {"hit_rate", rate_json(row.result.all)},
         {"lookups", row.result.all.lookups},
         {"lookups_per_second", lookups_per_second}});
    return Status();
  }
  return print(fmt::format("{:<24} {:<8} {:>6} {:>9} {:>9} {:>9} {:>12.1f}\n",
                           row.name.empty() ? "all" : row.name, row.policy, row.slots_per_layer,
                           rate_text(row.result.cold), rate_text(row.result.steady),
                           rate_text(row.result.all), lookups_per_second / 1e6));
}

Status print_replay(const ReplayOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::vector<NamedRoutingTrace> traces,
                      read_routing_traces(options.trace, /*all=*/true));
  FM_ASSIGN_OR_RETURN(const std::optional<ExpertProfile> profile,
                      read_pins(options.pins, options.policies));
  if (!options.json) {
    FM_RETURN_IF_ERROR(print(fmt::format(
        "hits of the first {} tokens from cold, from token {} on, and of all\n{:<24} {:<8} {:>6} "
        "{:>9} {:>9} {:>9} {:>12}\n",
        kColdTokens, kSteadyFrom, "trace", "policy", "slots", "cold", "steady", "all",
        "M lookups/s")));
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::size_t slots : options.slots) {
    for (const std::string& policy : options.policies) {
      Replayed total{.policy = policy, .slots_per_layer = slots};
      for (const NamedRoutingTrace& named : traces) {
        FM_ASSIGN_OR_RETURN(const Replayed row,
                            replay_named(named, {.policy = policy,
                                                 .slots_per_layer = slots,
                                                 .profile = profile ? &*profile : nullptr,
                                                 .pinned = options.pins.pinned}));
        total.add(row);
        if (options.each || traces.size() == 1) {
          FM_RETURN_IF_ERROR(print_row(row, options.json, rows));
        }
      }
      if (traces.size() > 1) FM_RETURN_IF_ERROR(print_row(total, options.json, rows));
    }
  }
  return options.json ? print_json({{"replays", rows}}) : Status();
}

}  // namespace

void add_trace_replay(CLI::App& trace, int& exit_code) {
  std::vector<std::string> policies(kResidencyPolicies.begin(), kResidencyPolicies.end());
  policies.emplace_back(kPinned);
  policies.emplace_back(kBelady);
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* command =
      trace.add_subcommand("replay", "How often a cache of some size finds what a trace asks for");
  add_trace_argument(*command, options->trace);
  choose_from(command->add_option("--policy", options->policies, "Which expert leaves"), policies)
      ->delimiter(',')
      ->allow_extra_args(false)  // one list: the next word may be TRACE
      ->capture_default_str();
  add_slots_flag(*command, options->slots);
  add_pin_flags(*command, options->pins);
  command->add_flag("--each", options->each, "A line for each trace, not only for all together");
  command->add_flag("--json", options->json, "Print one JSON object, rates of 1");
  command->footer(kTraceReplayExamples);
  command->callback([options, &exit_code] {
    const Status status = print_replay(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
