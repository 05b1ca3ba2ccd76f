#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "cli/engine_flags.h"
#include "cli/output.h"
#include "cli/speed_flags.h"
#include "cli/trace.h"
#include "cli/trace_replays.h"
#include "experts/policies/residency_policies.h"
#include "experts/routing_trace_file.h"
#include "flashmoe/inspection.h"

namespace flashmoe::cli {
namespace {

struct AutotuneOptions {
  std::string trace;
  SpeedFlags speed;
  std::vector<std::string> budgets;
  bool json = false;
};

constexpr const char* kTraceAutotuneExamples = R"(
Examples:
  flash-moe trace autotune once.safetensors --model MODEL --disk 1.2GB --memory-rate 27GB
  flash-moe trace autotune t.safetensors --model MODEL --memory 8GiB,12GiB,16GiB --disk 3GB --memory-rate 60GB

Without --memory, budgets from the smallest that works to the one from which all experts stay are tried.
The budget recommended is the smallest that reaches 95 % of the best predicted speed.)";

/// What one budget makes possible.
struct Choice {
  MemoryPlan plan;
  std::size_t slots_per_layer = 0;
  std::string policy;
  double hit_rate = 0;
  double tokens_per_second = 0;  // reads in turn with arithmetic: the cautious figure
};

Result<std::vector<MemoryPlan>> plans(const AutotuneOptions& options) {
  InspectOptions inspect{.model = options.speed.model};
  for (const std::string& text : options.budgets) {
    FM_ASSIGN_OR_RETURN(inspect.budgets.emplace_back(), parse_memory(text));
  }
  FM_ASSIGN_OR_RETURN(const ModelInspection inspection, inspect_model(inspect));
  std::vector<MemoryPlan> wanted;
  for (const MemoryPlan& plan : inspection.plans) {
    const bool is_asked_for =
        options.budgets.empty() || std::ranges::count(inspect.budgets, plan.budget_bytes) > 0;
    if (!is_asked_for) continue;
    if (plan.budget_bytes < plan.budget_bytes_min) {
      return error(StatusCode::kOutOfBudget, "--memory {}: this model needs {}",
                   format_size(plan.budget_bytes), format_size(plan.budget_bytes_min));
    }
    wanted.push_back(plan);
  }
  return wanted;
}

/// The best policy for one budget.
Result<Choice> choose(const std::vector<NamedRoutingTrace>& traces, const MemoryPlan& plan,
                      const SpeedModel& speed) {
  const std::size_t layers = traces[0].trace.layer_count();
  Choice best{.plan = plan,
              .slots_per_layer = std::max<std::size_t>(1, plan.expert_slots / layers)};
  for (const std::string_view policy : kResidencyPolicies) {
    FM_ASSIGN_OR_RETURN(const Replayed sum,
                        replay_all(traces, {.policy = std::string(policy),
                                            .slots_per_layer = best.slots_per_layer}));
    const HitCount& all = sum.result.all;
    const double lookups = sum.lookups_per_token();
    const double rate = 1 / speed.seconds_in_turn(lookups, lookups * (1 - all.rate()));
    if (rate <= best.tokens_per_second) continue;
    best.policy = policy;
    best.hit_rate = all.rate();
    best.tokens_per_second = rate;
  }
  return best;
}

nlohmann::ordered_json to_json(const Choice& choice) {
  return {{"budget_bytes", choice.plan.budget_bytes},
          {"slots_per_layer", choice.slots_per_layer},
          {"policy", choice.policy},
          {"hit_rate", choice.hit_rate},
          {"tokens_per_second", choice.tokens_per_second}};
}

Status autotune(const AutotuneOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::vector<NamedRoutingTrace> traces,
                      read_routing_traces(options.trace, /*all=*/true));
  FM_ASSIGN_OR_RETURN(const std::optional<SpeedModel> speed, speed_model(options.speed));
  FM_ASSIGN_OR_RETURN(const std::vector<MemoryPlan> budgets, plans(options));
  std::vector<Choice> choices;
  double fastest = 0;
  for (const MemoryPlan& plan : budgets) {
    if (plan.expert_slots == 0) {
      return error(StatusCode::kInvalidArgument, "--model: it has no routed experts");
    }
    FM_ASSIGN_OR_RETURN(choices.emplace_back(), choose(traces, plan, *speed));
    fastest = std::max(fastest, choices.back().tokens_per_second);
  }
  std::ranges::sort(choices, {}, [](const Choice& c) { return c.plan.budget_bytes; });
  const auto recommended = std::ranges::find_if(
      choices, [&](const Choice& c) { return c.tokens_per_second >= 0.95 * fastest; });
  if (options.json) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const Choice& choice : choices) rows.push_back(to_json(choice));
    return print_json({{"budgets", rows}, {"recommended", to_json(*recommended)}});
  }
  std::string text = fmt::format("{:>10} {:>6}  {:<6} {:>8} {:>10}\n", "memory", "slots", "policy",
                                 "hits", "tokens/s");
  for (const Choice& choice : choices) {
    text += fmt::format("{:>10} {:>6}  {:<6} {:>6.1f} % {:>10.1f}\n",
                        format_size(choice.plan.budget_bytes), choice.slots_per_layer,
                        choice.policy, 100 * choice.hit_rate, choice.tokens_per_second);
  }
  return print(
      text +
      fmt::format("recommended: --memory {} --residency {}\n", recommended->plan.budget_bytes,
                  recommended->policy == kDefaultResidencyPolicy ? "exact" : recommended->policy));
}

}  // namespace

void add_trace_autotune(CLI::App& trace, int& exit_code) {
  auto options = std::make_shared<AutotuneOptions>();
  CLI::App* command = trace.add_subcommand(
      "autotune", "Which policy and how much memory a recorded use of a model wants");
  add_trace_argument(*command, options->trace);
  add_speed_flags(*command, options->speed, /*model_is_required=*/true);
  command->add_option("--memory", options->budgets, "Budgets to choose from, as 8GiB,12GiB")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("SIZE,...");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->footer(kTraceAutotuneExamples);
  command->callback([options, &exit_code] {
    const Status status = autotune(*options);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
