#include "engine/residency_modes.h"

#include "base/budget_text.h"
#include "base/check.h"
#include "base/units.h"
#include "experts/policies/lazy.h"
#include "experts/policies/residency_policies.h"

namespace flashmoe {

std::string_view to_string(Residency residency) {
  switch (residency) {
    case Residency::kExact:
      return "exact";
    case Residency::kResident:
      return "resident";
    case Residency::kLazy:
      return "lazy";
    case Residency::kLcp:
      return "lcp";
    case Residency::kLru:
      return "lru";
    case Residency::kLfu:
      return "lfu";
    case Residency::kPinned:
      return "pinned";
    case Residency::kPredictive:
      return "predictive";
    case Residency::kDelta:
      return "delta";
    case Residency::kAsyncDelta:
      return "async-delta";
  }
  return "unknown";
}

std::string_view to_string(OnMiss on_miss) {
  switch (on_miss) {
    case OnMiss::kRead:
      return "read";
    case OnMiss::kSkip:
      return "skip";
    case OnMiss::kRenormalise:
      return "renormalise";
    case OnMiss::kSubstitute:
      return "substitute";
    case OnMiss::kStale:
      return "stale";
  }
  return "unknown";
}

std::string_view to_string(Hold hold) {
  switch (hold) {
    case Hold::kNothing:
      return "nothing";
    case Hold::kOutput:
      return "output";
    case Hold::kRestart:
      return "restart";
  }
  return "unknown";
}

std::string_view to_string(DropCaches drop_caches) {
  switch (drop_caches) {
    case DropCaches::kAuto:
      return "auto";
    case DropCaches::kOn:
      return "on";
    case DropCaches::kOff:
      return "off";
  }
  return "unknown";
}

namespace {

/// Options that only some modes know, given to another.
Status check_fixed_set(const ResidencyOptions& options) {
  const ResidencyOptions defaults;
  const std::string_view mode = to_string(options.residency);
  const bool is_pinned = options.residency == Residency::kPinned;
  if (is_pinned && options.profile.empty()) {
    return error(StatusCode::kInvalidArgument,
                 "--residency pinned: --profile FILE has to say whom to pin; `flash-moe profile` "
                 "makes one");
  }
  if (!options.profile.empty() && !is_pinned && !options.has_fixed_set()) {
    return error(StatusCode::kInvalidArgument, "--profile: --residency {} does not use one", mode);
  }
  if (options.pinned != 0 && !is_pinned) {
    return error(StatusCode::kInvalidArgument, "--pinned: goes with --residency pinned");
  }
  if (options.discovery_tokens == 0) {
    return error(StatusCode::kInvalidArgument, "--discovery-tokens: at least one has to be seen");
  }
  const bool changes_fixed = options.discovery_tokens != defaults.discovery_tokens ||
                             options.refresh_every != defaults.refresh_every;
  if (changes_fixed && !options.has_fixed_set()) {
    return error(StatusCode::kInvalidArgument,
                 "--discovery-tokens, --refresh-every: go with --residency predictive, delta or "
                 "async-delta");
  }
  if (options.drop_caches != defaults.drop_caches && !options.changes_its_set()) {
    return error(StatusCode::kInvalidArgument,
                 "--drop-caches-on-switch: goes with --residency delta or async-delta");
  }
  if (!(options.swap_seconds >= 0 && options.swap_seconds <= 3600)) {
    return error(StatusCode::kInvalidArgument, "--swap-seconds {}: 0 to 3600 make sense",
                 options.swap_seconds);
  }
  if (options.swap_layers == 0) {
    return error(StatusCode::kInvalidArgument, "--swap-layers: at least one, or nothing gets done");
  }
  const bool changes_async = options.swap_layers != defaults.swap_layers ||
                             options.swap_seconds != defaults.swap_seconds ||
                             options.hold != defaults.hold;
  if (changes_async && options.residency != Residency::kAsyncDelta) {
    return error(StatusCode::kInvalidArgument,
                 "--swap-layers, --swap-seconds, --hold: go with --residency async-delta");
  }
  return Status();
}

}  // namespace

Status check_residency(const ResidencyOptions& options) {
  const bool has_no_rule_for_misses = options.residency == Residency::kExact ||
                                      options.residency == Residency::kResident ||
                                      options.residency == Residency::kLazy;
  if (options.is_approximate() && has_no_rule_for_misses) {
    return error(StatusCode::kInvalidArgument,
                 "--on-miss {}: {}; choose --residency lfu, lru, lcp, pinned, predictive, delta or "
                 "async-delta",
                 to_string(options.miss_rule()),
                 options.residency == Residency::kExact ? "--residency exact never approximates"
                 : options.residency == Residency::kResident
                     ? "with --residency resident nothing misses"
                     : "with --residency lazy everything misses");
  }
  if (options.miss_rule() == OnMiss::kStale && !options.has_fixed_set()) {
    return error(
        StatusCode::kInvalidArgument,
        "--on-miss stale: only a fixed set has places, of --residency predictive, delta or "
        "async-delta");
  }
  FM_RETURN_IF_ERROR(check_fixed_set(options));
  if (options.capacity != 0 && options.residency == Residency::kResident) {
    return error(StatusCode::kInvalidArgument, "--capacity: --residency {} holds every expert",
                 to_string(options.residency));
  }
  if (!(options.quality_budget >= 0 && options.quality_budget <= 1)) {
    return error(StatusCode::kInvalidArgument, "--quality-budget {}: a share is 0 to 1",
                 options.quality_budget);
  }
  if (options.quality_budget < 1 && !options.is_approximate()) {
    return error(StatusCode::kInvalidArgument,
                 "--quality-budget: with --on-miss read nothing is replaced");
  }
  if (!(options.miss_threshold >= 0)) {
    return error(StatusCode::kInvalidArgument, "--miss-threshold {}: a weight is not below 0",
                 options.miss_threshold);
  }
  if (options.miss_threshold < ResidencyOptions().miss_threshold &&
      options.miss_rule() != OnMiss::kSubstitute) {
    return error(StatusCode::kInvalidArgument, "--miss-threshold: goes with --on-miss substitute");
  }
  return Status();
}

Status check_residency_fits(const ResidencyOptions& options, const MemoryPlan& plan) {
  if (options.residency != Residency::kResident || plan.expert_slots == plan.expert_count) {
    return Status();
  }
  return error(StatusCode::kOutOfBudget,
               "--residency resident: {} of {} experts fit in {}; all of them need {}: "
               "raise --memory or choose another mode",
               plan.expert_slots, plan.expert_count, format_size(plan.budget_bytes),
               budget_text(plan.budget_bytes_resident));
}

std::unique_ptr<ResidencyPolicy> make_policy(Residency residency,
                                             std::span<const std::size_t> expert_counts) {
  switch (residency) {
    case Residency::kExact:
    case Residency::kResident:
    case Residency::kPinned:
    case Residency::kPredictive:
    case Residency::kDelta:
    case Residency::kAsyncDelta:
      break;
    case Residency::kLazy:
      return make_lazy_policy(expert_counts);
    case Residency::kLcp:
    case Residency::kLru:
    case Residency::kLfu:
      return make_residency_policy(to_string(residency), expert_counts);
  }
  return make_residency_policy(kDefaultResidencyPolicy, expert_counts);
}

bool may_read_misses(const ResidencyOptions& options) {
  return !options.is_approximate() || options.quality_budget < 1 ||
         options.miss_threshold < ResidencyOptions().miss_threshold;
}

std::optional<MissOptions> miss_options(const ResidencyOptions& options) {
  MissOptions result{.threshold = options.miss_threshold,
                     .quality_budget = options.quality_budget,
                     .answers_prompts = options.has_fixed_set()};
  switch (options.miss_rule()) {
    case OnMiss::kRead:
      return std::nullopt;
    case OnMiss::kSkip:
      result.rule = MissRule::kSkip;
      break;
    case OnMiss::kRenormalise:
      result.rule = MissRule::kRenormalise;
      break;
    case OnMiss::kSubstitute:
      result.rule = MissRule::kSubstitute;
      break;
    case OnMiss::kStale:
      result.rule = MissRule::kStale;
      break;
  }
  return result;
}

}  // namespace flashmoe
