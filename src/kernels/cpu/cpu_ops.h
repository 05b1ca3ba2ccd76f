#ifndef FLASHMOE_KERNELS_CPU_CPU_OPS_H_
#define FLASHMOE_KERNELS_CPU_CPU_OPS_H_

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/cpu/cpu_targets.h"
#include "kernels/ops.h"

namespace flashmoe {

/// The ops on this CPU, its work shared out among the threads of `pool`, which must outlive it. The
/// bits of the results do not depend on the target, nor on the pool (docs/numerics.md).
///
/// `target`: one of supported_cpu_targets(); empty: what the environment variable
/// FLASHMOE_CPU_TARGET says, else the best. Errors: as find_kernels().
Result<std::unique_ptr<Ops>> make_cpu_ops(ThreadPool& pool, std::string_view target);

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_CPU_OPS_H_
