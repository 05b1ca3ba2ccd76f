#include "kernels/cpu/cpu_targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/kv_rows.h"
#include "kernels/testing/op_inputs.h"

// docs/numerics.md promises the same bits on every target, thread count and batch. Here every op
// runs on seeded inputs of awkward sizes, and what it wrote is hashed.

namespace flashmoe {
namespace {

using testing::allocate_activations;
using testing::Fill;
using testing::filled_matrix;
using testing::Matrix;
using testing::mixed_matrix;
using testing::Random;
using testing::Weight;

/// FNV-1a over the bits of floats; every NaN counts as the same.
class Hash {
 public:
  void add(const float* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t bits =
          values[i] == values[i] ? std::bit_cast<std::uint32_t>(values[i]) : 0x7fc00000u;
      add_bits(bits);
    }
  }
  void add(const Matrix& m) {
    for (std::size_t r = 0; r < m.rows(); ++r) add(m.row(r), m.cols());
  }
  void add_bits(std::uint32_t bits) { value_ = (value_ ^ bits) * 0x100000001b3u; }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

struct Case {
  std::string name;
  std::uint64_t hash = 0;
  friend bool operator==(const Case&, const Case&) = default;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name << " " << std::hex << c.hash; }

bool is_packed(const WeightType& type) {
  return type.ggml == nullptr && type.encoding != WeightEncoding::kFloat &&
         type.encoding != WeightEncoding::kAffine;
}

std::string name_of(const WeightType& type) {
  if (type.ggml != nullptr) return type.name() + " of blocks";
  if (is_packed(type)) return fmt::format("{} of {} planes", type.name(), type.plane_count);
  return type.name() + ", " + std::string(to_string(type.dtype));
}

std::vector<const WeightType*> all_types() {
  std::vector<const WeightType*> types;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    types.push_back(&float_weights(dtype));
    for (const std::uint32_t bits : {1u, 2u, 3u, 4u, 5u, 6u, 8u}) {
      for (const std::uint32_t group_size : {32u, 64u, 128u}) {
        types.push_back(find_affine_weights(bits, group_size, dtype));
      }
    }
  }
  const std::vector<const WeightType*> ggml = testing::ggml_weight_types();
  types.insert(types.end(), ggml.begin(), ggml.end());
  const std::vector<const WeightType*> packed = testing::packed_weight_types();
  types.insert(types.end(), packed.begin(), packed.end());
  return types;
}

/// Formats of the same blocks get numbers of their own.
std::uint64_t seed_of(const WeightType& type) {
  if (is_packed(type)) return 1'000'000 + type.plane_count;
  return type.ggml == nullptr ? 0 : 1000 * (1 + type.ggml->id);
}

Matrix linear(Ops& ops, const WeightView& weight, const Matrix& x,
              std::span<const std::uint32_t> x_rows = {}) {
  Activations prepared = allocate_activations(x.rows(), x.cols());
  ops.prepare(x.view(), prepared);
  Matrix y(x_rows.empty() ? x.rows() : x_rows.size(), weight.rows, 3);
  const LinearTask task = {.weight = weight, .x = &prepared, .x_rows = x_rows, .y = y.view()};
  ops.linear({&task, 1});
  return y;
}

void run_linear(Ops& ops, std::vector<Case>& cases) {
  for (const WeightType* const type : all_types()) {
    const std::size_t block = type->block_cols;
    Random random(type->bits * 1000 + (block == 1 ? 0 : block) + seed_of(*type));
    // Activations come in 32s.
    const std::size_t group = type->encoding == WeightEncoding::kFp8Blocks ? 53
                              : block == 16                                ? 32
                                                                           : block;
    Hash hash;
    // Columns below, at and above 128, and beyond the 16 groups that are taken at a time.
    for (const std::size_t groups : {1, 5, 18}) {
      const Weight weight(random, *type, 7, groups * group);
      for (const std::size_t rows : {1, 3, 9}) {
        hash.add(linear(ops, weight.view(), mixed_matrix(random, rows, groups * group)));
      }
    }
    cases.push_back({"linear " + name_of(*type), hash.value()});

    Hash embedded;
    const Weight table(random, *type, 9, 5 * group);
    Matrix out(4, 5 * group, 1);
    const std::int32_t ids[] = {8, 0, 3, 3};
    ops.embed(table.view(), ids, out.view());
    embedded.add(out);
    cases.push_back({"embed " + name_of(*type), embedded.value()});
  }
}

// Enough rows on both sides for tiles of 16 by 16, and for what is left over beside them.
void run_linear_tiles(Ops& ops, std::vector<Case>& cases) {
  for (const WeightType* const type : all_types()) {
    if (!type->has_integer_products()) continue;
    Random random(type->block_cols + seed_of(*type));
    Hash hash;
    const bool is_wide = type->dtype == DType::kBF16 &&
                         (type->bits == 4 || (type->bits == 8 && type->block_cols == 64));
    // Part of a slab of 512 columns, one, and one with most of another.
    for (std::size_t cols : {128, 512, 896}) {
      if (cols > 128 && !is_wide && type->encoding == WeightEncoding::kAffine) continue;
      cols = (cols + type->block_cols - 1) / type->block_cols * type->block_cols;
      const Weight weight(random, *type, 37, cols);
      hash.add(linear(ops, weight.view(), mixed_matrix(random, cols == 512 ? 61 : 19, cols)));
    }
    cases.push_back({"linear in tiles, " + name_of(*type), hash.value()});
  }
}

void run_prepare(Ops& ops, std::vector<Case>& cases) {
  Random random(5);
  Hash hash;
  for (const std::size_t cols : {32, 96, 128, 416, 1024}) {
    Matrix x = mixed_matrix(random, 8, cols, 5);
    x.row(0)[3] = std::numeric_limits<float>::infinity();
    x.row(1)[5] = std::nanf("");
    Activations prepared = allocate_activations(8, cols);
    ops.prepare(x.view(), prepared);
    for (std::size_t r = 0; r < x.rows(); ++r) {
      const ActivationRow row = prepared.row(r);
      for (std::size_t i = 0; i < cols; ++i) {
        hash.add_bits(static_cast<std::uint16_t>(row.words[i]));
      }
      for (std::size_t i = 0; i < (cols + 511) / 512 * 1024; ++i) {
        hash.add_bits(static_cast<std::uint8_t>(row.planes[i]));
      }
      const auto add_blocks = [&](const ActivationBlock* blocks, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          hash.add(&blocks[i].scale, 1);
          hash.add(&blocks[i].sum, 1);
          hash.add_bits(static_cast<std::uint32_t>(blocks[i].total));
        }
      };
      add_blocks(row.blocks32, cols / 32);
      add_blocks(row.blocks64, cols / 64);
    }
  }
  cases.push_back({"prepare", hash.value()});
}

