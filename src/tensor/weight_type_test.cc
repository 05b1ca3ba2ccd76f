#include "tensor/weight_type.h"

#include <gtest/gtest.h>

#include <vector>

#include "tensor/weight_view.h"

namespace flashmoe {
namespace {

TEST(WeightType, FloatsHaveOnePlane) {
  for (const auto& [dtype, size] :
       {std::pair(DType::kF32, 4u), std::pair(DType::kBF16, 2u), std::pair(DType::kF16, 2u)}) {
    const WeightType& type = float_weights(dtype);
    EXPECT_EQ(type.dtype, dtype);
    ASSERT_EQ(type.planes().size(), 1u);
    EXPECT_EQ(type.planes()[0].suffix, ".weight");
    EXPECT_EQ(type.row_size(100), 100 * size);
    EXPECT_EQ(type.name(), to_string(dtype));
    EXPECT_EQ(&type, &float_weights(dtype));
  }
}

TEST(WeightType, AffineGroupsHaveScalesAndBiasesOfTheirOwn) {
  for (const std::uint32_t bits : {1, 2, 3, 4, 5, 6, 8}) {
    for (const std::uint32_t group : {32, 64, 128}) {
      const WeightType* const type = find_affine_weights(bits, group, DType::kBF16);
      ASSERT_NE(type, nullptr);
      ASSERT_EQ(type->planes().size(), 3u);
      EXPECT_EQ(type->plane_row_size(0, 384), 48 * bits);
      EXPECT_EQ(type->plane_row_size(1, 384), 384 / group * 2);
      EXPECT_EQ(type->row_size(384), 48 * bits + 2 * 384 / group * 2);
      EXPECT_NE(type, find_affine_weights(bits, group, DType::kF16));
    }
  }
  EXPECT_EQ(find_affine_weights(4, 64, DType::kF32)->name(), "affine 4-bit g64");
  EXPECT_EQ(find_affine_weights(7, 64, DType::kBF16), nullptr);
  EXPECT_EQ(find_affine_weights(4, 16, DType::kBF16), nullptr);
  EXPECT_EQ(find_affine_weights(4, 64, DType::kU8), nullptr);
}

TEST(WeightType, BlocksOfGgmlAreOnePlane) {
  const WeightType* const type = find_ggml_weights(*find_ggml_type("Q4_K"));
  ASSERT_NE(type, nullptr);
  EXPECT_EQ(type->name(), "Q4_K");
  EXPECT_EQ(type->planes().size(), 1u);
  EXPECT_EQ(type->row_size(2048), 8u * 144);
  EXPECT_EQ(find_ggml_weights(*find_ggml_type("F16")), &float_weights(DType::kF16));
  EXPECT_EQ(find_ggml_weights(*find_ggml_type("IQ1_S")), nullptr);
  EXPECT_EQ(find_ggml_weights(*find_ggml_type("I32")), nullptr);
}

TEST(WeightType, FloatsOfFewBitsHaveAPlaneOfScales) {
  for (const PackedMode& mode : packed_modes()) {
    SCOPED_TRACE(mode.name);
    const WeightType& type = packed_weights(mode, false);
    EXPECT_EQ(type.name(), mode.name);
    EXPECT_EQ(find_packed_mode(mode.name), &mode);
    EXPECT_EQ(find_packed_mode(mode.bits, mode.group_size), &mode);
    ASSERT_EQ(type.planes().size(), 2u);
    EXPECT_EQ(type.plane_row_size(0, 384), 48 * mode.bits);
    EXPECT_EQ(type.plane_row_size(1, 384), 384 / mode.group_size);
    if (!mode.can_have_global_scale) continue;
    const WeightType& scaled = packed_weights(mode, true);
    ASSERT_EQ(scaled.planes().size(), 3u);
    EXPECT_EQ(scaled.encoding, type.encoding);
    EXPECT_EQ(scaled.row_size(384), type.row_size(384));
    EXPECT_EQ(scaled.plane_size(2, 7, 384), 4u);
    EXPECT_EQ(scaled.plane_size(1, 7, 384), 7 * 384 / mode.group_size);
  }
  EXPECT_EQ(find_packed_mode("mxfp5"), nullptr);
  EXPECT_EQ(find_packed_mode(4, 64), nullptr);
}

TEST(WeightType, ScalesThatAreNoNumbersAreFound) {
  const auto has = [](ScaleCode code, std::initializer_list<int> values) {
    std::vector<std::byte> plane;
    for (const int value : values) plane.push_back(static_cast<std::byte>(value));
    return has_bad_scale(code, plane);
  };
  EXPECT_TRUE(has(ScaleCode::kE8m0, {0, 127, 255}));
  EXPECT_FALSE(has(ScaleCode::kE8m0, {0, 127, 254}));
  EXPECT_TRUE(has(ScaleCode::kE4m3, {0, 127}));
  EXPECT_TRUE(has(ScaleCode::kE4m3, {255, 1}));
  EXPECT_FALSE(has(ScaleCode::kE4m3, {0, 126, 254, 128}));
  EXPECT_TRUE(has(ScaleCode::kF32, {0, 0, 0, 0, 0, 0, 0x80, 0x7f}));
  EXPECT_FALSE(has(ScaleCode::kF32, {0, 0, 0, 0, 0, 0, 0x7f, 0x7f}));
  EXPECT_TRUE(has(ScaleCode::kBF16, {0, 0, 0x80, 0x7f}));
  EXPECT_FALSE(has(ScaleCode::kBF16, {0, 0, 0x7f, 0x7f}));
  EXPECT_TRUE(has(ScaleCode::kF16, {0, 0, 0, 0xfc}));
  EXPECT_FALSE(has(ScaleCode::kF16, {0, 0, 0xff, 0x7b}));
  EXPECT_FALSE(has(ScaleCode::kAny, {255, 127}));
}

TEST(WeightType, Fp8HasAScaleForEveryRectangle) {
  const WeightType* const type = find_fp8_weights(48, 40, DType::kF32);
  ASSERT_NE(type, nullptr);
  EXPECT_EQ(type, find_fp8_weights(48, 40, DType::kF32));
  EXPECT_NE(type, find_fp8_weights(48, 40, DType::kBF16));
  EXPECT_EQ(type->name(), "fp8 48x40");
  EXPECT_FALSE(type->has_integer_products());
  EXPECT_EQ(type->row_size(100), 100u);
  EXPECT_EQ(type->plane_row_size(1, 100), 3u * 4);
  EXPECT_EQ(type->plane_size(0, 100, 100), 100u * 100);
  EXPECT_EQ(type->plane_size(1, 100, 100), 3u * 3 * 4);
  EXPECT_EQ(find_fp8_weights(0, 128, DType::kF32), nullptr);
  EXPECT_EQ(find_fp8_weights(128, kFp8BlockMax + 1, DType::kF32), nullptr);
  EXPECT_EQ(find_fp8_weights(128, 128, DType::kU8), nullptr);
}

TEST(WeightView, RowsOfBlocksOfRowsAreAView) {
  const std::byte bytes[2] = {};
  const WeightView view = {.type = find_fp8_weights(48, 40, DType::kF32),
                           .rows = 100,
                           .cols = 80,
                           .planes = {&bytes[0], &bytes[1]}};
  EXPECT_EQ(view.plane_row(1, 47), &bytes[1]);
  EXPECT_EQ(view.plane_row(1, 48), &bytes[1] + 8);
  const WeightView part = view.row_range(30, 60).row_range(10, 40);
  EXPECT_EQ(part.planes[0], &bytes[0] + std::ptrdiff_t{40} * 80);
  EXPECT_EQ(part.planes[1], &bytes[1]);
  EXPECT_EQ(part.row_in_block, 40u);
  EXPECT_EQ(part.plane_row(1, 7), &bytes[1]);
  EXPECT_EQ(part.plane_row(1, 8), &bytes[1] + 8);
  EXPECT_EQ(view.row_range(50, 2).planes[1], &bytes[1] + 8);
  EXPECT_EQ(view.row_range(50, 2).row_in_block, 2u);
}

TEST(WeightView, RowsOfItAreAView) {
  const std::byte bytes[3] = {};
  const WeightView view = {.type = find_affine_weights(4, 32, DType::kBF16),
                           .rows = 8,
                           .cols = 64,
                           .planes = {&bytes[0], &bytes[1], &bytes[2]}};
  const WeightView part = view.row_range(3, 2);
  EXPECT_EQ(part.rows, 2u);
  EXPECT_EQ(part.planes[0], &bytes[0] + 3 * 32);
  EXPECT_EQ(part.planes[1], &bytes[1] + 3 * 4);
  EXPECT_EQ(part.planes[2], &bytes[2] + 3 * 4);
}

}  // namespace
}  // namespace flashmoe
