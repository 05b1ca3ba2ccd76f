#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/testing/cpu_ops_fixture.h"
#include "kernels/testing/op_inputs.h"

// What ops.h promises at the edges, for the reference and every CPU target, with values that need
// no tolerance.

namespace flashmoe {
namespace {

using testing::Matrix;

Matrix matrix(std::size_t rows, std::size_t cols, const std::vector<float>& values) {
  Matrix result(rows, cols);
  std::copy(values.begin(), values.end(), result.data());
  return result;
}

std::vector<float> values_of(const Matrix& m) { return {m.data(), m.data() + m.rows() * m.cols()}; }

class OpsSemantics : public ::testing::TestWithParam<std::string> {
 protected:
  ThreadPool pool_{2};
  const std::unique_ptr<Ops> ops_ =
      GetParam() == "reference" ? make_reference_ops() : make_cpu_ops(pool_, GetParam()).value();
};

TEST_P(OpsSemantics, NamesItsTarget) { EXPECT_EQ(ops_->target(), GetParam()); }

TEST_P(OpsSemantics, EqualLogitsGoToTheSmallerIdFirst) {
  const Matrix logits = matrix(2, 6,
                               {1, 3, 3, -1, 0, 3,  //
                                0, -0.0f, 0, -0.0f, 0, -0.0f});
  std::vector<std::uint16_t> ids(8);
  std::vector<float> weights(8);
  ops_->route({.k = 4, .normalize = true}, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{1, 2, 5, 0, 0, 1, 2, 3}));
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(weights[0], weights[2]);
  EXPECT_EQ((std::vector<float>{weights.begin() + 4, weights.end()}), std::vector<float>(4, 0.25f));
}

TEST_P(OpsSemantics, RoutingWeightsSumOverAllExpertsOrOverTheChosen) {
  const Matrix logits = matrix(1, 4, {2, 2, 2, 2});
  std::vector<std::uint16_t> ids(2);
  std::vector<float> weights(2);
  ops_->route({.k = 2, .normalize = false}, logits.view(), ids, weights);
  EXPECT_EQ(weights, (std::vector<float>{0.25f, 0.25f}));
  ops_->route({.k = 2, .normalize = true}, logits.view(), ids, weights);
  EXPECT_EQ(weights, (std::vector<float>{0.5f, 0.5f}));
}

TEST_P(OpsSemantics, RoutingSurvivesLogitsOfAnySize) {
  const Matrix logits = matrix(1, 4, {-3e38f, 3e38f, 1e30f, -200});
  std::vector<std::uint16_t> ids(4);
  std::vector<float> weights(4);
  ops_->route({.k = 4, .normalize = true}, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{1, 2, 3, 0}));
  EXPECT_EQ(weights, (std::vector<float>{1, 0, 0, 0}));
}

TEST_P(OpsSemantics, SigmoidRoutingChoosesByScoreAndBiasAndWeighsByScore) {
  const Matrix logits = matrix(1, 4, {0, 3, -3, 1});
  const std::vector<float> bias = {0.6f, 0, 0.9f, 0};
  std::vector<std::uint16_t> ids(2);
  std::vector<float> weights(2);
  RouteRule rule = {.k = 2, .score = RouteRule::Score::kSigmoid, .bias = bias.data()};
  ops_->route(rule, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{0, 1}));
  EXPECT_FLOAT_EQ(weights[0], 0.5f);
  EXPECT_FLOAT_EQ(weights[1], 0.95257413f);
  rule.normalize = true;
  rule.scale = 2.5f;
  ops_->route(rule, logits.view(), ids, weights);
  EXPECT_FLOAT_EQ(weights[0], 2.5f * 0.5f / 1.45257413f);
  EXPECT_FLOAT_EQ(weights[1], 2.5f * 0.95257413f / 1.45257413f);
}

TEST_P(OpsSemantics, RoutingKeepsToTheBestGroups) {
  // Groups of two: the best expert is in the third, the best pair in the second.
  const Matrix logits = matrix(1, 6, {1, -1, 2, 2, 3, -9});
  std::vector<std::uint16_t> ids(2);
  std::vector<float> weights(2);
  RouteRule rule = {.k = 2, .score = RouteRule::Score::kSigmoid, .groups = 3, .groups_kept = 1};
  ops_->route(rule, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{4, 5}));
  rule.groups_by_best_two = true;
  ops_->route(rule, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{2, 3}));
  rule.groups_kept = 2;
  ops_->route(rule, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{2, 3}));
  rule.score = RouteRule::Score::kSoftmax;
  rule.groups_by_best_two = false;
  ops_->route(rule, logits.view(), ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{4, 2}));
  // Softmax over all six, the dropped ones too.
  EXPECT_NEAR(weights[0], 0.52926, 1e-4);
}

