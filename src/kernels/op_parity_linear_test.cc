#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <vector>

#include "kernels/reference/dequantize.h"
#include "kernels/reference/integer_product.h"
#include "kernels/testing/cpu_ops_fixture.h"
#include "kernels/testing/op_inputs.h"

// embed and linear on every CPU target, for every weight format, against the reference.

namespace flashmoe {
namespace {

using testing::allocate_activations;
using testing::Matrix;
using testing::mixed_matrix;
using testing::Random;
using testing::relative_rms_of_rows;
using testing::Weight;

constexpr DType kFloatTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

std::vector<const WeightType*> affine_types() {
  std::vector<const WeightType*> types;
  for (const std::uint32_t bits : {1u, 2u, 3u, 4u, 5u, 6u, 8u}) {
    for (const std::uint32_t group_size : {32u, 64u, 128u}) {
      for (const DType dtype : kFloatTypes) {
        types.push_back(find_affine_weights(bits, group_size, dtype));
      }
    }
  }
  return types;
}

/// All that are multiplied as integers.
std::vector<const WeightType*> integer_types() {
  std::vector<const WeightType*> types = affine_types();
  const std::vector<const WeightType*> ggml = testing::ggml_weight_types();
  types.insert(types.end(), ggml.begin(), ggml.end());
  const std::vector<const WeightType*> packed = testing::packed_weight_types();
  std::ranges::copy_if(packed, std::back_inserter(types), &WeightType::has_integer_products);
  return types;
}

/// Floats of eight bits.
std::vector<const WeightType*> e4m3_types() {
  std::vector<const WeightType*> types;
  for (const WeightType* const type : testing::packed_weight_types()) {
    if (!type->has_integer_products()) types.push_back(type);
  }
  return types;
}

std::string name_of(const WeightType& type) {
  return fmt::format("{}, {}, {} planes", type.name(), to_string(type.dtype), type.plane_count);
}

class LinearParity : public testing::CpuOpsTest {
 protected:
  // The outputs of [out, cols] for rows of every kind against the reference's.
  void expect_close(const WeightType& type, std::size_t out, std::size_t cols, std::size_t x_count,
                    double tolerance) {
    SCOPED_TRACE(fmt::format("{}: [{}, {}] times {} rows", name_of(type), out, cols, x_count));
    const Weight weight(random_, type, out, cols);
    const Matrix x = mixed_matrix(random_, x_count, cols, 3);
    Activations prepared = allocate_activations(x_count, cols);
    Matrix actual(x_count, out, 2), expected = actual;
    ops_->prepare(x.view(), prepared);
    LinearTask task = {.weight = weight.view(), .x = &prepared, .y = actual.view()};
    ops_->linear({&task, 1});
    task.y = expected.view();
    reference_->linear({&task, 1});
    // A block of activations all below 2^-100 counts as zeros.
    EXPECT_LE(relative_rms_of_rows(actual, expected, 0x1p-100), tolerance);
    EXPECT_TRUE(actual.gaps_intact());
  }

