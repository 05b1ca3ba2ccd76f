// Kernels on random weights. Every size is compared with what it should cost: mat-vec with the
// memory read ceiling of the same run, mat-mul with mat-vec per row.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/kv_rows.h"

namespace flashmoe {
namespace {

AlignedBuffer random_bytes(std::size_t size) {
  AlignedBuffer buffer = AlignedBuffer::allocate(size).value();
  std::mt19937_64 random(size);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t bits = random();
    std::memcpy(buffer.data() + i, &bits, 8);
  }
  return buffer;
}

/// Random weights, but scales of 1, so that sums stay finite.
class Weights {
 public:
  Weights(const WeightType& type, std::size_t rows, std::size_t cols)
      : view_{.type = &type, .rows = rows, .cols = cols} {
    for (std::size_t i = 0; i < type.plane_count; ++i) {
      const std::size_t size = type.plane_size(i, rows, cols);
      planes_[i] = random_bytes(size);
      view_.planes[i] = planes_[i].data();
      size_ += size;
      if (type.planes()[i].code != ScaleCode::kAny) {
        fill_ones(type.planes()[i].code, {planes_[i].data(), size});
        continue;
      }
      // Bytes of a block that hold floats.
      const std::size_t step = i > 0 ? 2 : type.planes()[0].block_bytes;
      for (std::size_t at = 0; at + step <= size && (i > 0 || type.ggml != nullptr); at += step) {
        set_floats(type, i, planes_[i].data() + at);
      }
    }
  }
  const WeightView& view() const { return view_; }
  /// Bytes of memory that one pass over all rows reads.
  std::size_t size() const { return size_; }

 private:
  static void fill_ones(ScaleCode code, std::span<std::byte> scales) {
    if (code == ScaleCode::kF32) {
      const float one = 1;
      for (std::size_t at = 0; at < scales.size(); at += 4) std::memcpy(&scales[at], &one, 4);
    } else {
      std::ranges::fill(scales, code == ScaleCode::kE8m0 ? std::byte{127} : std::byte{0x38});
    }
  }

  static void set_floats(const WeightType& type, std::size_t plane, std::byte* block) {
    const auto store = [&](std::uint16_t half, std::size_t at) {
      std::memcpy(block + at, &half, 2);
    };
    constexpr std::uint16_t kF16One = 0x3c00;
    if (plane > 0) return store(0x3f80, 0);
    switch (type.encoding) {
      case WeightEncoding::kQ4K:
      case WeightEncoding::kQ5K:
        store(kF16One, 2);
        return store(kF16One, 0);
      case WeightEncoding::kQ6K:
        return store(kF16One, 208);
      case WeightEncoding::kMxfp4:
        block[0] = std::byte{127};
        return;
      default:
        return store(kF16One, 0);
    }
  }

  std::array<AlignedBuffer, kWeightPlanesMax> planes_;
  std::size_t size_ = 0;
  WeightView view_;
};

const WeightType& affine(std::uint32_t bits) {
  return *find_affine_weights(bits, 64, DType::kBF16);
}

/// What people run, by number.
const WeightType& bench_type(std::int64_t number) {
  constexpr const char* kGgml[] = {"Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "MXFP4"};
  constexpr std::uint32_t kBits[] = {4, 8, 3, 5, 6};
  constexpr const char* kModes[] = {"mxfp4", "nvfp4", "mxfp8"};
  if (number < 5) return affine(kBits[number]);
  if (number < 12) return *find_ggml_weights(*find_ggml_type(kGgml[number - 5]));
  if (number < 15) return packed_weights(*find_packed_mode(kModes[number - 12]), false);
  return *find_fp8_weights(128, 128, DType::kF32);
}
constexpr std::int64_t kBenchTypes = 16;

std::vector<float> random_floats(std::size_t count) {
  std::mt19937 random(7);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
  return values;
}

/// x rows, prepared, and y rows for one weight matrix.
struct Operands {
  Operands(Ops& ops, std::size_t rows, const WeightView& weight)
      : x(random_floats(rows * weight.cols)),
        y(rows * weight.rows),
        prepared(Activations::allocate(rows, weight.cols).value()) {
    ops.prepare({x.data(), rows, weight.cols}, prepared);
    task = {.weight = weight, .x = &prepared, .y = {y.data(), rows, weight.rows}};
  }
  std::vector<float> x, y;
  Activations prepared;
  LinearTask task;
};

// The ceiling: every thread sums 64-bit words of its chunks, nothing else.
void BM_MemoryRead(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(0)));
  constexpr std::size_t kSize = std::size_t{1} << 30;
  constexpr std::size_t kChunk = 64 << 10;
  const AlignedBuffer buffer = random_bytes(kSize);
  for (auto _ : state) {
    pool.parallel_for(kSize / kChunk, [&](std::size_t chunk) {
      std::uint64_t sum[16] = {};
      const std::byte* p = buffer.data() + chunk * kChunk;
      for (std::size_t i = 0; i < kChunk; i += sizeof(sum)) {
        std::uint64_t words[16];
        std::memcpy(words, p + i, sizeof(words));
        __builtin_prefetch(p + i + 8192);
        __builtin_prefetch(p + i + 8192 + 64);
        for (int w = 0; w < 16; ++w) sum[w] ^= words[w];
      }
      benchmark::DoNotOptimize(sum);
    });
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kSize));
}
BENCHMARK(BM_MemoryRead)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();