void run_elementwise(Ops& ops, std::vector<Case>& cases) {
  const auto record = [&](const std::string& name, std::size_t cols, const Matrix& m) {
    EXPECT_TRUE(m.gaps_intact()) << name;
    Hash hash;
    hash.add(m);
    cases.push_back({name + " " + std::to_string(cols), hash.value()});
  };
  for (const std::size_t cols : {1, 15, 16, 17, 64, 1000}) {
    Random random(cols);
    const Matrix x = mixed_matrix(random, 9, cols, 2);
    const Matrix other = filled_matrix(random, Fill::kSaturating, 9, cols, 3);
    const Matrix weight = filled_matrix(random, Fill::kNormal, 1, cols);
    Matrix y(9, cols, 1);
    ops.rms_norm(x.view(), weight.data(), 1e-6f, y.view());
    record("rms_norm", cols, y);
    y = x;
    ops.add(y.view(), other.view());
    record("add", cols, y);
    ops.swiglu(other.view(), x.view(), y.view());
    record("swiglu", cols, y);
    ops.geglu(other.view(), x.view(), y.view());
    record("geglu", cols, y);
    ops.clamped_swiglu({.alpha = 1.702f, .limit = 7}, other.view(), x.view(), y.view());
    record("clamped_swiglu", cols, y);
    Matrix dots(9, 1, 2);
    ops.row_dots(x.view(), other.view(), dots.view());
    record("row_dots", cols, dots);
    y = x;
    ops.scale(y.view(), 53.065994f);
    record("scale", cols, y);
    for (const Matrix* m : {&x, &other}) {
      y = *m;
      ops.soft_cap(y.view(), 5);
      record("soft_cap", cols, y);
    }
    y = x;
    ops.sigmoid_gate(y.view(), other.view());
    record("sigmoid_gate", cols, y);
    const Matrix gate = filled_matrix(random, Fill::kSaturating, 9, 1, 4);
    y = x;
    ops.sigmoid_scale_rows(y.view(), gate.view());
    record("sigmoid_scale_rows", cols, y);
    y = x;
    ops.l2_normalize(y.view(), cols, 0.125f);
    record("l2_normalize", cols, y);
    y = x;
    ops.gated_rms_norm(y.view(), other.view(), weight.data(), 1e-6f);
    record("gated_rms_norm", cols, y);
    const WeightedRow terms[] = {{0, 3, 0.3f}, {8, 1, -2.0f}, {0, 2, 0.7f}, {0, 3, 1e-3f}};
    y = x;
    ops.add_weighted_rows(other.view(), terms, y.view());
    record("add_weighted_rows", cols, y);
    const Matrix rate = filled_matrix(random, Fill::kNormal, 1, cols);
    Matrix decay(9, cols), beta(9, cols);
    ops.delta_gates(other.view(), x.view(), rate.data(), weight.data(), decay.view(), beta.view());
    record("delta_gates decay", cols, decay);
    record("delta_gates beta", cols, beta);
  }
}