  Random random_{8};
};

TEST_P(LinearParity, EmbedGivesTheReferencesBits) {
  std::vector<const WeightType*> types = integer_types();
  for (const DType dtype : kFloatTypes) {
    types.push_back(&float_weights(dtype));
  }
  std::ranges::copy(e4m3_types(), std::back_inserter(types));
  for (const WeightType* const type : types) {
    for (std::size_t cols : {1u, 17u, 32u, 64u, 96u, 128u, 160u, 384u, 768u, 1280u}) {
      if (cols % type->block_cols != 0) continue;
      SCOPED_TRACE(fmt::format("{}: {} columns", name_of(*type), cols));
      const Weight table(random_, *type, 9, cols);
      const std::vector<std::int32_t> ids = {8, 0, 3, 3, 7};
      Matrix actual(ids.size(), cols, 3), expected = actual;
      ops_->embed(table.view(), ids, actual.view());
      reference_->embed(table.view(), ids, expected.view());
      EXPECT_EQ(actual, expected);
      EXPECT_TRUE(actual.gaps_intact());
    }
  }
}

// 16-bit activations are off by at most half of amax / 32639, by amax / 113064 in RMS; where one
// element of 64 outweighs the others that is sqrt(64) / 113064 = 7.1e-5 of the row. All outputs of
// a row share these errors, weights of a group share their sign, and outliers of a group may cancel
// while their errors do not (2.9e-4 is expected of one row here), so it is one draw: seven
// deviations.
constexpr double kAffineTolerance = 5e-4;

TEST_P(LinearParity, IntegerWeightsOfEveryFormat) {
  for (const WeightType* const type : integer_types()) {
    for (const std::size_t cols : {32u, 64u, 96u, 128u, 160u, 192u, 384u, 768u}) {
      if (cols % type->block_cols == 0) expect_close(*type, 33, cols, 7, kAffineTolerance);
    }
  }
}

// NaN counts as NaN, whichever; all else bit by bit. Rows of few and of many activations, in and
// beyond the columns that kernels take at a time, with weight rows that fill no vector of 16.
TEST_P(LinearParity, IntegerWeightsGiveTheBitsOfTheContract) {
  struct Size {
    std::size_t out, cols, x_count;
  };
  constexpr Size kSizes[] = {{19, 128, 1},  {5, 192, 2},    {35, 640, 3},  {17, 640, 9},
                             {33, 2176, 7}, {16, 2176, 37}, {3, 10368, 2}, {40, 4224, 5}};
  for (const WeightType* const type : integer_types()) {
    for (Size size : kSizes) {
      const bool is_affine = type->encoding == WeightEncoding::kAffine;
      if (size.cols > 700 && type->dtype != DType::kBF16 && is_affine) continue;
      // Half a block of activations at the end.
      if (type->block_cols <= 32) size.cols += 32;
      while (size.cols % type->block_cols != 0) size.cols += 64;
      SCOPED_TRACE(fmt::format("{}: [{}, {}] times {} rows", name_of(*type), size.out, size.cols,
                               size.x_count));
      const Weight weight(random_, *type, size.out, size.cols);
      Matrix x = mixed_matrix(random_, size.x_count, size.cols, 3);
      if (size.x_count == 9) x.row(2)[77] = std::numeric_limits<float>::infinity();
      if (size.x_count == 9) x.row(3)[88] = std::nanf("");
      Activations prepared = allocate_activations(size.x_count, size.cols);
      Matrix actual(size.x_count, size.out, 2);
      ops_->prepare(x.view(), prepared);
      const LinearTask task = {.weight = weight.view(), .x = &prepared, .y = actual.view()};
      ops_->linear({&task, 1});
      EXPECT_TRUE(actual.gaps_intact());
      std::size_t different_count = 0;
      for (std::size_t r = 0; r < size.x_count; ++r) {
        for (std::size_t o = 0; o < size.out; ++o) {
          const float expected =
              reference::integer_product(weight.view(), o, {x.row(r), size.cols});
          const float got = actual.row(r)[o];
          const bool is_same = expected != expected ? got != got
                                                    : std::bit_cast<std::uint32_t>(expected) ==
                                                          std::bit_cast<std::uint32_t>(got);
          different_count += is_same ? 0 : 1;
        }
      }
      EXPECT_EQ(different_count, 0u);
    }
  }
}

// Kernels may take scales and biases 16 groups at a time: 17 of each size, with tails of blocks.
// 4 bits go in blocks of 512.
TEST_P(LinearParity, AffineWeightsOfSeveralBlocks) {
  for (const WeightType* const type : affine_types()) {
    if (type->bits != 4) continue;
    for (const std::size_t cols : {512u, 544u, 640u, 1024u, 1184u, 2112u}) {
      if (cols % type->block_cols == 0) expect_close(*type, 9, cols, 5, kAffineTolerance);
    }
  }
}

TEST_P(LinearParity, AffineWeightsOfManyGroups) {
  for (const WeightType* const type : affine_types()) {
    if (type->dtype != DType::kBF16) continue;
    for (const std::size_t group_count : {16u, 17u, 33u}) {
      expect_close(*type, 9, group_count * type->block_cols, 3, kAffineTolerance);
    }
  }
}

TEST_P(LinearParity, AffineWeightsTimesAnyNumberOfRows) {
  for (const std::uint32_t bits : {3u, 4u, 8u}) {
    for (const std::size_t x_count : {0u, 1u, 2u, 3u, 4u, 5u, 8u, 9u, 17u, 40u}) {
      expect_close(*find_affine_weights(bits, 64, DType::kBF16), 64, 192, x_count,
                   kAffineTolerance);
    }
  }
}

TEST_P(LinearParity, FloatWeightsOfEveryFormat) {
  for (const DType dtype : kFloatTypes) {
    for (const std::size_t cols : {1u, 3u, 15u, 16u, 17u, 31u, 64u, 96u, 100u, 160u, 384u}) {
      // Sums in float over 16 lanes, relative to what random signs leave of them.
      expect_close(float_weights(dtype), 33, cols, 9, 1e-6);
    }
  }
}

TEST_P(LinearParity, FloatsOfEightBits) {
  for (const WeightType* const type : e4m3_types()) {
    for (const std::size_t cols : {1u, 15u, 17u, 32u, 64u, 100u, 128u, 160u, 384u}) {
      for (const std::size_t rows : {1u, 9u}) {
        if (cols % type->block_cols == 0) expect_close(*type, 133, cols, rows, 1e-6);
      }
    }
  }
}

/// y of rows [begin, begin + count) of a matrix that is cut there.
TEST_P(LinearParity, PartsOfFp8MatricesGiveTheBitsOfTheWhole) {
  for (const WeightType* const type : e4m3_types()) {
    const Weight weight(random_, *type, 150, 160);
    const Matrix x = mixed_matrix(random_, 3, 160);
    Activations prepared = allocate_activations(3, 160);
    ops_->prepare(x.view(), prepared);
    Matrix whole(3, 150);
    LinearTask task = {.weight = weight.view(), .x = &prepared, .y = whole.view()};
    ops_->linear({&task, 1});
    for (const std::size_t begin : {0u, 30u, 47u, 48u, 127u}) {
      SCOPED_TRACE(fmt::format("{} from row {}", type->name(), begin));
      const std::size_t count = std::min<std::size_t>(50, 150 - begin);
      Matrix part(3, count);
      task = {.weight = weight.view().row_range(begin, count), .x = &prepared, .y = part.view()};
      ops_->linear({&task, 1});
      for (std::size_t r = 0; r < 3; ++r) {
        EXPECT_TRUE(std::equal(part.row(r), part.row(r) + count, whole.row(r) + begin));
      }
    }
  }
}

// Every byte, NaN and the zeros' signs too.
TEST_P(LinearParity, EveryNumberOfEightBitsIsWhatItStandsFor) {
  std::vector<std::byte> bytes(256);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const float one = 1;
  std::array<std::byte, sizeof(one)> scale = {};
  std::memcpy(scale.data(), &one, sizeof(one));
  const WeightView view = {.type = find_fp8_weights(256, 256, DType::kF32),
                           .rows = 1,
                           .cols = 256,
                           .planes = {bytes.data(), scale.data()}};
  Matrix actual(1, 256), expected = actual;
  const std::int32_t id = 0;
  ops_->embed(view, {&id, 1}, actual.view());
  reference_->embed(view, {&id, 1}, expected.view());
  for (std::size_t i = 0; i < 256; ++i) {
    const float got = actual.row(0)[i], wanted = expected.row(0)[i];
    EXPECT_TRUE(wanted != wanted
                    ? got != got
                    : std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(wanted))
        << i << ": " << got << ", not " << wanted;
  }
  EXPECT_EQ(expected.row(0)[0x7e], 448.0f);
  EXPECT_EQ(expected.row(0)[0x81], -0x1p-9f);
  EXPECT_NE(expected.row(0)[0xff], expected.row(0)[0xff]);
}

// A scale that is NaN reaches every output of its row, whatever it is multiplied with: that is how
// MoeBlock finds it.
TEST_P(LinearParity, AScaleThatIsNanMakesItsRowNan) {
  for (const WeightType* const type : testing::packed_weight_types()) {
    for (const std::size_t x_count : {1u, 40u}) {
      const std::size_t cols = type->block_cols == 1 ? 500 : 544;
      const Weight weight(random_, *type, 35, cols);
      std::vector<std::byte> scales(type->plane_size(1, 35, cols));
      std::copy_n(weight.view().planes[1], scales.size(), scales.data());
      const std::size_t row = 17 / type->planes()[1].block_rows;
      // NaN in every code.
      std::fill_n(scales.data() + row * type->plane_row_size(1, cols),
                  type->planes()[1].block_bytes, std::byte{0xff});
      ASSERT_TRUE(has_bad_scale(type->planes()[1].code, scales));
      WeightView view = weight.view();
      view.planes[1] = scales.data();
      const Matrix x = mixed_matrix(random_, x_count, cols);
      Activations prepared = allocate_activations(x_count, cols);
      ops_->prepare(x.view(), prepared);
      Matrix y(x_count, 35);
      const LinearTask task = {.weight = view, .x = &prepared, .y = y.view()};
      ops_->linear({&task, 1});
      for (std::size_t r = 0; r < x_count; ++r) {
        EXPECT_NE(y.row(r)[17], y.row(r)[17]) << name_of(*type) << ", row " << r;
      }
    }
  }
}

// A part of wider transposed rows, as gate_proj is of a fused gate_up_proj.
TEST_P(LinearParity, TransposedFloatsGiveTheBitsOfStraightOnes) {
  constexpr std::size_t kPadding = 3;  // elements between the transposed rows
  for (const DType dtype : kFloatTypes) {
    for (const std::size_t out : {1u, 15u, 33u, 130u}) {
      for (const std::size_t cols : {1u, 15u, 16u, 33u, 384u}) {
        SCOPED_TRACE(fmt::format("{}: [{}, {}]", flashmoe::to_string(dtype), out, cols));
        const Weight weight(random_, float_weights(dtype), out, cols);
        const std::size_t size = size_of(dtype);
        WeightView turned = weight.view();
        turned.transposed_stride = (out + kPadding) * size;
        // The last row ends the memory: nothing may be read behind it.
        std::vector<std::byte> bytes((cols - 1) * turned.transposed_stride + out * size);
        turned.planes[0] = bytes.data();
        for (std::size_t row = 0; row < out; ++row) {
          for (std::size_t i = 0; i < cols; ++i) {
            std::copy_n(weight.view().plane_row(0, row) + i * size, size,
                        bytes.data() + i * turned.transposed_stride + row * size);
          }
        }
        const Matrix x = mixed_matrix(random_, 5, cols);
        Activations prepared = allocate_activations(5, cols);
        ops_->prepare(x.view(), prepared);
        Matrix actual(5, out, 2), expected = actual;
        LinearTask task = {.weight = turned, .x = &prepared, .y = actual.view()};
        ops_->linear({&task, 1});
        EXPECT_TRUE(actual.gaps_intact());
        task = {.weight = weight.view(), .x = &prepared, .y = expected.view()};
        ops_->linear({&task, 1});
        EXPECT_EQ(actual, expected);

        std::vector<float> row(cols), turned_row(cols);
        reference::dequantize_row(weight.view(), out - 1, row);
        reference::dequantize_row(turned, out - 1, turned_row);
        EXPECT_EQ(row, turned_row);
      }
    }
  }
}

TEST_P(LinearParity, TasksOfOneCallGatherTheirRows) {
  const WeightType* const types[] = {find_affine_weights(4, 32, DType::kBF16),
                                     find_affine_weights(6, 64, DType::kF16),
                                     &float_weights(DType::kBF16)};
  const std::vector<std::uint32_t> x_rows[] = {{4, 0, 4}, {}, {6}};
  const std::size_t outs[] = {1, 70, 16}, y_rows[] = {3, 7, 1};
  const Matrix x = testing::filled_matrix(random_, testing::Fill::kNormal, 7, 192);
  Activations prepared = allocate_activations(7, 192);
  ops_->prepare(x.view(), prepared);
  std::vector<Weight> weights;
  std::vector<Matrix> actual, expected;
  std::vector<LinearTask> tasks;
  for (std::size_t i = 0; i < 3; ++i) {
    weights.emplace_back(random_, *types[i], outs[i], 192);
    actual.emplace_back(y_rows[i], outs[i]);
    expected.emplace_back(y_rows[i], outs[i]);
  }
  for (auto* y : {&actual, &expected}) {
    tasks.clear();
    for (std::size_t i = 0; i < 3; ++i) {
      tasks.push_back(
          {.weight = weights[i].view(), .x = &prepared, .x_rows = x_rows[i], .y = (*y)[i].view()});
    }
    (y == &actual ? ops_ : reference_)->linear(tasks);
  }
  for (std::size_t i = 1; i < 3; ++i) {
    EXPECT_LE(relative_rms_of_rows(actual[i], expected[i]), kAffineTolerance) << "task " << i;
  }
  // One output alone may cancel: by its column of three.
  EXPECT_LE(testing::relative_rms({actual[0].data(), 3}, {expected[0].data(), 3}),
            kAffineTolerance);
  EXPECT_EQ(actual[0].row(0)[0], actual[0].row(2)[0]);
}

INSTANTIATE_TEST_SUITE_P(Targets, LinearParity, ::testing::ValuesIn(testing::cpu_targets()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe
