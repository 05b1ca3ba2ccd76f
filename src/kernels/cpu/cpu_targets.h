#ifndef FLASHMOE_KERNELS_CPU_CPU_TARGETS_H_
#define FLASHMOE_KERNELS_CPU_CPU_TARGETS_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/cpu/kernel_table.h"

namespace flashmoe {

/// Instruction sets that this build has kernels for and this CPU and system can run, best first;
/// "scalar" is always the last.
std::vector<std::string_view> supported_cpu_targets();

/// The kernels called `name`; empty: those that the environment variable FLASHMOE_CPU_TARGET names,
/// else the best. Errors: kUnsupported (known, but not here), kInvalidArgument.
Result<const KernelTable*> find_kernels(std::string_view name);

/// Bytes that linear() of find_kernels("") keeps for each thread; 0 where there are none.
std::size_t linear_scratch_size();

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_CPU_TARGETS_H_
