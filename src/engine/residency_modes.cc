#include "engine/residency_modes.h"

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
  }
  return "unknown";
}

Status check_residency(const ResidencyOptions& options) {
  const bool has_no_rule_for_misses = options.residency == Residency::kExact ||
                                      options.residency == Residency::kResident ||
                                      options.residency == Residency::kLazy;
  if (options.is_approximate() && has_no_rule_for_misses) {
    return error(StatusCode::kInvalidArgument,
                 "--on-miss {}: {}; choose --residency lfu, lru or lcp", to_string(options.on_miss),
                 options.residency == Residency::kExact ? "--residency exact never approximates"
                 : options.residency == Residency::kResident
                     ? "with --residency resident nothing misses"
                     : "with --residency lazy everything misses");
  }
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
      options.on_miss != OnMiss::kSubstitute) {
    return error(StatusCode::kInvalidArgument, "--miss-threshold: goes with --on-miss substitute");
  }
  return Status();
}

Status check_residency_fits(const ResidencyOptions& options, const MemoryPlan& plan) {
  if (options.residency != Residency::kResident || plan.expert_slots == plan.expert_count) {
    return Status();
  }
  return error(StatusCode::kOutOfBudget,
               "--residency resident: {} of {} experts fit in {}; all of them need {} bytes ({}): "
               "raise --memory or choose another mode",
               plan.expert_slots, plan.expert_count, format_size(plan.budget_bytes),
               plan.budget_bytes_resident, format_size(plan.budget_bytes_resident));
}

std::unique_ptr<ResidencyPolicy> make_policy(Residency residency,
                                             std::span<const std::size_t> expert_counts) {
  switch (residency) {
    case Residency::kExact:
    case Residency::kResident:
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

std::optional<MissOptions> miss_options(const ResidencyOptions& options) {
  MissOptions result{.threshold = options.miss_threshold, .quality_budget = options.quality_budget};
  switch (options.on_miss) {
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
  }
  return result;
}

}  // namespace flashmoe