TEST_P(OpsSemantics, EqualGroupsGoToTheLowerFirst) {
  const Matrix logits = matrix(1, 4, {1, 0, 1, 0});
  std::vector<std::uint16_t> ids(1);
  std::vector<float> weights(1);
  ops_->route({.k = 1,
               .score = RouteRule::Score::kSigmoid,
               .groups = 2,
               .groups_kept = 1,
               .groups_by_best_two = true},
              logits.view(), ids, weights);
  EXPECT_EQ(ids[0], 0);
}

TEST_P(OpsSemantics, AnExpertsScaleWeighsItWhereverItIsChosen) {
  const Matrix logits = matrix(1, 3, {2, 2, 0});
  const std::vector<float> scale = {4, 0.5f, 100};
  std::vector<std::uint16_t> ids(2);
  std::vector<float> weights(2);
  ops_->route({.k = 2, .normalize = true, .scale = 2, .expert_scale = scale.data()}, logits.view(),
              ids, weights);
  EXPECT_EQ(ids, (std::vector<std::uint16_t>{0, 1}));  // chosen without it
  EXPECT_EQ(weights, (std::vector<float>{4, 0.5f}));
}

TEST_P(OpsSemantics, TheCapKeepsSmallNumbersAndTheirSigns) {
  Matrix x = matrix(1, 3, {-1e-30f, 1e-6f, 3e-3f});
  const std::vector<float> before = values_of(x);
  ops_->soft_cap(x.view(), 30);
  EXPECT_FLOAT_EQ(values_of(x)[0], before[0]);
  EXPECT_FLOAT_EQ(values_of(x)[1], before[1]);
  EXPECT_FLOAT_EQ(values_of(x)[2], before[2]);
}

TEST_P(OpsSemantics, GatesSaturateWithoutOverflow) {
  const std::vector<float> gates = {-3e38f, -1e4f, 0, 1e4f, 3e38f};
  Matrix x = matrix(1, 5, {3, 3, 3, 3, 3});
  ops_->sigmoid_gate(x.view(), matrix(1, 5, gates).view());
  EXPECT_EQ(values_of(x), (std::vector<float>{0, 0, 1.5f, 3, 3}));

  x = matrix(5, 1, {3, 3, 3, 3, 3});
  ops_->sigmoid_scale_rows(x.view(), matrix(5, 1, gates).view());
  EXPECT_EQ(values_of(x), (std::vector<float>{0, 0, 1.5f, 3, 3}));

  Matrix h(1, 5);
  ops_->swiglu(matrix(1, 5, gates).view(), matrix(1, 5, {3, 3, 3, 3, 1}).view(), h.view());
  EXPECT_EQ(values_of(h), (std::vector<float>{0, 0, 0, 3e4f, 3e38f}));
  ops_->geglu(matrix(1, 5, gates).view(), matrix(1, 5, {3, 3, 3, 3, 1}).view(), h.view());
  EXPECT_EQ(values_of(h), (std::vector<float>{0, 0, 0, 3e4f, 3e38f}));

  // u + 1 for gates of 0 and of the limit, whatever exceeds it.
  ops_->clamped_swiglu({.alpha = 100, .limit = 7}, matrix(1, 5, gates).view(),
                       matrix(1, 5, {3, 3, 3, -9, 9}).view(), h.view());
  EXPECT_EQ(values_of(h), (std::vector<float>{0, 0, 0, 7 * -6, 7 * 8}));

  x = matrix(1, 5, gates);
  ops_->soft_cap(x.view(), 30);
  EXPECT_EQ(values_of(x), (std::vector<float>{-30, -30, 0, 30, 30}));
}

TEST_P(OpsSemantics, DeltaGatesSaturateWithoutOverflow) {
  const std::vector<float> edges = {-3e38f, -1e4f, 1e4f, 3e38f};
  const std::vector<float> neg_exp_a = {-1, -1, -1, -16}, dt_bias = {0, 1, 1, 0};
  Matrix decay(1, 4), beta(1, 4);
  ops_->delta_gates(matrix(1, 4, edges).view(), matrix(1, 4, edges).view(), neg_exp_a.data(),
                    dt_bias.data(), decay.view(), beta.view());
  EXPECT_EQ(values_of(decay), (std::vector<float>{1, 1, 0, 0}));
  EXPECT_EQ(values_of(beta), (std::vector<float>{0, 0, 1, 1}));
}

