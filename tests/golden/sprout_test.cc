// The shipped model against Hugging Face transformers in float32 on the dequantised weights:
// models/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/cpu/cpu_ops_impl.h"
#include "support/bare_model.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

const char* const kDomains[] = {"english",   "python",   "rust", "web",  "chinese",
                                "poetry_zh", "japanese", "math", "chat", "tools"};

class Sprout : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    Result<std::unique_ptr<Engine>> engine =
        Engine::open({.model = sprout_folder(), .memory_bytes = std::uint64_t{1} << 30});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    engine_ = std::move(engine).value().release();
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
  }

  std::string key(const char* name) const { return std::string(GetParam()) + "." + name; }

  static Engine* engine_;
  GoldenFile golden_{sprout_folder() / "golden.safetensors"};
};

Engine* Sprout::engine_ = nullptr;

struct TopTwo {
  std::int32_t argmax = 0;
  float margin = 0;
};

TopTwo top_two(std::span<const float> logits) {
  TopTwo top;
  float second = -INFINITY;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    const float best = logits[static_cast<std::size_t>(top.argmax)];
    if (logits[i] > best) {
      second = best;
      top.argmax = static_cast<std::int32_t>(i);
    } else {
      second = std::max(second, logits[i]);
    }
  }
  if (logits.size() > 1 && second == -INFINITY) second = logits[0];
  top.margin = logits[static_cast<std::size_t>(top.argmax)] - second;
  return top;
}

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

/// Notes how far the last expert chosen is from the first one not chosen.
class MarginOps final : public CpuOps {
 public:
  MarginOps(ThreadPool& pool, std::vector<std::vector<float>>& margins)
      : CpuOps(pool, *find_kernels({}).value()), margins_(margins) {}

  void route(const RouteRule& rule, MatrixView<const float> logits, std::span<std::uint16_t> ids,
             std::span<float> weights) override {
    CpuOps::route(rule, logits, ids, weights);
    std::vector<float>& margins = margins_.emplace_back();
    for (std::size_t r = 0; r < logits.rows; ++r) {
      std::vector<float> sorted(logits.row(r), logits.row(r) + logits.cols);
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      margins.push_back(sorted[rule.k - 1] - sorted[rule.k]);
    }
  }

 private:
  std::vector<std::vector<float>>& margins_;
};

/// What the routers of one forward pass choose: [layers][tokens].
struct Routing final : RoutingObserver {
  static constexpr std::size_t kExperts = 8;
  std::vector<std::vector<float>> margins;
  std::vector<std::vector<std::uint16_t>> ids;  // [layers][tokens * kExperts]

  void on_routed(LayerId, std::span<const StepSegment>, std::span<const std::uint16_t> chosen,
                 std::span<const float>) override {
    ids.emplace_back(chosen.begin(), chosen.end());
  }
};

Routing route(std::span<const std::int32_t> tokens) {
  Routing routing;
  BareModel bare({.slot_count = 1024, .rows_max = tokens.size(), .ops = [&](ThreadPool& pool) {
                    return std::make_unique<MarginOps>(pool, routing.margins);
                  }});
  bare.model().set_routing(&routing, nullptr);
  SequenceState state = SequenceState::create(bare.model().state_layout()).value();
  const SequenceRows rows = {.sequence = &state, .ids = tokens};
  EXPECT_TRUE(bare.model().forward({&rows, 1}, {}).ok());
  return routing;
}

/// A router's choice between experts closer than this may fall either way in a correct engine
/// (golden.json), and moves the positions behind it.
constexpr float kRouterTie = 3e-4f;

/// The first position where a router chooses other experts than the reference's, [layers, tokens,
/// kExperts]; the number of tokens if there is none. It must be a tie.
std::size_t first_tie_broken_otherwise(const Routing& routing,
                                       std::span<const std::int32_t> expected, std::size_t count) {
  for (std::size_t t = 0; t < count; ++t) {
    for (std::size_t layer = 0; layer < routing.ids.size(); ++layer) {
      const auto* const ours = routing.ids[layer].data() + t * Routing::kExperts;
      const auto* const theirs = expected.data() + (layer * count + t) * Routing::kExperts;
      if (std::set<int>(ours, ours + Routing::kExperts) !=
          std::set<int>(theirs, theirs + Routing::kExperts)) {
        EXPECT_LT(routing.margins[layer][t], kRouterTie) << "layer " << layer << ", position " << t;
        return t;
      }
    }
  }
  return count;
}

// Positions behind a tie that fell the other way differ by at most 0.05.
TEST_P(Sprout, GivesTheReferencesProbabilitiesAndArgmax) {
  const std::vector<std::int32_t> ids = golden_.ints(key("input_ids"));
  const Result<Collected> got = collect(*engine_, ids);
  ASSERT_TRUE(got.ok()) << got.status().message();
  const std::size_t tie =
      first_tie_broken_otherwise(route(ids), golden_.ints(key("router_ids")), ids.size());
  const std::vector<float> target_logprob = golden_.floats(key("target_logprob"));
  const std::vector<std::int32_t> argmax = golden_.ints(key("argmax"));
  const std::size_t vocab = engine_->info().vocab_size;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const std::span<const float> logits(got->logits.data() + t * vocab, vocab);
    const TopTwo top = top_two(logits);
    if (top.margin > 1e-2f) {
      EXPECT_EQ(top.argmax, argmax[t]) << "position " << t;
    }
    if (t + 1 == ids.size()) break;
    const double logprob = logits[static_cast<std::size_t>(ids[t + 1])] - log_sum_exp(logits);
    const double difference = std::abs(logprob - target_logprob[t]);
    EXPECT_LT(difference, t < tie ? 2e-3 : 0.05) << "position " << t;
  }

  const std::vector<float> last(got->logits.end() - static_cast<std::ptrdiff_t>(vocab),
                                got->logits.end());
  if (tie == ids.size()) {
    EXPECT_LT(relative_rms(last, golden_.floats(key("last_logits"))), 1e-3);
  }
  RecordProperty("tie", static_cast<int>(tie));
}

TEST_P(Sprout, ContinuesGreedilyAsTheReferenceDoes) {
  for (const char* number : {"0", "1"}) {
    const std::unique_ptr<Session> session = std::move(engine_->new_session()).value();
    const std::vector<std::int32_t> expected = golden_.ints(key("greedy") + number);
    const Result<GenerateResult> got = session->generate(
        golden_.ints(key("prompt") + number), {.max_tokens = expected.size(), .ignore_eos = true});
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ(got->token_ids, expected) << "prompt " << number;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Sprout, ::testing::ValuesIn(kDomains),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace flashmoe::testing