void run_routing(Ops& ops, std::vector<Case>& cases) {
  for (const std::size_t experts : {3, 16, 128, 515}) {
    for (const bool normalize : {false, true}) {
      Random random(experts);
      Matrix logits = mixed_matrix(random, 9, experts);
      for (std::size_t e = 0; e < experts; e += 3) logits.row(4)[e] = 1.5f;  // ties
      const std::size_t k = experts < 20 ? experts : 18;
      std::vector<std::uint16_t> ids(9 * k);
      std::vector<float> weights(9 * k);
      ops.route({.k = k, .normalize = normalize}, logits.view(), ids, weights);
      Hash hash;
      for (const std::uint16_t id : ids) hash.add_bits(id);
      hash.add(weights.data(), weights.size());
      cases.push_back({"route softmax " + std::to_string(experts), hash.value()});
    }
    Random random(experts);
    const Matrix logits = filled_matrix(random, Fill::kNormal, 9, 4 * experts);
    const Matrix bias = filled_matrix(random, Fill::kNormal, 1, 4 * experts);
    const Matrix expert_scale = filled_matrix(random, Fill::kNormal, 1, 4 * experts);
    const std::size_t k = 3;
    std::vector<std::uint16_t> ids(9 * k);
    std::vector<float> weights(9 * k);
    ops.route({.k = k,
               .normalize = true,
               .score = RouteRule::Score::kSigmoid,
               .scale = 1.8f,
               .bias = bias.row(0),
               .expert_scale = expert_scale.row(0),
               .groups = 4,
               .groups_kept = 2,
               .groups_by_best_two = true},
              logits.view(), ids, weights);
    Hash hash;
    for (const std::uint16_t id : ids) hash.add_bits(id);
    hash.add(weights.data(), weights.size());
    cases.push_back({"route sigmoid " + std::to_string(experts), hash.value()});
  }
}

void run_rope(Ops& ops, std::vector<Case>& cases) {
  for (const std::size_t half : {1, 5, 16, 32}) {
    Random random(half);
    std::vector<float> inv_freq(half);
    for (float& f : inv_freq) f = random.uniform(1e-6f, 1.0f);
    const std::uint32_t positions[] = {0, 1, 77, 262143};
    Matrix cos(4, half), sin(4, half), x = mixed_matrix(random, 12, 2 * half + 3, 2);
    ops.rope_angles(positions, inv_freq, 1, cos.view(), sin.view());
    ops.rope(x.view(), 3, cos.view(), sin.view());
    Hash hash;
    hash.add(cos);
    hash.add(sin);
    hash.add(x);
    cases.push_back({"rope " + std::to_string(half), hash.value()});
  }
}

