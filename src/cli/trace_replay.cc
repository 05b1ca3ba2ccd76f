#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/output.h"
#include "cli/trace.h"
#include "experts/policies/belady.h"
#include "experts/policies/residency_policies.h"
#include "experts/residency_replay.h"
#include "experts/routing_trace_file.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

constexpr std::string_view kBelady = "belady";

struct ReplayOptions {
  std::string trace;
  std::vector<std::string> policies = {std::string(kDefaultResidencyPolicy)};
  std::vector<std::size_t> slots;
  bool each = false;
  bool json = false;
};

constexpr const char* kExamples = R"(
Examples:
  flash-moe trace replay once.safetensors --slots 16,32,64
  flash-moe trace replay traces.safetensors --policy lfu,lru,belady --slots 64,128 --each --json

Every sequence begins with an empty cache and is decoded token by token. belady knows the future: no policy hits more.)";

/// One line of the table.
struct Row {
  std::string name;  // of an entry; empty: all of them together
  std::string policy;
  std::size_t slots_per_layer = 0;
  ReplayResult result;
  double seconds = 0;

  void add(const Row& other) {
    result.add(other.result);
    seconds += other.seconds;
  }
};

Result<Row> replay_one(const NamedRoutingTrace& named, const std::string& policy,
                       std::size_t slots_per_layer) {
  const RoutingTrace& trace = named.trace;
  const std::size_t slot_count = slots_per_layer * trace.layer_count();
  if (slot_count < trace.experts_per_token()) {
    return error(StatusCode::kInvalidArgument,
                 "--slots {}: {} layers have {} slots then, fewer than the {} experts of a token",
                 slots_per_layer, trace.layer_count(), slot_count, trace.experts_per_token());
  }
  const auto begin = std::chrono::steady_clock::now();
  Row row{.name = printable(named.name), .policy = policy, .slots_per_layer = slots_per_layer};
  row.result = replay(
      trace,
      [&](std::size_t first, std::size_t end) {
        return policy == kBelady ? make_belady_policy(trace, first, end)
                                 : make_residency_policy(policy, trace.num_experts());
      },
      slot_count);
  row.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return row;
}

nlohmann::ordered_json rate_json(const HitCount& count) {
  return count.lookups == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(count.rate());
}

std::string rate_text(const HitCount& count) {
  return count.lookups == 0 ? "-" : fmt::format("{:.1f} %", 100 * count.rate());
}

Status print_row(const Row& row, bool json, nlohmann::ordered_json& rows) {
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
      Row total{.policy = policy, .slots_per_layer = slots};
      for (const NamedRoutingTrace& named : traces) {
        FM_ASSIGN_OR_RETURN(const Row row, replay_one(named, policy, slots));
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
  policies.emplace_back(kBelady);
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* command =
      trace.add_subcommand("replay", "How often a cache of some size finds what a trace asks for");
  command->add_option("trace", options->trace, "FILE, FILE:ENTRY or FILE:ENTRY,ENTRY")
      ->required()
      ->type_name("TRACE");
  command
      ->add_option("--policy", options->policies,
                   fmt::format("Which expert leaves: {}", fmt::join(policies, ", ")))
      ->delimiter(',')
      ->allow_extra_args(false)  // one list: the next word may be TRACE
      ->check(CLI::IsMember(policies))
      ->capture_default_str();
  command->add_option("--slots", options->slots, "Experts in memory for each layer, as 64,128")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 65536));
  command->add_flag("--each", options->each, "A line for each trace, not only for all together");
  command->add_flag("--json", options->json, "Print one JSON object, rates of 1");
  command->footer(kExamples);
  command->callback([options, &exit_code] {
    const Status status = print_replay(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
