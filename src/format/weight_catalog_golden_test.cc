// Opens checkpoints that other software wrote: the shipped model and the golden fixtures.
#include <gtest/gtest.h>

#include "format/model_package.h"
#include "format/testing/golden_data.h"
#include "format/weight_catalog.h"

namespace flashmoe {
namespace {

ModelPackage open_golden(const std::filesystem::path& folder) {
  auto package = ModelPackage::open(folder);
  EXPECT_TRUE(package.ok()) << package.status().message();
  return std::move(*package);
}

/// The format of the weight `path` of layer 0, whose shape is given.
const WeightType* type_of(const ModelPackage& package, std::string_view path, std::uint64_t stack,
                          std::uint64_t rows, std::uint64_t cols) {
  const auto record = find_weight(package, path, stack, rows, cols);
  EXPECT_TRUE(record.ok()) << record.status().message();
  return record.ok() ? record->type : nullptr;
}

const WeightType* affine(std::uint32_t bits, std::uint32_t group_size) {
  return find_affine_weights(bits, group_size, DType::kBF16);
}

#define FM_GOLDEN_OR_SKIP(folder, name)  \
  const auto folder = find_golden(name); \
  if (!folder) GTEST_SKIP() << name << " is not in this clone"

TEST(WeightCatalogGolden, ShippedModelHasFourBitExpertsAndEightBitRouters) {
  const ModelPackage package = open_golden(shipped_model());
  EXPECT_EQ(package.spelling(), TensorSpelling::kMlx);
  EXPECT_EQ(package.files().size(), 4u);
  const auto experts =
      find_weight(package, "model.layers.0.mlp.switch_mlp.gate_proj", 128, 64, 384);
  ASSERT_TRUE(experts.ok()) << experts.status().message();
  EXPECT_EQ(experts->stack, 128u);
  EXPECT_EQ(experts->type, affine(4, 64));
  EXPECT_EQ(experts->planes[0]->size, 128u * 64 * 384 / 2);
  EXPECT_EQ(experts->planes[1]->size, 128u * experts->rows * experts->type->plane_row_size(1, 384));
  EXPECT_EQ(type_of(package, "model.layers.0.mlp.gate", 1, 128, 384), affine(8, 64));
}

TEST(WeightCatalogGolden, HuggingFaceCheckpointIsBf16) {
  FM_GOLDEN_OR_SKIP(folder, "qwen3_next");
  const ModelPackage package = open_golden(*folder);
  EXPECT_EQ(package.spelling(), TensorSpelling::kHuggingFace);
  const WeightType* const bf16 = &float_weights(DType::kBF16);
  EXPECT_EQ(type_of(package, "model.layers.0.mlp.experts.15.down_proj", 1, 128, 64), bf16);
  EXPECT_EQ(type_of(package, "lm_head", 1, 384, 128), bf16);
}

TEST(WeightCatalogGolden, MlxConversionsHaveTheirWidths) {
  struct Case {
    const char* name;
    const WeightType *experts, *router, *head;
  };
  const WeightType* const bf16 = &float_weights(DType::kBF16);
  const Case cases[] = {
      {"mlx_checkpoints/qwen3_next-4bit", affine(4, 64), affine(8, 64), affine(4, 64)},
      {"mlx_checkpoints/qwen3_next-8bit", affine(8, 64), affine(8, 64), affine(8, 64)},
      {"mlx_checkpoints/qwen3_next-mixed_3_6", affine(3, 64), affine(3, 64), affine(6, 64)},
      {"mlx_checkpoints/qwen3_next-bf16", bf16, bf16, bf16},
  };
  for (const Case& expected : cases) {
    const auto folder = find_golden(expected.name);
    if (!folder) continue;  // the smaller two are in every clone
    SCOPED_TRACE(expected.name);
    const ModelPackage package = open_golden(*folder);
    EXPECT_EQ(package.spelling(), TensorSpelling::kMlx);
    EXPECT_EQ(type_of(package, "model.layers.0.mlp.switch_mlp.gate_proj", 16, 64, 128),
              expected.experts);
    EXPECT_EQ(type_of(package, "model.layers.0.mlp.gate", 1, 16, 128), expected.router);
    EXPECT_EQ(type_of(package, "lm_head", 1, 384, 128), expected.head);
  }
}

}  // namespace
}  // namespace flashmoe