/// As `name` says, over keys and values of a precision.
Case attention_case(Ops& ops, const std::string& name, std::size_t head_dim,
                    KvPrecision precision) {
  const AttentionShape shape = {.num_heads = 6,
                                .num_kv_heads = 2,
                                .head_dim = head_dim,
                                .value_dim = head_dim,
                                .value_stride = head_dim,
                                .precision = precision,
                                .scale = 0.1f};
  constexpr std::size_t kBlocks = 4;
  Random random(head_dim);
  const std::size_t block_rows = shape.num_kv_heads * kKvBlock;
  const Matrix keys = filled_matrix(random, Fill::kNormal, kBlocks * block_rows, head_dim);
  const Matrix values = filled_matrix(random, Fill::kNormal, kBlocks * block_rows, head_dim);
  const std::size_t row_bytes = kv_row_bytes(precision, head_dim);
  std::vector<std::byte> stored(2 * kBlocks * block_rows * row_bytes);
  std::vector<const void*> key_blocks, value_blocks;
  std::byte* at = stored.data();
  for (const Matrix* rows : {&keys, &values}) {
    for (std::size_t r = 0; r < rows->rows(); ++r, at += row_bytes) {
      store_kv_row(precision, {rows->row(r), head_dim}, at);
      if (r % block_rows == 0) (rows == &keys ? key_blocks : value_blocks).push_back(at);
    }
  }
  const std::size_t positions[] = {0, 3, 62, 63, 64, 65, 130, 200, 201, 202, 255};
  const Matrix q = filled_matrix(random, Fill::kNormal, std::size(positions), 6 * head_dim + 6);
  Matrix out(std::size(positions), 6 * head_dim, 2);
  std::vector<AttentionRow> rows;
  for (std::size_t i = 0; i < std::size(positions); ++i) {
    rows.push_back({.q = q.row(i),
                    .q_stride = head_dim + 1,
                    .key_blocks = key_blocks.data(),
                    .value_blocks = value_blocks.data(),
                    .position = positions[i],
                    .out = out.row(i)});
  }
  ops.attention(shape, rows);
  Hash hash;
  hash.add(out);
  // The same behind windows, with sinks and narrower values.
  AttentionShape narrow = shape;
  narrow.value_dim = head_dim - head_dim / 4;
  const std::vector<float> sinks = {0.5f, -1, 3, 0, 1, -30};
  narrow.sinks = sinks.data();
  for (AttentionRow& row : rows) row.first = row.position > 100 ? row.position - 100 : 0;
  ops.attention(narrow, rows);
  hash.add(out);
  if (precision == KvPrecision::kF32) {
    // And to some runs of positions alone. What rounded ones give there is in ops_property_test.
    for (const std::size_t run_size : {1, 4}) {
      AttentionShape sparse = shape;
      sparse.run_size = run_size;
      std::vector<std::vector<std::uint32_t>> runs(rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::size_t last = rows[i].position / run_size;
        for (std::uint32_t run = 0; run <= last; ++run) {
          if (run == last || random.below(3) > 0) runs[i].push_back(run);
        }
        rows[i].first = 0;
        rows[i].runs = runs[i];
      }
      ops.attention(sparse, rows);
      hash.add(out);
    }
  }
  return {name + " " + std::to_string(head_dim), hash.value()};
}

void run_attention(Ops& ops, std::vector<Case>& cases) {
  for (const std::size_t head_dim : {8, 24, 64, 160, 256}) {
    cases.push_back(attention_case(ops, "attention", head_dim, KvPrecision::kF32));
  }
}

/// Attention over rounded keys and values, also of sizes that end within 16 and within a group.
std::vector<Case> run_rounded(std::string_view target, std::size_t threads) {
  ThreadPool pool(threads);
  const auto ops = make_cpu_ops(pool, target).value();
  std::vector<Case> cases;
  for (const std::size_t head_dim : {8, 24, 45, 64, 160, 256}) {
    cases.push_back(attention_case(*ops, "bf16", head_dim, KvPrecision::kBF16));
    cases.push_back(attention_case(*ops, "int8", head_dim, KvPrecision::kInt8));
  }
  return cases;
}

void run_choose_keys(Ops& ops, std::vector<Case>& cases) {
  for (const std::size_t head_dim : {8, 24, 128}) {
    constexpr std::size_t kHeads = 3, kPerBlock = 16, kKeys = 120, kRows = 9, kChosen = 30;
    Random random(head_dim);
    const Matrix keys = filled_matrix(random, Fill::kNormal, 8 * kPerBlock, head_dim);
    const Matrix q = filled_matrix(random, Fill::kNormal, kRows, kHeads * head_dim);
    std::vector<const void*> blocks;
    for (std::size_t b = 0; b < 8; ++b) blocks.push_back(keys.row(b * kPerBlock));
    const std::vector<float> weights = {0.1f, 0.7f, -0.2f};
    std::vector<std::uint32_t> chosen(kRows * kChosen);
    std::vector<std::uint64_t> room(kRows * kChosen);
    std::vector<KeySearch> rows;
    for (std::size_t r = 0; r < kRows; ++r) {
      rows.push_back({.q = q.row(r),
                      .key_blocks = blocks.data(),
                      .key_count = kKeys - 7 * r,
                      .chosen = chosen.data() + r * kChosen,
                      .room = room.data() + r * kChosen});
    }
    ops.choose_keys({.num_heads = kHeads,
                     .head_dim = head_dim,
                     .keys_per_block = kPerBlock,
                     .k = kChosen,
                     .head_weights = weights.data()},
                    rows);
    Hash hash;
    for (const std::uint32_t key : chosen) hash.add_bits(key);
    cases.push_back({"choose_keys " + std::to_string(head_dim), hash.value()});
  }
}

