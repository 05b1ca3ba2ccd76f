#ifndef FLASHMOE_KV_PRECISION_H_
#define FLASHMOE_KV_PRECISION_H_

#include <stdint.h>  // kernels of an instruction set include this: C headers only

namespace flashmoe {

/// How a sequence's keys and values are kept (docs/numerics.md). Each has bits of its own, the same
/// on every machine, for every budget and however a prompt is cut.
enum class KvPrecision : uint8_t {
  kF32,   // as computed
  kBF16,  // rounded to bfloat16: half the memory
  kInt8,  // 8-bit integers, of which 32 share a scale: little more than a quarter
};

}  // namespace flashmoe

#endif  // FLASHMOE_KV_PRECISION_H_