TEST_P(OpsSemantics, ZerosStayZeros) {
  const Matrix ones = matrix(1, 32, std::vector<float>(32, 1));
  const Matrix zeros(1, 32);
  Matrix x(1, 32), y(1, 32);
  ops_->rms_norm(x.view(), ones.data(), 1e-6f, y.view());
  EXPECT_EQ(values_of(y), values_of(zeros));
  ops_->gated_rms_norm(x.view(), ones.view(), ones.data(), 1e-6f);
  EXPECT_EQ(values_of(x), values_of(zeros));
  ops_->l2_normalize(x.view(), 8, 1);
  EXPECT_EQ(values_of(x), values_of(zeros));

  testing::Random random(3);
  for (const WeightType* const type :
       {&float_weights(DType::kBF16), find_affine_weights(4, 32, DType::kBF16)}) {
    const testing::Weight weight(random, *type, 5, 32);
    Activations prepared = testing::allocate_activations(1, 32);
    ops_->prepare(x.view(), prepared);
    Matrix out = matrix(1, 5, {1, 2, 3, 4, 5});
    const LinearTask task = {.weight = weight.view(), .x = &prepared, .y = out.view()};
    ops_->linear({&task, 1});
    EXPECT_EQ(values_of(out), std::vector<float>(5, 0));
  }
}

TEST_P(OpsSemantics, WeightedRowsAreAddedInTheOrderGiven) {
  const Matrix d = matrix(2, 1, {1e8f, 1});
  Matrix y(2, 1);
  const WeightedRow big = {.y_row = 0, .d_row = 0, .weight = 1};
  const WeightedRow minus_big = {.y_row = 0, .d_row = 0, .weight = -1};
  const WeightedRow one = {.y_row = 0, .d_row = 1, .weight = 1};
  WeightedRow one_to_other = one, big_to_other = big, minus_big_to_other = minus_big;
  one_to_other.y_row = big_to_other.y_row = minus_big_to_other.y_row = 1;
  const std::vector<WeightedRow> terms = {big,       big_to_other, one, minus_big_to_other,
                                          minus_big, one_to_other};
  ops_->add_weighted_rows(d.view(), terms, y.view());
  EXPECT_EQ(values_of(y), (std::vector<float>{0, 1}));  // 1e8 + 1 rounds to 1e8
}

TEST_P(OpsSemantics, RotationByZeroChangesNothingAndAQuarterTurnSwaps) {
  const std::vector<std::uint32_t> positions = {0};
  const float inv_freq = 0.7f;
  Matrix cos(1, 1), sin(1, 1);
  ops_->rope_angles(positions, {&inv_freq, 1}, 1, cos.view(), sin.view());
  EXPECT_EQ(cos.data()[0], 1);
  EXPECT_EQ(sin.data()[0], 0);
  Matrix x = matrix(2, 3, {2, 5, 7, -1, 4, 9});
  ops_->rope(x.view(), 2, cos.view(), sin.view());
  EXPECT_EQ(values_of(x), (std::vector<float>{2, 5, 7, -1, 4, 9}));
  ops_->rope(x.view(), 2, matrix(1, 1, {0}).view(), matrix(1, 1, {1}).view());
  EXPECT_EQ(values_of(x), (std::vector<float>{-5, 2, 7, -4, -1, 9}));
}

// Attention over `positions` positions, of which `loud` alone has a key that answers the query; its
// score is 1000 and the others' are `other_score`.
std::vector<float> attend(Ops& ops, std::size_t position, std::size_t loud, float other_score,
                          std::size_t first = 0, const float* sink = nullptr) {
  const std::size_t block_count = position / kKvBlock + 1;
  std::vector<Matrix> keys(block_count, Matrix(kKvBlock, 1)), values(block_count, keys[0]);
  std::vector<const void*> key_pointers, value_pointers;
  for (std::size_t b = 0; b < block_count; ++b) {
    for (std::size_t j = 0; j < kKvBlock; ++j) {
      keys[b].row(j)[0] = b * kKvBlock + j == loud ? 1000 : other_score;
      values[b].row(j)[0] = static_cast<float>(b * kKvBlock + j + 1);
    }
    key_pointers.push_back(keys[b].data());
    value_pointers.push_back(values[b].data());
  }
  const float q = 1;
  std::vector<float> out(1, -1);
  const AttentionRow row = {.q = &q,
                            .q_stride = 1,
                            .key_blocks = key_pointers.data(),
                            .value_blocks = value_pointers.data(),
                            .first = first,
                            .position = position,
                            .out = out.data()};
  ops.attention({.num_heads = 1,
                 .num_kv_heads = 1,
                 .head_dim = 1,
                 .value_dim = 1,
                 .value_stride = 1,
                 .scale = 1,
                 .sinks = sink},
                {&row, 1});
  return out;
}