void run_delta(Ops& ops, std::vector<Case>& cases) {
  for (const std::size_t value_dim : {5, 16, 40, 64, 128, 200}) {
    const DeltaShape shape = {
        .key_heads = 2, .value_heads = 4, .key_dim = 24 + value_dim / 2, .value_dim = value_dim};
    Random random(value_dim);
    const std::size_t key_cols = shape.key_heads * shape.key_dim;
    const Matrix q = filled_matrix(random, Fill::kNormal, 9, key_cols, 1);
    Matrix k = filled_matrix(random, Fill::kNormal, 9, key_cols, 2);
    ops.l2_normalize(k.view(), key_cols, 1);
    const Matrix v = filled_matrix(random, Fill::kNormal, 9, shape.value_heads * value_dim, 3);
    Matrix decay(9, 4), beta(9, 4);
    for (std::size_t r = 0; r < 9; ++r) {
      for (std::size_t h = 0; h < 4; ++h) {
        decay.row(r)[h] = random.uniform(0, 1);
        beta.row(r)[h] = random.uniform(0, 1);
      }
    }
    Matrix state = filled_matrix(random, Fill::kNormal, 2, 4 * shape.key_dim * value_dim);
    const DeltaSegment segments[] = {{0, 1, state.row(0)}, {1, 9, state.row(1)}};
    Matrix o(9, shape.value_heads * value_dim, 1);
    ops.delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(), segments,
                   o.view());
    Hash hash;
    hash.add(o);
    hash.add(state);
    cases.push_back({"delta_rule " + std::to_string(value_dim), hash.value()});
  }
}

void run_conv(Ops& ops, std::vector<Case>& cases) {
  for (const ConvShape& shape : {ConvShape{1, 1}, {2, 1}, {4, 1}, {7, 1}, {4, 3}}) {
    const std::size_t kernel = shape.kernel;
    constexpr std::size_t kChannels = 523;
    Random random(kernel);
    const Matrix u = mixed_matrix(random, 9, kChannels);
    const Matrix weight = filled_matrix(random, Fill::kNormal, kernel, kChannels);
    const std::size_t state_rows = shape.past() + 1;
    Matrix state = filled_matrix(random, Fill::kNormal, 2 * state_rows, kChannels);
    const ConvSegment segments[] = {{0, 2, state.row(0)}, {2, 9, state.row(state_rows)}};
    Matrix y(9, kChannels, 1);
    ops.causal_conv_silu(u.view(), weight.data(), shape, segments, y.view());
    Hash hash;
    hash.add(y);
    hash.add(state);
    cases.push_back(
        {"causal_conv_silu " + std::to_string(kernel) + " over " + std::to_string(shape.dilation),
         hash.value()});
  }
}

std::vector<Case> run_all(std::string_view target, std::size_t threads) {
  ThreadPool pool(threads);
  const auto ops = make_cpu_ops(pool, target).value();
  EXPECT_EQ(ops->target(), target);
  std::vector<Case> cases;
  run_prepare(*ops, cases);
  run_linear(*ops, cases);
  run_linear_tiles(*ops, cases);
  run_elementwise(*ops, cases);
  run_routing(*ops, cases);
  run_rope(*ops, cases);
  run_attention(*ops, cases);
  run_choose_keys(*ops, cases);
  run_delta(*ops, cases);
  run_conv(*ops, cases);
  return cases;
}

TEST(CpuTargets, WriteTheSameBitsOnEveryTargetAndThreadCount) {
  const std::vector<Case> expected = run_all("scalar", 1);
  for (const std::string_view target : supported_cpu_targets()) {
    for (const std::size_t threads : {1, 3}) {
      SCOPED_TRACE(std::string(target) + ", threads: " + std::to_string(threads));
      EXPECT_THAT(run_all(target, threads), ::testing::Pointwise(::testing::Eq(), expected));
    }
  }
}

