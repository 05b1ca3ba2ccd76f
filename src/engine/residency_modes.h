#ifndef FLASHMOE_ENGINE_RESIDENCY_MODES_H_
#define FLASHMOE_ENGINE_RESIDENCY_MODES_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "experts/residency_policy.h"
#include "flashmoe/memory_plan.h"
#include "flashmoe/residency.h"
#include "model/miss_handler.h"

namespace flashmoe {

/// Errors: kInvalidArgument where the options contradict each other.
Status check_residency(const ResidencyOptions& options);

/// Errors: kOutOfBudget where the plan has fewer slots than the options need, with the figures.
Status check_residency_fits(const ResidencyOptions& options, const MemoryPlan& plan);

/// `expert_counts`: routed experts of each layer.
std::unique_ptr<ResidencyPolicy> make_policy(Residency residency,
                                             std::span<const std::size_t> expert_counts);

/// Whether something that misses may be read, beside what prompts need before there is a fixed set.
bool may_read_misses(const ResidencyOptions& options);

/// None where misses are read.
std::optional<MissOptions> miss_options(const ResidencyOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_RESIDENCY_MODES_H_