TEST_P(OpsSemantics, AttentionSeesNothingBeforeItsWindow) {
  for (const std::size_t first : {1u, 63u, 64u, 65u, 130u}) {
    SCOPED_TRACE(first);
    // The loud one just out of sight, all others equal: the mean of first + 1 ... 200.
    const float mean = static_cast<float>(first + 1 + 200) / 2;
    EXPECT_NEAR(attend(*ops_, 199, first - 1, 2, first)[0], mean, 1e-3);
    EXPECT_EQ(attend(*ops_, 199, first, 0, first)[0], static_cast<float>(first + 1));
  }
}

TEST_P(OpsSemantics, ASinkTakesItsShareAndGivesNothing) {
  const float equal = 2;
  // Three positions and a sink of equal scores: a quarter each.
  EXPECT_FLOAT_EQ(attend(*ops_, 2, 3, 2, 0, &equal)[0], (1 + 2 + 3) / 4.0f);
  const float loud = 1000;
  EXPECT_EQ(attend(*ops_, 2, 3, 2, 0, &loud)[0], 0);
  const float quiet = -1000;
  EXPECT_FLOAT_EQ(attend(*ops_, 2, 3, 2, 0, &quiet)[0], 2);
}

TEST_P(OpsSemantics, AttentionSeesItsOwnPositionAndNoneAfterIt) {
  for (const std::size_t position : {0u, 1u, 63u, 64u, 127u, 128u}) {
    SCOPED_TRACE(position);
    EXPECT_EQ(attend(*ops_, position, position, 0)[0], static_cast<float>(position + 1));
    EXPECT_EQ(attend(*ops_, position, 0, 0)[0], 1);
    EXPECT_EQ(attend(*ops_, position, 0, -3e38f)[0], 1);
    // All scores equal, the loud one out of sight: the mean of 1 ... position + 1, exact in float.
    EXPECT_EQ(attend(*ops_, position, position + 1, 2)[0], static_cast<float>(position + 2) / 2);
  }
}

TEST_P(OpsSemantics, ConvolutionStateShiftsByAsManyRowsAsTheSegmentHas) {
  // One tap: y_t = silu(u_{t-3}); the numbers are large enough that silu(x) = x.
  const std::vector<float> weight = {1, 0, 0, 0};
  for (const std::size_t count : {0u, 1u, 2u, 3u, 4u}) {
    SCOPED_TRACE(count);
    std::vector<float> state = {100, 200, 300};
    const std::vector<float> all = {100, 200, 300, 400, 500, 600, 700};
    const Matrix u = matrix(4, 1, {400, 500, 600, 700});
    Matrix y = matrix(4, 1, {-1, -1, -1, -1});
    const ConvSegment segment = {.row_begin = 0, .row_end = count, .state = state.data()};
    ops_->causal_conv_silu(u.view(), weight.data(), {.kernel = 4}, {&segment, 1}, y.view());
    const auto end = static_cast<std::ptrdiff_t>(count);
    std::vector<float> expected(all.begin(), all.begin() + end);
    expected.resize(4, -1);
    EXPECT_EQ(values_of(y), expected);
    EXPECT_EQ(state, (std::vector<float>{all.begin() + end, all.begin() + end + 3}));
  }
}

TEST_P(OpsSemantics, ConvolutionTapsLieADilationApart) {
  const std::vector<float> weight = {1, 0, 10};  // y_t = u_{t-6} + 10 u_t
  std::vector<float> state = {100, 200, 300, 400, 500, 600};
  const Matrix u = matrix(2, 1, {700, 800});
  Matrix y(2, 1);
  const ConvSegment segment = {.row_begin = 0, .row_end = 2, .state = state.data()};
  ops_->causal_conv_silu(u.view(), weight.data(), {.kernel = 3, .dilation = 3}, {&segment, 1},
                         y.view());
  EXPECT_EQ(values_of(y), (std::vector<float>{7100, 8200}));
  EXPECT_EQ(state, (std::vector<float>{300, 400, 500, 600, 700, 800}));
}