// The same constant on x86-64 and AArch64, from g++ and clang: change it only together with
// docs/numerics.md and kNumericsVersion, to what this test then says.
TEST(CpuTargets, WriteTheBitsOfTheContractOnEveryArchitecture) {
  Hash blocks;
  Hash planes;
  Hash all_else;
  for (const Case& c : run_all(supported_cpu_targets().front(), 2)) {
    Hash& hash = c.name.ends_with("of blocks") ? blocks
                 : c.name.ends_with(" planes") ? planes
                                               : all_else;
    hash.add_bits(static_cast<std::uint32_t>(c.hash));
    hash.add_bits(static_cast<std::uint32_t>(c.hash >> 32));
  }
  EXPECT_EQ(all_else.value(), 0x443a2f2ea137c1c8u);
  EXPECT_EQ(blocks.value(), 0x8a408673923c29du);
  EXPECT_EQ(planes.value(), 0x9a9473e3a22c9169u);
}

TEST(CpuTargets, RoundedKeysAndValuesGiveTheSameBitsOnEveryTarget) {
  const std::vector<Case> expected = run_rounded("scalar", 1);
  for (const std::string_view target : supported_cpu_targets()) {
    for (const std::size_t threads : {1, 3}) {
      SCOPED_TRACE(std::string(target) + ", threads: " + std::to_string(threads));
      EXPECT_THAT(run_rounded(target, threads), ::testing::Pointwise(::testing::Eq(), expected));
    }
  }
  // On every architecture, as in the test above.
  Hash hash;
  for (const Case& c : expected) {
    hash.add_bits(static_cast<std::uint32_t>(c.hash));
    hash.add_bits(static_cast<std::uint32_t>(c.hash >> 32));
  }
  EXPECT_EQ(hash.value(), 0x9e7f262e71efc122u);
}

TEST(CpuTargets, ARowDoesNotDependOnItsBatch) {
  ThreadPool pool(2);
  for (const std::string_view target : supported_cpu_targets()) {
    const auto ops = make_cpu_ops(pool, target).value();
    for (const WeightType* const type : all_types()) {
      Random random(11);
      const Weight weight(random, *type, 9, 768);
      const Matrix x = mixed_matrix(random, 9, 768);
      const Matrix all = linear(*ops, weight.view(), x);
      for (std::uint32_t r = 0; r < x.rows(); ++r) {
        const Matrix one = linear(*ops, weight.view(), x, {&r, 1});
        EXPECT_TRUE(std::equal(one.row(0), one.row(0) + one.cols(), all.row(r)))
            << target << ", row " << r << ": " << name_of(*type);
      }
    }
  }
}

TEST(CpuTargets, AnUnknownOneIsRefusedWithTheListOfThoseHere) {
  const Status status = find_kernels("mmx").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("\"mmx\": unknown"));
  EXPECT_THAT(status.message(), ::testing::HasSubstr("scalar"));
}

TEST(CpuTargets, OneOfAnotherArchitectureIsUnsupported) {
#if defined(__x86_64__)
  constexpr std::string_view kForeign = "neon";
#else
  constexpr std::string_view kForeign = "avx2";
#endif
  EXPECT_EQ(find_kernels(kForeign).status().code(), StatusCode::kUnsupported);
}

TEST(CpuTargets, TheEnvironmentForcesOneUnlessTheCallerNamesOne) {
  const char* before = std::getenv("FLASHMOE_CPU_TARGET");
  const std::string saved = before == nullptr ? "" : before;
  ASSERT_EQ(setenv("FLASHMOE_CPU_TARGET", "scalar", 1), 0);
  EXPECT_STREQ(find_kernels("").value()->name, "scalar");
  const std::string_view best = supported_cpu_targets().front();
  EXPECT_EQ(find_kernels(best).value()->name, best);
  ASSERT_EQ(setenv("FLASHMOE_CPU_TARGET", "fast", 1), 0);
  EXPECT_THAT(find_kernels("").status().message(), ::testing::HasSubstr("FLASHMOE_CPU_TARGET"));
  ASSERT_EQ(setenv("FLASHMOE_CPU_TARGET", saved.c_str(), 1), 0);
}

}  // namespace
}  // namespace flashmoe
