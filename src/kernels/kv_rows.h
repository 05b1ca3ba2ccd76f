#ifndef FLASHMOE_KERNELS_KV_ROWS_H_
#define FLASHMOE_KERNELS_KV_ROWS_H_

#include <cstddef>
#include <span>

#include "flashmoe/kv_precision.h"

namespace flashmoe {

/// Consecutive elements of a key or value that share a scale as kInt8; a row's last may be fewer.
inline constexpr std::size_t kKvGroup = 32;

/// Bytes of a key or value of `dim` elements: floats, bfloat16, or int8 [dim] and then a float
/// scale for each group. Rows lie at any address.
std::size_t kv_row_bytes(KvPrecision precision, std::size_t dim);

/// Rounds a key or value to what a cache keeps of it, as docs/numerics.md says.
void store_kv_row(KvPrecision precision, std::span<const float> values, void* row);

/// The floats that a stored key or value stands for.
void load_kv_row(KvPrecision precision, const void* row, std::span<float> values);

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_KV_ROWS_H_
