#include "model/routing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace flashmoe {
namespace {

TEST(WeighChosen, IsTheSoftmaxOverTheChosenOrOverAll) {
  std::vector<float> logits = {1.5f, -2.0f, 0.25f, 3.0f, /* next row */ -90.0f, 80.0f, 0.0f, 79.0f};
  const std::vector<std::uint16_t> ids = {2, 0, /* next row */ 0, 3};
  for (const bool normalize : {true, false}) {
    std::vector<float> weights(ids.size());
    weigh_chosen(MatrixView<float>(logits.data(), 2, 4), normalize, ids, weights);
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

}  // namespace
}  // namespace flashmoe