// 1 GB of weights, rows of 2048: the dense weights of a large model. Args: type, threads.
void BM_MatVecLarge(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(1)));
  const auto ops = make_cpu_ops(pool, "").value();
  const WeightType& type = bench_type(state.range(0));
  state.SetLabel(type.name() + ", " + std::string(ops->target()));
  const Weights weights(type, (std::size_t{1} << 30) / type.row_size(2048), 2048);
  Operands operands(*ops, 1, weights.view());
  for (auto _ : state) ops->linear({&operands.task, 1});
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(weights.size()));
}
BENCHMARK(BM_MatVecLarge)
    ->ArgNames({"type", "threads"})
    ->ArgsProduct({benchmark::CreateDenseRange(0, kBenchTypes - 1, 1), {1, 2}})
    ->UseRealTime();

// One layer's routed experts of sprout (8 of 64 x 384 gate and up, 8 of 384 x 64 down), in cache.
void BM_SmallExperts(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(0)));
  const auto ops = make_cpu_ops(pool, "").value();
  const Weights up(affine(4), 16 * 64, 384);
  const Weights down(affine(4), 8 * 384, 64);
  std::vector<Operands> first, second;
  std::vector<LinearTask> first_tasks, second_tasks;
  const auto rows_of = [](const Weights& w, std::size_t rows, std::size_t begin) {
    return w.view().row_range(begin, rows);
  };
  for (std::size_t i = 0; i < 16; ++i) first.emplace_back(*ops, 1, rows_of(up, 64, 64 * i));
  for (std::size_t i = 0; i < 8; ++i) second.emplace_back(*ops, 1, rows_of(down, 384, 384 * i));
  for (Operands& o : first) first_tasks.push_back(o.task);
  for (Operands& o : second) second_tasks.push_back(o.task);
  for (std::size_t i = 0; i < first.size(); ++i) first_tasks[i].x = &first[i].prepared;
  for (std::size_t i = 0; i < second.size(); ++i) second_tasks[i].x = &second[i].prepared;
  for (auto _ : state) {
    ops->linear(first_tasks);
    ops->linear(second_tasks);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(up.size() + down.size()));
}
BENCHMARK(BM_SmallExperts)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();

// One token's routed experts of a layer of Qwen3-Coder-Next, 10 of 600 in memory: 512 x 2048 gate
// and up, or 2048 x 512 down. Args: inputs of the matrices, threads.
void BM_LargeExperts(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(1)));
  const auto ops = make_cpu_ops(pool, "").value();
  const auto cols = static_cast<std::size_t>(state.range(0));
  const std::size_t rows = (std::size_t{2} << 20) / cols;  // 2 of 512 x 2048 or of 2048 x 512
  constexpr std::size_t kExperts = 600;
  const Weights weights(affine(4), kExperts * rows, cols);
  std::vector<float> y(10 * rows);
  const std::vector<float> x = random_floats(cols);
  Activations prepared = Activations::allocate(1, cols).value();
  ops->prepare({x.data(), 1, cols}, prepared);
  std::mt19937 random(1);
  std::vector<LinearTask> tasks;
  for (auto _ : state) {
    tasks.clear();
    for (std::size_t i = 0; i < 10; ++i) {
      const std::size_t begin = random() % kExperts * rows;
      tasks.push_back({.weight = weights.view().row_range(begin, rows),
                       .x = &prepared,
                       .y = {y.data() + i * rows, 1, rows}});
    }
    ops->linear(tasks);
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<std::int64_t>(weights.size() * 10 / kExperts));
}
BENCHMARK(BM_LargeExperts)
    ->ArgNames({"cols", "threads"})
    ->ArgsProduct({{512, 2048}, {1, 2}})
    ->UseRealTime();

