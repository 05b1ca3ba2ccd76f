#include "cli/trace_replays.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "cli/option_values.h"
#include "experts/fixed_set_replay.h"
#include "experts/policies/belady.h"
#include "experts/policies/pinned.h"
#include "experts/policies/residency_policies.h"
#include "format/printable.h"

namespace flashmoe::cli {

namespace {

/// The set that an engine would pin, of a model without dense layers, which traces leave out.
Result<std::shared_ptr<FixedSet>> pinned_set(const RoutingTrace& trace,
                                             const ReplaySetting& setting) {
  FM_CHECK(setting.profile != nullptr);
  ExpertProfile profile;
  for (const std::vector<std::uint64_t>& layer : setting.profile->layers) {
    if (!layer.empty()) profile.layers.push_back(layer);
  }
  const std::vector<std::size_t> counts = profile.expert_counts();
  if (!std::ranges::equal(counts, trace.num_experts())) {
    return error(StatusCode::kInvalidArgument,
                 "--profile: it is of a model with {} layers of experts, or with other numbers of "
                 "them, and the trace has {}; make one with `flash-moe profile make` from this "
                 "model's traces",
                 counts.size(), trace.layer_count());
  }
  auto set = std::make_shared<FixedSet>(counts);
  set->plan(
      choose_experts(ExpertProfile(counts), {}, &profile,
                     pinned_shares({.counts = {setting.slots_per_layer * trace.layer_count()}},
                                   setting.pinned, trace.experts_per_token(), counts)));
  for (std::uint32_t l = 0; l < counts.size(); ++l) {
    set->complete(LayerId{l}, set->pending(LayerId{l}).size());
  }
  return set;
}

}  // namespace

Result<Replayed> replay_named(const NamedRoutingTrace& named, const ReplaySetting& setting) {
  const RoutingTrace& trace = named.trace;
  const std::size_t slot_count = setting.slots_per_layer * trace.layer_count();
  if (slot_count < trace.experts_per_token()) {
    return error(StatusCode::kInvalidArgument,
                 "--slots {}: {} layers have {} slots then, fewer than the {} experts of a token",
                 setting.slots_per_layer, trace.layer_count(), slot_count,
                 trace.experts_per_token());
  }
  Replayed row{.name = printable(named.name),
               .policy = setting.policy,
               .slots_per_layer = setting.slots_per_layer};
  std::shared_ptr<FixedSet> pinned;
  if (setting.policy == kPinned) {
    FM_ASSIGN_OR_RETURN(pinned, pinned_set(trace, setting));
  }
  Stopwatch watch;
  if (is_fixed_set(setting.policy)) {
    row.result = replay_fixed_set(trace, {.capacity = setting.slots_per_layer,
                                          .follows_switches = setting.policy == kDelta})
                     .hits;
  } else {
    row.result = replay(
        trace,
        [&](std::size_t first, std::size_t end) -> std::unique_ptr<ResidencyPolicy> {
          if (setting.policy == kBelady) return make_belady_policy(trace, first, end);
          if (pinned == nullptr) return make_residency_policy(setting.policy, trace.num_experts());
          return make_pinned_policy(
              make_residency_policy(kDefaultResidencyPolicy, trace.num_experts()), pinned);
        },
        slot_count, pinned.get());
  }
  row.token_count = trace.token_count();
  row.seconds = watch.lap();
  return row;
}

Result<Replayed> replay_all(std::span<const NamedRoutingTrace> traces,
                            const ReplaySetting& setting) {
  Replayed sum{.policy = setting.policy, .slots_per_layer = setting.slots_per_layer};
  for (const NamedRoutingTrace& named : traces) {
    FM_ASSIGN_OR_RETURN(const Replayed one, replay_named(named, setting));
    sum.add(one);
  }
  return sum;
}

void add_trace_argument(CLI::App& command, std::string& trace) {
  command.add_option("TRACE", trace, "FILE, FILE:ENTRY or FILE:ENTRY,ENTRY")
      ->required()
      ->type_name("TRACE");
}

void add_slots_flag(CLI::App& command, std::vector<std::size_t>& slots) {
  command.add_option("--slots", slots, "Experts in memory for each layer, as 64,128")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("N,...")
      ->check([](const std::string& text) {
        return check_whole_number(text, {1, 65536});
      });
}

void add_pin_flags(CLI::App& command, PinFlags& flags) {
  command
      .add_option("--profile", flags.profile,
                  "With pinned: how often experts are routed (`flash-moe profile`)")
      ->type_name("FILE");
  add_whole_number(command, "--pinned", flags.pinned, {1, 65536},
                   "With pinned: experts of a layer that never leave; default: half of the slots")
      ->default_str("");
}

Result<std::optional<ExpertProfile>> read_pins(const PinFlags& flags,
                                               std::span<const std::string> policies) {
  if (flags.profile.empty()) {
    if (std::ranges::find(policies, kPinned) == policies.end()) {
      return std::optional<ExpertProfile>();
    }
    return error(StatusCode::kInvalidArgument,
                 "--policy pinned: --profile FILE has to say whom to pin; `flash-moe profile` "
                 "writes one");
  }
  FM_ASSIGN_OR_RETURN(ProfileFile file, read_profile(flags.profile));
  return std::optional<ExpertProfile>(std::move(file.profile));
}

Result<RoutingTrace> with_switches_at(const RoutingTrace& trace, std::size_t at) {
  std::vector<std::size_t> switches;
  for (std::size_t i = 0; i < trace.starts().size(); ++i) {
    const std::size_t token = trace.starts()[i] + at;
    if (token < trace.sequence_end(i)) switches.push_back(token);
  }
  return trace.with_switches(std::move(switches));
}

}  // namespace flashmoe::cli
