#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/cpu/cpu_ops_impl.h"

namespace flashmoe {
namespace {

// Weight bytes (times activation rows) below which the caller computes alone, and the least and
// most weight bytes that a thread takes at a time: more where many activation rows are packed for
// each chunk anew.
constexpr std::size_t kInlineSize = 24 << 10;
constexpr std::size_t kChunkSizeMin = 8 << 10;
constexpr std::size_t kChunkSizeMax = 64 << 10;
constexpr std::size_t kManyRowsChunkSizeMax = 1 << 20;
constexpr std::size_t kChunksPerThread = 8;

// From so many activation rows on, weights are worth larger chunks.
constexpr std::size_t kManyRows = 16;

// Weight rows that integer kernels compute side by side, for one activation row and for several.
constexpr std::size_t kChainTile = 16;
constexpr std::size_t kChainTiles = 32;

// Weight rows that share the cache lines of transposed 16-bit floats.
constexpr std::size_t kTransposedTile = 32;

FloatType to_float_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return FloatType::kF32;
    case DType::kBF16:
      return FloatType::kBF16;
    default:
      FM_CHECK(dtype == DType::kF16);
      return FloatType::kF16;
  }
}

}  // namespace

void* thread_scratch(std::size_t size) {
  thread_local AlignedBuffer buffer;
  if (buffer.size() < size) buffer = AlignedBuffer::allocate(size).value();
  return buffer.data();
}

WeightRows to_weight_rows(const WeightView& view) {
  const WeightType& type = *view.type;
  WeightRows weights = {
      .planes = {},
      .strides = {},
      .transposed_stride = view.transposed_stride,
      .cols = view.cols,
      .block_cols = type.block_cols,
      .block_bytes = type.all_planes[0].block_bytes,
      .scale_rows = type.all_planes[1].block_rows,
      .scale_cols = type.all_planes[1].block_cols,
      .row_in_block = view.row_in_block,
      .bits = type.bits,
      .encoding = type.encoding,
      .type = to_float_type(type.dtype),
  };
  for (std::size_t i = 0; i < type.plane_count; ++i) {
    weights.planes[i] = reinterpret_cast<const std::uint8_t*>(view.planes[i]);
    weights.strides[i] = type.plane_row_size(i, view.cols);
  }
  if (type.encoding != WeightEncoding::kFloat) {
    FM_CHECK(view.cols % type.block_cols == 0);
    FM_CHECK(view.transposed_stride == 0);
  }
  return weights;
}

void CpuOps::run_chunk(std::size_t chunk) {
  const auto after = std::upper_bound(
      plans_.begin(), plans_.end(), chunk,
      [](std::size_t value, const LinearPlan& plan) { return value < plan.first_chunk; });
  const LinearPlan& plan = *(after - 1);
  const std::size_t begin = (chunk - plan.first_chunk) * plan.rows_per_chunk;
  const std::size_t end = std::min(begin + plan.rows_per_chunk, plan.row_count);
  kernels_.linear(plan.weights, begin, end, x_.data() + plan.x_begin, y_.data() + plan.x_begin,
                  plan.x_count, thread_scratch(kernels_.linear_scratch_size));
}

void CpuOps::linear(std::span<const LinearTask> tasks) {
  plans_.clear();
  x_.clear();
  y_.clear();
  std::size_t weight_bytes = 0;
  std::size_t cost = 0;
  std::size_t x_count_max = 0;
  for (const LinearTask& task : tasks) {
    FM_CHECK(task.x->cols() == task.weight.cols);
    FM_CHECK(task.y.cols == task.weight.rows);
    FM_CHECK(task.y.rows == (task.x_rows.empty() ? task.x->rows() : task.x_rows.size()));
    if (task.y.rows == 0 || task.weight.rows == 0) continue;
    const WeightRows weights = to_weight_rows(task.weight);
    const bool is_integer = task.weight.type->has_integer_products();
    if (is_integer) FM_CHECK(task.x->has_integers());
    const std::size_t row_size = task.weight.type->row_size(task.weight.cols);
    plans_.push_back({.weights = weights,
                      .row_count = task.weight.rows,
                      .row_size = row_size,
                      .is_integer = is_integer,
                      .rows_per_chunk = 0,
                      .first_chunk = 0,
                      .x_begin = x_.size(),
                      .x_count = task.y.rows});
    for (std::size_t r = 0; r < task.y.rows; ++r) {
      const std::size_t x_row = task.x_rows.empty() ? r : task.x_rows[r];
      FM_CHECK(x_row < task.x->rows());
      x_.push_back(task.x->row(x_row));
      y_.push_back(task.y.row(r));
    }
    const std::size_t size = task.weight.rows * row_size;
    weight_bytes += size;
    cost += size * task.y.rows;
    x_count_max = std::max(x_count_max, task.y.rows);
  }
  const std::size_t chunk_size =
      cost < kInlineSize
          ? cost
          : std::clamp(weight_bytes / (pool_.thread_count() * kChunksPerThread), kChunkSizeMin,
                       x_count_max < kManyRows ? kChunkSizeMax : kManyRowsChunkSizeMax);
  std::size_t chunk_count = 0;
  for (LinearPlan& plan : plans_) {
    // Whole tiles, so that none is left half empty behind; transposed, whole lines of the cache.
    const std::size_t tile = plan.weights.transposed_stride != 0 ? kTransposedTile
                             : !plan.is_integer                  ? 2
                             : plan.x_count == 1                 ? kChainTile
                                                                 : kChainTiles;
    plan.rows_per_chunk =
        (chunk_size / std::max<std::size_t>(plan.row_size, 1) + tile / 2) / tile * tile;
    plan.rows_per_chunk =
        std::clamp<std::size_t>(plan.rows_per_chunk, tile, std::max(tile, plan.row_count + 1));
    plan.first_chunk = chunk_count;
    chunk_count += (plan.row_count + plan.rows_per_chunk - 1) / plan.rows_per_chunk;
  }
  if (cost < kInlineSize) {
    for (std::size_t chunk = 0; chunk < chunk_count; ++chunk) run_chunk(chunk);
  } else {
    pool_.parallel_for(chunk_count, [this](std::size_t chunk) {
      if (!is_stopped()) run_chunk(chunk);
    });
  }
}

}  // namespace flashmoe