// Weights of a dense matrix and of an expert's two kinds, times several rows. Args: type, outputs,
// inputs, rows, threads.
void BM_MatMul(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(4)));
  const auto ops = make_cpu_ops(pool, "").value();
  const WeightType& type = bench_type(state.range(0));
  state.SetLabel(type.name() + ", " + std::string(ops->target()));
  const auto out = static_cast<std::size_t>(state.range(1));
  const auto in = static_cast<std::size_t>(state.range(2));
  const Weights weights(type, out, in);
  const auto rows = static_cast<std::size_t>(state.range(3));
  Operands operands(*ops, rows, weights.view());
  for (auto _ : state) ops->linear({&operands.task, 1});
  const double operations =
      2.0 * static_cast<double>(out) * static_cast<double>(in) * static_cast<double>(rows);
  state.counters["op/s"] = benchmark::Counter(operations * static_cast<double>(state.iterations()),
                                              benchmark::Counter::kIsRate);
}
BENCHMARK(BM_MatMul)
    ->ArgNames({"type", "out", "in", "rows", "threads"})
    ->ArgsProduct({{0, 1, 2}, {2048}, {2048}, {1, 2, 4, 8, 16, 64, 512}, {1, 2}})
    ->ArgsProduct(
        {benchmark::CreateDenseRange(3, kBenchTypes - 1, 1), {2048}, {2048}, {1, 4, 64}, {1, 2}})
    ->ArgsProduct({{0}, {512}, {2048}, {80}, {1, 2}})
    ->ArgsProduct({{0}, {2048}, {512}, {80}, {1, 2}})
    ->UseRealTime();

// The DeltaNet geometry of Qwen3-Coder-Next: 16 key heads, 32 value heads of 128 x 128.
void BM_DeltaRule(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(1)));
  const auto ops = make_cpu_ops(pool, "").value();
  const auto rows = static_cast<std::size_t>(state.range(0));
  std::vector<float> q = random_floats(rows * 2048), k = q, v = random_floats(rows * 4096);
  std::vector<float> o(v.size()), decay(rows * 32, 0.99f), beta(rows * 32, 0.5f);
  std::vector<float> memory(32 * 128 * 128);
  ops->l2_normalize({k.data(), rows, 2048}, 128, 1);
  const DeltaSegment segment = {.row_begin = 0, .row_end = rows, .state = memory.data()};
  for (auto _ : state) {
    ops->delta_rule({.key_heads = 16, .value_heads = 32, .key_dim = 128, .value_dim = 128},
                    {q.data(), rows, 2048}, {k.data(), rows, 2048}, {v.data(), rows, 4096},
                    {decay.data(), rows, 32}, {beta.data(), rows, 32}, {&segment, 1},
                    {o.data(), rows, 4096});
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(rows));
}
BENCHMARK(BM_DeltaRule)
    ->ArgNames({"rows", "threads"})
    ->ArgsProduct({{1, 128}, {1, 2}})
    ->UseRealTime();

/// Attention after `positions` positions; a cache of so many is in no second-level cache.
void run_attention(benchmark::State& state, AttentionShape shape, std::size_t positions,
                   std::size_t rows, std::size_t threads) {
  ThreadPool pool(threads);
  const auto ops = make_cpu_ops(pool, "").value();
  const std::size_t blocks = (positions + rows) / kKvBlock + 1;
  const std::size_t row_bytes = kv_row_bytes(shape.precision, shape.head_dim);
  const std::size_t block_rows = shape.num_kv_heads * kKvBlock;
  const std::size_t block_bytes = block_rows * row_bytes;
  AlignedBuffer cache = AlignedBuffer::allocate(2 * blocks * block_bytes).value();
  const std::vector<float> one_row = random_floats(shape.head_dim);
  for (std::size_t r = 0; r < 2 * blocks * block_rows; ++r) {
    store_kv_row(shape.precision, one_row, cache.data() + r * row_bytes);
  }
  std::vector<const void*> keys, values;
  for (std::size_t b = 0; b < blocks; ++b) {
    keys.push_back(cache.data() + 2 * b * block_bytes);
    // Latent attention has one part.
    values.push_back(shape.value_dim < shape.head_dim ? keys.back()
                                                      : cache.data() + (2 * b + 1) * block_bytes);
  }
  const std::size_t q_size = shape.num_heads * shape.head_dim;
  const std::vector<float> q = random_floats(rows * q_size);
  std::vector<float> out(rows * q_size);
  std::vector<AttentionRow> queries;
  for (std::size_t r = 0; r < rows; ++r) {
    queries.push_back({.q = q.data() + r * q_size,
                       .q_stride = shape.head_dim,
                       .key_blocks = keys.data(),
                       .value_blocks = values.data(),
                       .position = positions + r,
                       .out = out.data() + r * q_size});
  }
  for (auto _ : state) ops->attention(shape, queries);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(rows));
  const double pairs = static_cast<double>(shape.num_heads * positions) *
                       static_cast<double>(rows) * static_cast<double>(state.iterations());
  state.counters["op/s"] =
      benchmark::Counter(2.0 * static_cast<double>(shape.head_dim + shape.value_dim) * pairs,
                         benchmark::Counter::kIsRate);
  state.counters["kv bytes/s"] =
      benchmark::Counter(static_cast<double>((values[0] == keys[0] ? 1 : 2) * positions *
                                             shape.num_kv_heads * row_bytes) *
                             static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

// The attention geometry of Qwen3-Coder-Next, 16 heads on 2 KV heads of 256, after 4096 positions.
void BM_Attention(benchmark::State& state) {
  run_attention(state,
                {.num_heads = 16,
                 .num_kv_heads = 2,
                 .head_dim = 256,
                 .value_dim = 256,
                 .value_stride = 256,
                 .scale = 0.0625f},
                4096, static_cast<std::size_t>(state.range(0)),
                static_cast<std::size_t>(state.range(1)));
}
BENCHMARK(BM_Attention)
    ->ArgNames({"rows", "threads"})
    ->ArgsProduct({{1, 64}, {1, 2}})
    ->UseRealTime();

// Each precision (0: f32, 1: bf16, 2: int8) over as many positions: Qwen3-30B-A3B (32 heads on 4 of
// 128), Qwen1.5-MoE (16 heads of 128, each with keys of its own) and DeepSeek-V2-Lite (16 heads on
// one latent of 576).
void run_precision(benchmark::State& state, AttentionShape shape) {
  shape.precision = static_cast<KvPrecision>(state.range(0));
  run_attention(state, shape, static_cast<std::size_t>(state.range(1)),
                static_cast<std::size_t>(state.range(2)), static_cast<std::size_t>(state.range(3)));
}
void BM_AttentionOfGroups(benchmark::State& state) {
  run_precision(state, {.num_heads = 32,
                        .num_kv_heads = 4,
                        .head_dim = 128,
                        .value_dim = 128,
                        .value_stride = 128,
                        .scale = 0.09f});
}
void BM_AttentionOfSingleHeads(benchmark::State& state) {
  run_precision(state, {.num_heads = 16,
                        .num_kv_heads = 16,
                        .head_dim = 128,
                        .value_dim = 128,
                        .value_stride = 128,
                        .scale = 0.09f});
}
void BM_AttentionOfLatents(benchmark::State& state) {
  run_precision(state, {.num_heads = 16,
                        .num_kv_heads = 1,
                        .head_dim = 576,
                        .value_dim = 512,
                        .value_stride = 576,
                        .scale = 0.07f});
}
void precisions(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"precision", "positions", "rows", "threads"})
      ->ArgsProduct({{0, 1, 2}, {4096, 65536}, {1}, {1, 2}})
      ->ArgsProduct({{0, 1, 2}, {4096}, {64}, {2}})
      ->UseRealTime();
}
BENCHMARK(BM_AttentionOfGroups)->Apply(precisions);
BENCHMARK(BM_AttentionOfSingleHeads)->Apply(precisions);
BENCHMARK(BM_AttentionOfLatents)->Apply(precisions);

// The cost of a parallel region in which nothing happens.
void BM_EmptyParallelFor(benchmark::State& state) {
  const auto threads = static_cast<std::size_t>(state.range(0));
  ThreadPool pool(threads);
  for (auto _ : state) {
    pool.parallel_for(threads, [](std::size_t i) { benchmark::DoNotOptimize(i); });
  }
}
BENCHMARK(BM_EmptyParallelFor)->ArgName("threads")->Arg(2)->Arg(3)->UseRealTime();

}  // namespace
}  // namespace flashmoe

BENCHMARK_MAIN();