TEST_P(OpsSemantics, KeysAreChosenByPositiveProductsAndTiesGoToTheLowerKey) {
  const Matrix q = matrix(2, 1, {1, -1});
  const Matrix keys = matrix(6, 1, {-3, 0, 2, -3, 2, 1});
  const void* const blocks[] = {keys.row(0), keys.row(4)};
  const auto choose = [&](std::size_t k, const std::vector<float>& weights) {
    std::vector<std::uint32_t> chosen(k);
    std::vector<std::uint64_t> room(k);
    const KeySearch row = {.q = q.data(),
                           .key_blocks = blocks,
                           .key_count = 6,
                           .chosen = chosen.data(),
                           .room = room.data()};
    ops_->choose_keys({.num_heads = 2,
                       .head_dim = 1,
                       .keys_per_block = 4,
                       .k = k,
                       .head_weights = weights.data()},
                      {&row, 1});
    return chosen;
  };
  using Keys = std::vector<std::uint32_t>;
  EXPECT_EQ(choose(1, {1, 0}), Keys({2}));           // scores 0, 0, 2, 0, 2, 1
  EXPECT_EQ(choose(4, {1, 0}), Keys({0, 2, 4, 5}));  // the first of those at 0
  EXPECT_EQ(choose(2, {1, 1}), Keys({0, 3}));        // scores 3, 0, 2, 3, 2, 1
  EXPECT_EQ(choose(3, {-1, -1}), Keys({1, 2, 5}));   // scores -3, 0, -2, -3, -2, -1
  EXPECT_EQ(choose(6, {0, 0}), Keys({0, 1, 2, 3, 4, 5}));
}

TEST_P(OpsSemantics, ConvolutionLastTapMeetsTheCurrentRow) {
  const std::vector<float> weight = {0, 0, 2};
  std::vector<float> state = {100, 200};
  const Matrix u = matrix(2, 1, {300, 400});
  Matrix y(2, 1);
  const ConvSegment segment = {.row_begin = 0, .row_end = 2, .state = state.data()};
  ops_->causal_conv_silu(u.view(), weight.data(), {.kernel = 3}, {&segment, 1}, y.view());
  EXPECT_EQ(values_of(y), (std::vector<float>{600, 800}));
}

TEST_P(OpsSemantics, TheDeltaRuleStoresReplacesAndForgets) {
  const DeltaShape shape = {.key_heads = 1, .value_heads = 2, .key_dim = 2, .value_dim = 1};
  // Both value heads share the key head. Row 0 stores v at key (1, 0) over an old state; row 1
  // replaces it; row 2 writes nothing and halves; row 3 forgets all.
  const Matrix k = matrix(4, 2, {1, 0, 1, 0, 1, 0, 0, 1});
  const Matrix q = matrix(4, 2, {1, 0, 1, 1, 1, 0, 1, 1});
  const Matrix v = matrix(4, 2, {3, -3, 5, -5, 100, 100, 7, -7});
  const Matrix decay = matrix(4, 2, {1, 1, 1, 1, 0.5f, 0.5f, 0, 0});
  const Matrix beta = matrix(4, 2, {1, 1, 1, 1, 0, 0, 1, 1});
  std::vector<float> state = {10, 20, 30, 40};  // head 0: (10, 20), head 1: (30, 40)
  Matrix o(4, 2);
  const DeltaSegment segment = {.row_begin = 0, .row_end = 4, .state = state.data()};
  ops_->delta_rule(shape, q.view(), k.view(), v.view(), decay.view(), beta.view(), {&segment, 1},
                   o.view());
  EXPECT_EQ(values_of(o), (std::vector<float>{3, -3, 25, 35, 2.5f, -2.5f, 7, -7}));
  EXPECT_EQ(state, (std::vector<float>{0, 7, 0, -7}));
}

std::vector<std::string> all_implementations() {
  std::vector<std::string> names = testing::cpu_targets();
  names.push_back("reference");
  return names;
}

INSTANTIATE_TEST_SUITE_P(Implementations, OpsSemantics, ::testing::ValuesIn(all_implementations()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace flashmoe
