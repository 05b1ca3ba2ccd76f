#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/counts.h"
#include "base/result.h"
#include "base/units.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "cli/speed_flags.h"
#include "cli/trace.h"
#include "cli/trace_replays.h"
#include "experts/policies/residency_policies.h"
#include "experts/routing_trace_file.h"

namespace flashmoe::cli {
namespace {

struct CompareOptions {
  std::string trace;
  std::vector<std::string> policies = {"lfu", "lru", "lcp", std::string(kPredictive),
                                       std::string(kDelta)};
  std::vector<std::size_t> slots;
  PinFlags pins;
  SpeedFlags speed;
  std::size_t switch_at = 0;
  bool json = false;
};

constexpr const char* kTraceCompareExamples = R"(
Examples:
  flash-moe trace compare traces.safetensors --slots 32,64,128
  flash-moe trace compare once.safetensors --slots 64 --model MODEL --disk 1.2GB --memory-rate 27GB

belady knows the future: no policy misses less, and "of bound" is its misses over the policy's. predictive
and delta are fixed sets of so many experts, found by ten tokens; what they miss is not read, but replaced.
pinned begins with a profile's experts in memory, so that it may miss less than belady does from nothing.
Predicted tokens/s are bytes over bandwidth: reads in turn with arithmetic, and hidden behind it.)";

/// One line of the table.
struct Row {
  Replayed replayed;
  std::uint64_t bound_misses = 0;  // of belady
};

std::uint64_t misses(const HitCount& count) { return count.lookups - count.hits; }

nlohmann::ordered_json to_json(const Row& row, const std::optional<SpeedModel>& speed) {
  const HitCount& all = row.replayed.result.all;
  const auto rate = [](const HitCount& count) {
    return count.lookups == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(count.rate());
  };
  nlohmann::ordered_json json = {{"policy", row.replayed.policy},
                                 {"slots_per_layer", row.replayed.slots_per_layer},
                                 {"hit_rate", rate(all)},
                                 {"hit_rate_cold", rate(row.replayed.result.cold)},
                                 {"hit_rate_steady", rate(row.replayed.result.steady)},
                                 {"approximate", is_fixed_set(row.replayed.policy)},
                                 {"misses", misses(all)},
                                 {"misses_of_bound", row.bound_misses}};
  if (speed) {
    const double lookups = row.replayed.lookups_per_token();
    const double missing = is_fixed_set(row.replayed.policy) ? 0 : lookups * (1 - all.rate());
    json["bytes_read_per_token"] = missing * speed->expert_bytes;
    json["tokens_per_second_in_turn"] = 1 / speed->seconds_in_turn(lookups, missing);
    json["tokens_per_second_overlapped"] = 1 / speed->seconds_overlapped(lookups, missing);
  }
  return json;
}

std::string percent(const nlohmann::ordered_json& rate) {
  return rate.is_null() ? "-" : fmt::format("{:.1f} %", 100 * rate.get<double>());
}

std::string to_text(const nlohmann::ordered_json& row) {
  const auto missed = row["misses"].get<double>();
  const auto bound = row["misses_of_bound"].get<double>();
  std::string text =
      fmt::format("{:<11} {:>6} {:>9} {:>9} {:>9} {:>9}", row["policy"].get<std::string>(),
                  row["slots_per_layer"].get<std::size_t>(), percent(row["hit_rate_cold"]),
                  percent(row["hit_rate_steady"]), percent(row["hit_rate"]),
                  row["approximate"].get<bool>() ? "replaced"
                  : missed > 0                   ? fmt::format("{:.2f}", bound / missed)
                                                 : "1.00");
  if (row.contains("bytes_read_per_token")) {
    text += fmt::format(" {:>12} {:>7.1f} - {:.1f}",
                        format_size(row["bytes_read_per_token"].get<std::uint64_t>()),
                        row["tokens_per_second_in_turn"].get<double>(),
                        row["tokens_per_second_overlapped"].get<double>());
  }
  return text + "\n";
}

Status compare(const CompareOptions& options) {
  FM_ASSIGN_OR_RETURN(std::vector<NamedRoutingTrace> traces,
                      read_routing_traces(options.trace, /*all=*/true));
  for (NamedRoutingTrace& named : traces) {
    if (options.switch_at == 0) break;
    FM_ASSIGN_OR_RETURN(named.trace, with_switches_at(named.trace, options.switch_at));
  }
  FM_ASSIGN_OR_RETURN(const std::optional<ExpertProfile> profile,
                      read_pins(options.pins, options.policies));
  FM_ASSIGN_OR_RETURN(const std::optional<SpeedModel> speed, speed_model(options.speed));
  if (!options.json) {
    FM_RETURN_IF_ERROR(print(fmt::format(
        "hits over {}, each sequence from an empty cache\n{:<11} {:>6} {:>9} {:>9} {:>9} "
        "{:>9}{}\n",
        counted(traces.size(), "trace"), "policy", "slots", "cold", "steady", "all", "of bound",
        speed ? fmt::format(" {:>12} {:>14}", "read/token", "tokens/s") : "")));
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::size_t slots : options.slots) {
    std::vector<std::string> policies = options.policies;
    policies.insert(policies.begin(), std::string(kBelady));
    std::uint64_t bound = 0;
    for (const std::string& policy : policies) {
      Row row;
      FM_ASSIGN_OR_RETURN(row.replayed,
                          replay_all(traces, {.policy = policy,
                                              .slots_per_layer = slots,
                                              .profile = profile ? &*profile : nullptr,
                                              .pinned = options.pins.pinned}));
      const HitCount& all = row.replayed.result.all;
      if (policy == kBelady) bound = misses(all);
      row.bound_misses = bound;
      rows.push_back(to_json(row, speed));
      if (!options.json) FM_RETURN_IF_ERROR(print(to_text(rows.back())));
    }
  }
  return options.json ? print_json({{"rows", rows}}) : Status();
}

}  // namespace

void add_trace_compare(CLI::App& trace, int& exit_code) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = trace.add_subcommand(
      "compare", "Policies and fixed sets side by side, with the bound and predicted speed");
  add_trace_argument(*command, options->trace);
  std::vector<std::string> known(kResidencyPolicies.begin(), kResidencyPolicies.end());
  known.emplace_back(kPinned);
  known.emplace_back(kPredictive);
  known.emplace_back(kDelta);
  choose_from(command->add_option("--policy", options->policies, "Which to compare"), known)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  add_slots_flag(*command, options->slots);
  add_pin_flags(*command, options->pins);
  add_speed_flags(*command, options->speed, /*model_is_required=*/false);
  add_whole_number(
      *command, "--switch-at", options->switch_at, {1, std::uint64_t{1} << 30},
      "The subject changes so many tokens after each start, where the file does not say")
      ->default_str("");
  command->add_flag("--json", options->json, "Print one JSON object, rates of 1");
  command->footer(kTraceCompareExamples);
  command->callback([options, &exit_code] {
    const Status status = compare(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
