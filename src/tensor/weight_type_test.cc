#include "tensor/weight_type.h"

#include <gtest/gtest.h>

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
