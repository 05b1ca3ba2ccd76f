#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "base/check.h"
#include "kernels/cpu/cpu_ops_impl.h"
#include "kernels/cpu/order_key.h"
#include "kernels/kv_rows.h"

namespace flashmoe {
namespace {

static_assert(kAttentionBlock == kKvBlock);  // the kernels see no C++ header of ours
static_assert(kAttentionGroup == kKvGroup);

constexpr std::size_t kConvKernelMax = 16;
constexpr std::size_t kConvChannels = 512;    // per unit of work
constexpr std::size_t kDeltaColumns = 64;     // per unit of work: its part of the state stays in L1
constexpr std::size_t kAttentionRowsMax = 8;  // that share one pass over the KV cache

/// The last inputs that are kept of channels [begin, begin + count), after `segment`'s rows.
void update_conv_state(MatrixView<const float> u, std::size_t kept, const ConvSegment& segment,
                       std::size_t begin, std::size_t count) {
  const std::size_t rows = segment.row_end - segment.row_begin;
  for (std::size_t i = 0; i < kept; ++i) {  // ascending: a source is never behind its destination
    const float* source = i + rows < kept ? segment.state + (i + rows) * u.cols
                                          : u.row(segment.row_begin + (i + rows - kept));
    std::memmove(segment.state + i * u.cols + begin, source + begin, count * sizeof(float));
  }
}

/// The k best of keys that come in ascending order: a heap with the worst of them at its front.
/// What ranks higher is the larger number: by score, then by how low the key is.
class BestKeys {
 public:
  explicit BestKeys(std::span<std::uint64_t> room) : room_(room) {}

  /// Scores of the next keys.
  void add(std::span<const float> scores) {
    for (const float score : scores) {
      const std::uint64_t rank = (std::uint64_t{order_key(score)} << 32) | (kLowBits - next_key_++);
      if (count_ < room_.size()) {
        room_[count_++] = rank;
        if (count_ == room_.size()) std::make_heap(room_.begin(), room_.end(), std::greater<>());
      } else if (rank > room_.front()) {
        std::pop_heap(room_.begin(), room_.end(), std::greater<>());
        room_.back() = rank;
        std::push_heap(room_.begin(), room_.end(), std::greater<>());
      }
    }
  }

  /// Ascending.
  void write(std::uint32_t* chosen) const {
    for (std::size_t i = 0; i < room_.size(); ++i) {
      chosen[i] = kLowBits - static_cast<std::uint32_t>(room_[i]);
    }
    std::sort(chosen, chosen + room_.size());
  }

 private:
  static constexpr std::uint32_t kLowBits = 0xffffffffu;

  std::span<std::uint64_t> room_;
  std::size_t count_ = 0;
  std::uint32_t next_key_ = 0;
};

}  // namespace

void CpuOps::causal_conv_silu(MatrixView<const float> u, const float* weight,
                              const ConvShape& shape, std::span<const ConvSegment> segments,
                              MatrixView<float> y) {
  const std::size_t kernel = shape.kernel;
  const std::size_t past = shape.past();
  FM_CHECK(kernel >= 1);
  FM_CHECK(shape.dilation >= 1);
  FM_CHECK(kernel <= kConvKernelMax);
  FM_CHECK(u.rows == y.rows);
  FM_CHECK(u.cols == y.cols);
  std::size_t row_count = 0;
  for (const ConvSegment& segment : segments) {
    FM_CHECK(segment.row_begin <= segment.row_end);
    FM_CHECK(segment.row_end <= u.rows);
    row_count += segment.row_end - segment.row_begin;
  }
  const std::size_t ranges = (u.cols + kConvChannels - 1) / kConvChannels;
  const std::size_t rows_each = row_count / std::max<std::size_t>(segments.size(), 1) + 1;
  for_rows(segments.size() * ranges, rows_each * kConvChannels * 4, [&](std::size_t unit) {
    const ConvSegment& segment = segments[unit / ranges];
    const std::size_t begin = unit % ranges * kConvChannels;
    const std::size_t end = std::min(begin + kConvChannels, u.cols);
    for (std::size_t r = segment.row_begin; r < segment.row_end; ++r) {
      std::array<const float*, kConvKernelMax> taps;
      for (std::size_t t = 0; t < kernel; ++t) {
        const std::size_t at = r - segment.row_begin + t * shape.dilation;  // in state, then rows
        taps[t] = at < past ? segment.state + at * u.cols : u.row(segment.row_begin + (at - past));
      }
      kernels_.conv_silu(taps.data(), kernel, weight, u.cols, begin, end, y.row(r));
    }
    update_conv_state(u, past, segment, begin, end - begin);
  });
}

void CpuOps::delta_rule(const DeltaShape& shape, MatrixView<const float> q,
                        MatrixView<const float> k, MatrixView<const float> v,
                        MatrixView<const float> decay, MatrixView<const float> beta,
                        std::span<const DeltaSegment> segments, MatrixView<float> o) {
  FM_CHECK(shape.key_heads >= 1);
  FM_CHECK(shape.value_heads % shape.key_heads == 0);
  FM_CHECK(q.cols == shape.key_heads * shape.key_dim);
  FM_CHECK(k.cols == q.cols);
  FM_CHECK(v.cols == shape.value_heads * shape.value_dim);
  FM_CHECK(o.cols == v.cols);
  FM_CHECK(decay.cols == shape.value_heads);
  FM_CHECK(beta.cols == shape.value_heads);
  std::size_t row_count = 0;
  for (const DeltaSegment& segment : segments) {
    FM_CHECK(segment.row_begin <= segment.row_end);
    FM_CHECK(segment.row_end <= std::min({q.rows, k.rows, v.rows, o.rows, decay.rows, beta.rows}));
    row_count += segment.row_end - segment.row_begin;
  }
  const std::size_t ranges = (shape.value_dim + kDeltaColumns - 1) / kDeltaColumns;
  const std::size_t units_per_segment = shape.value_heads * ranges;
  const std::size_t rows_each = row_count / std::max<std::size_t>(segments.size(), 1) + 1;
  for_rows(segments.size() * units_per_segment, rows_each * shape.key_dim * kDeltaColumns,
           [&](std::size_t unit) {
             const DeltaSegment& segment = segments[unit / units_per_segment];
             const std::size_t head = unit % units_per_segment / ranges;
             const std::size_t begin = unit % ranges * kDeltaColumns;
             const std::size_t first = segment.row_begin;
             kernels_.delta_rule({
                 .q = q.row(first) + shape.key_head_of(head) * shape.key_dim,
                 .k = k.row(first) + shape.key_head_of(head) * shape.key_dim,
                 .v = v.row(first) + head * shape.value_dim,
                 .decay = decay.row(first) + head,
                 .beta = beta.row(first) + head,
                 .o = o.row(first) + head * shape.value_dim,
                 .q_stride = q.stride,
                 .k_stride = k.stride,
                 .v_stride = v.stride,
                 .decay_stride = decay.stride,
                 .beta_stride = beta.stride,
                 .o_stride = o.stride,
                 .row_count = segment.row_end - first,
                 .key_dim = shape.key_dim,
                 .value_dim = shape.value_dim,
                 .col_begin = begin,
                 .col_end = std::min(begin + kDeltaColumns, shape.value_dim),
                 .state = segment.state + head * shape.key_dim * shape.value_dim,
             });
           });
}

void CpuOps::choose_keys(const KeySearchShape& shape, std::span<const KeySearch> rows) {
  FM_CHECK(shape.k >= 1);
  FM_CHECK(shape.keys_per_block >= 1);
  FM_CHECK(shape.keys_per_block <= kAttentionBlock);
  std::size_t key_count = 0;
  for (const KeySearch& row : rows) {
    FM_CHECK(row.key_count >= shape.k);
    key_count = std::max(key_count, row.key_count);
  }
  const auto score_block = [&](const KeySearch& row, std::size_t block, float* scores) {
    const std::size_t begin = block * shape.keys_per_block;
    const std::size_t size = std::min(shape.keys_per_block, row.key_count - begin);
    kernels_.key_scores(row.q, shape.head_weights, shape.num_heads, shape.head_dim,
                        static_cast<const float*>(row.key_blocks[block]), size, scores);
    return std::span<const float>(scores, size);
  };
  const auto block_count = [&](const KeySearch& row) {
    return (row.key_count + shape.keys_per_block - 1) / shape.keys_per_block;
  };
  const std::size_t key_cost = shape.num_heads * shape.head_dim;
  if (rows.size() >= pool_.thread_count()) {
    for_rows(rows.size(), key_count * key_cost, [&](std::size_t r) {
      BestKeys best({rows[r].room, shape.k});
      float scores[kAttentionBlock];
      for (std::size_t block = 0; block < block_count(rows[r]); ++block) {
        best.add(score_block(rows[r], block, scores));
      }
      best.write(rows[r].chosen);
    });
    return;
  }
  // Too few rows for all threads: they share the keys of each.
  for (const KeySearch& row : rows) {
    key_scores_.resize(std::max(key_scores_.size(), row.key_count));
    for_rows(block_count(row), shape.keys_per_block * key_cost, [&](std::size_t block) {
      score_block(row, block, key_scores_.data() + block * shape.keys_per_block);
    });
    BestKeys best({row.room, shape.k});
    best.add(std::span(key_scores_).first(row.key_count));
    best.write(row.chosen);
  }
}

void CpuOps::attention(const AttentionShape& shape, std::span<const AttentionRow> rows) {
  FM_CHECK(shape.num_heads >= 1);
  FM_CHECK(shape.num_kv_heads >= 1);
  FM_CHECK(shape.num_heads % shape.num_kv_heads == 0);
  FM_CHECK(shape.value_dim <= shape.value_stride);
  FM_CHECK(shape.run_size >= 1);
  FM_CHECK(kKvBlock % shape.run_size == 0);
  if (rows.empty()) return;
  const std::size_t group = shape.num_heads / shape.num_kv_heads;
  queries_.clear();
  std::size_t positions = 0;
  for (const AttentionRow& row : rows) {
    queries_.push_back({.q = row.q,
                        .q_stride = row.q_stride,
                        .key_blocks = row.key_blocks,
                        .value_blocks = row.value_blocks,
                        .first = row.first,
                        .position = row.position,
                        .runs = row.runs.empty() ? nullptr : row.runs.data(),
                        .run_count = row.runs.size(),
                        .out = row.out});
    FM_CHECK(row.first <= row.position);
    const std::size_t in_reach = row.position - row.first + 1;
    positions += row.runs.empty() ? in_reach : std::min(in_reach, row.runs.size() * shape.run_size);
  }
  // All query heads of a KV head together, unless that leaves threads without work.
  const auto units = [&](std::size_t rows_each, std::size_t heads_each) {
    return (rows.size() + rows_each - 1) / rows_each * shape.num_kv_heads *
           ((group + heads_each - 1) / heads_each);
  };
  std::size_t heads_each = std::min(group, kAttentionTileMax);
  std::size_t rows_each = std::min(kAttentionRowsMax, kAttentionTileMax / heads_each);
  while (rows_each > 1 && units(rows_each, heads_each) < 4 * pool_.thread_count()) rows_each /= 2;
  while (heads_each > 1 && units(rows_each, heads_each) < pool_.thread_count()) heads_each /= 2;

  const std::size_t tiles = (rows.size() + rows_each - 1) / rows_each;
  const std::size_t parts = (group + heads_each - 1) / heads_each;
  const std::size_t unit_count = units(rows_each, heads_each);
  const std::size_t scratch_bytes =
      shape.precision == KvPrecision::kF32
          ? 0
          : kAttentionBlock * (shape.head_dim + shape.value_dim) * sizeof(float);
  const std::size_t cost = positions * shape.num_heads * shape.head_dim / unit_count + 1;
  for_rows(unit_count, cost, [&](std::size_t unit) {
    // The last rows see the most positions: begin with them.
    const std::size_t tile = tiles - 1 - unit / (shape.num_kv_heads * parts);
    const std::size_t kv_head = unit / parts % shape.num_kv_heads;
    const std::size_t begin = unit % parts * heads_each;
    const std::size_t first = tile * rows_each;
    kernels_.attention({.head_begin = kv_head * group + begin,
                        .head_end = kv_head * group + std::min(begin + heads_each, group),
                        .kv_head = kv_head,
                        .head_dim = shape.head_dim,
                        .value_dim = shape.value_dim,
                        .value_stride = shape.value_stride,
                        .precision = shape.precision,
                        .key_bytes = kv_row_bytes(shape.precision, shape.head_dim),
                        .value_bytes = kv_row_bytes(shape.precision, shape.value_stride),
                        .scale = shape.scale,
                        .sinks = shape.sinks,
                        .run_size = shape.run_size},
                       queries_.data() + first, std::min(rows_each, rows.size() - first),
                       static_cast<float*>(thread_scratch(scratch_bytes)));
  });
}

}  // namespace flashmoe
