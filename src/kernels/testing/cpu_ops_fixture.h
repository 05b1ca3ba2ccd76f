#ifndef FLASHMOE_KERNELS_TESTING_CPU_OPS_FIXTURE_H_
#define FLASHMOE_KERNELS_TESTING_CPU_OPS_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/reference/reference_ops.h"

namespace flashmoe::testing {

/// A test that runs once for every CPU target of this machine.
class CpuOpsTest : public ::testing::TestWithParam<std::string> {
 protected:
  ThreadPool pool_{3};
  const std::unique_ptr<Ops> ops_ = make_cpu_ops(pool_, GetParam()).value();
  const std::unique_ptr<Ops> reference_ = make_reference_ops();
};

inline std::vector<std::string> cpu_targets() {
  const auto targets = supported_cpu_targets();
  return {targets.begin(), targets.end()};
}

}  // namespace flashmoe::testing

#endif  // FLASHMOE_KERNELS_TESTING_CPU_OPS_FIXTURE_H_
