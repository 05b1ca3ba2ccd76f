#include "model/layers/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

namespace flashmoe {
namespace {

std::vector<float> two_rows() {
  return {1.5f, -2.0f, 0.25f, 3.0f, /* next row */ -90.0f, 80.0f, 0.0f, 79.0f};
}

TEST(Router, WeighsAsSoftmaxOverTheChosenOrOverAll) {
  std::vector<float> logits = two_rows();
  const std::vector<std::uint16_t> ids = {2, 0, /* next row */ 0, 3};
  for (const bool normalize : {true, false}) {
    const Router router({.num_experts = 4, .num_experts_per_tok = 2, .norm_topk_prob = normalize},
                        8);
    std::vector<float> weights(ids.size());
    router.weigh(MatrixView<float>(logits.data(), 2, 4), ids, weights);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::size_t row = i / 2;
      const auto term = [&](std::size_t expert) {
        return std::exp(double{logits[row * 4 + expert]});
      };
      double sum = 0;
      for (std::size_t j = 0; j < (normalize ? 2 : 4); ++j) {
        sum += term(normalize ? ids[row * 2 + j] : j);
      }
      EXPECT_NEAR(weights[i], term(ids[i]) / sum, 1e-6) << i;
    }
  }
}

/// Hands out what a test says of a router's vectors.
class RouterVectors final : public WeightSource {
 public:
  bool has_matrix(const TensorRef& /*tensor*/) const override { return true; }
  Status matrix(const TensorRef& /*tensor*/, const MatrixShape& /*shape*/,
                WeightView* /*out*/) override {
    return Status();
  }
  Status vector(const TensorRef& tensor, std::span<const TensorShape> /*accepted_shapes*/,
                std::vector<float>* out) override {
    *out = values.at(tensor.id);
    return Status();
  }
  Status integers(const TensorRef& /*tensor*/, std::size_t /*count*/,
                  std::vector<std::int64_t>* /*out*/) override {
    return Status();
  }
  Status row_table(std::span<const TensorRef> /*parts*/, std::uint64_t /*rows*/,
                   std::size_t /*cols*/, std::size_t* /*table*/) override {
    return Status();
  }
  std::map<TensorId, std::vector<float>> values;
};

TEST(Router, AnExpertsScaleWeighsWhoeverItIsGivenTo) {
  RouterVectors source;
  source.values[TensorId::kExpertScale] = {1, 2, 0.5f, 0};
  const TensorTable table;
  LayerTensors tensors(table, 0, source);
  Router router({.num_experts = 4, .num_experts_per_tok = 2, .has_expert_scale = true}, 8);
  ASSERT_TRUE(router.declare(tensors).ok());
  std::vector<float> logits = {0, 0, 0, 0};
  const std::vector<std::uint16_t> ids = {1, 2};
  std::vector<float> weights(2);
  router.weigh(MatrixView<float>(logits.data(), 1, 4), ids, weights);
  EXPECT_EQ(weights, (std::vector<float>{1, 0.25f}));
  EXPECT_EQ(router.relative_weight(logits, 1, 2), 4);
  EXPECT_EQ(router.relative_weight(logits, 1, 3), 0);
}

TEST(Router, RelativeWeightIsTheRatioOfWeights) {
  std::vector<float> logits = two_rows();
  const Router router({.num_experts = 4, .num_experts_per_tok = 4, .norm_topk_prob = false}, 8);
  const std::vector<std::uint16_t> ids = {0, 1, 2, 3};
  std::vector<float> weights(4);
  router.weigh(MatrixView<float>(logits.data(), 1, 4), ids, weights);
  const std::span<const float> row(logits.data(), 4);
  EXPECT_NEAR(router.relative_weight(row, 3, 0), weights[3] / weights[0], 1e-5);
  EXPECT_NEAR(router.relative_weight(row, 1, 2), weights[1] / weights[2], 1e-5);
}

}  // namespace
}  // namespace flashmoe
