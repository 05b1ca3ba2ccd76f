// Routing recorded from a model, and a model driven by recorded routing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/testing/temporary_folder.h"
#include "experts/policies/residency_policies.h"
#include "experts/residency_replay.h"
#include "experts/routing_trace_file.h"
#include "experts/trace_generator.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using ::testing::HasSubstr;

// Longer than the made-up trace, and no longer than that where sanitizers make math slow.
#ifdef FLASHMOE_SANITIZED
constexpr std::size_t kRoutedTokens = 48;
#else
constexpr std::size_t kRoutedTokens = 80;
#endif

class RoutingTraces : public ::testing::Test {
 protected:
  RoutingTraces()
      : ids_(GoldenFile(sprout_folder() / "golden.safetensors").ints("rust.input_ids")) {
    ids_.resize(kRoutedTokens);
    options_ = {.model = sprout_folder(), .memory_bytes = std::uint64_t{1} << 30, .context = 256};
  }

  std::string path(const char* name) const { return (folder_ / name).string(); }

  std::vector<float> logits(const EngineOptions& options) const {
    Result<std::unique_ptr<Engine>> engine = Engine::open(options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    if (!engine.ok()) return {};
    const Result<Collected> collected = collect(**engine, ids_);
    EXPECT_TRUE(collected.ok()) << collected.status().message();
    if (!options.record_trace.empty()) {
      const Status status = (*engine)->finish_trace();
      EXPECT_TRUE(status.ok()) << status.message();
    }
    return collected.ok() ? collected->logits : std::vector<float>();
  }

  // The model's own routing of ids_.
  RoutingTrace record(const std::string& file) {
    EngineOptions options = options_;
    options.record_trace = file;
    logits(options);
    return read(file);
  }

  static RoutingTrace read(const std::string& file) {
    return std::move(read_routing_traces(file, /*all=*/false).value().front().trace);
  }

  static bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return !a.empty() && a.size() == b.size() &&
           std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  // A made-up trace of 3 layers and 40 tokens, shorter than the model and the prompt both ways.
  std::string write_small_trace() const {
    const RoutingTrace trace = generate_trace({.layer_count = 3,
                                               .token_count = 40,
                                               .num_experts = 128,
                                               .experts_per_token = 8,
                                               .seed = 1})
                                   .value();
    EXPECT_TRUE(write_routing_trace(path("small"), trace).ok());
    return path("small");
  }

  std::vector<std::int32_t> ids_;
  TemporaryFolder folder_;
  EngineOptions options_;
};

TEST_F(RoutingTraces, RecordingChangesNoBit) {
  EngineOptions options = options_;
  options.record_trace = path("t");
  EXPECT_TRUE(same_bits(logits(options), logits(options_)));
}

TEST_F(RoutingTraces, RecordsWhatTheReferenceRoutes) {
  const RoutingTrace trace = record(path("t"));
  const GoldenFile golden(sprout_folder() / "golden.safetensors");
  const std::vector<std::int32_t> expected = golden.ints("rust.router_ids");  // [layers, 256, 8]
  ASSERT_EQ(trace.layer_count(), 8u);
  ASSERT_EQ(trace.token_count(), ids_.size());
  std::size_t differing = 0;
  for (std::size_t l = 0; l < 8; ++l) {
    for (std::size_t t = 0; t < ids_.size(); ++t) {
      for (std::size_t r = 0; r < 8; ++r) {
        if (trace.routed(l, t)[r].value != expected[(l * 256 + t) * 8 + r]) ++differing;
      }
    }
  }
  EXPECT_LT(differing, 8u * ids_.size() * 8 / 500);  // near ties, ranks included
  EXPECT_TRUE(trace.declares_num_experts());
  EXPECT_EQ(trace.num_experts().front(), 128u);
}

TEST_F(RoutingTraces, RecordsTheSameInChunksOfAnySize) {
  const RoutingTrace whole = record(path("whole"));
  options_.prefill_chunk = 7;
  const RoutingTrace cut = record(path("cut"));
  for (std::size_t l = 0; l < whole.layer_count(); ++l) {
    for (std::size_t t = 0; t < whole.token_count(); ++t) {
      ASSERT_TRUE(std::ranges::equal(whole.routed(l, t), cut.routed(l, t)));
      ASSERT_TRUE(std::ranges::equal(whole.weights(l, t), cut.weights(l, t)));
    }
  }
  EXPECT_THAT(cut.starts(), ::testing::ElementsAre(0));
}

TEST_F(RoutingTraces, MarksEverySequenceOfASession) {
  options_.record_trace = path("t");
  const std::unique_ptr<Engine> engine = Engine::open(options_).value();
  const std::unique_ptr<Session> session = engine->new_session().value();
  ASSERT_TRUE(session->forward(ids_, {}).ok());
  ASSERT_TRUE(session->reset().ok());
  ASSERT_TRUE(session->generate(ids_, {.max_tokens = 3, .ignore_eos = true}).ok());
  ASSERT_TRUE(engine->finish_trace().ok());
  const RoutingTrace trace = read(path("t"));
  EXPECT_THAT(trace.starts(), ::testing::ElementsAre(0, ids_.size()));
  EXPECT_EQ(trace.token_count(), 2 * ids_.size() + 2);  // the last token is not computed
  EXPECT_EQ(engine->finish_trace().code(), StatusCode::kInvalidArgument);
}

TEST_F(RoutingTraces, ItsOwnTraceGivesTheModelsBits) {
  record(path("t"));
  EngineOptions options = options_;
  options.routing_trace = path("t");
  EXPECT_TRUE(same_bits(logits(options), logits(options_)));
}

TEST_F(RoutingTraces, WithoutWeightsTheRoutersLogitsWeigh) {
  const RoutingTrace trace = record(path("t"));
  RoutingTraceData data{.layer_count = trace.layer_count(),
                        .token_count = trace.token_count(),
                        .experts_per_token = trace.experts_per_token(),
                        .starts = {0}};
  for (std::size_t l = 0; l < trace.layer_count(); ++l) {
    for (std::size_t t = 0; t < trace.token_count(); ++t) {
      data.ids.insert(data.ids.end(), trace.routed(l, t).begin(), trace.routed(l, t).end());
    }
  }
  ASSERT_TRUE(write_routing_trace(path("ids"), RoutingTrace::create(data).value()).ok());
  EngineOptions options = options_;
  options.routing_trace = path("ids");
  EXPECT_LT(relative_rms(logits(options), logits(options_)), 1e-3);
}

TEST_F(RoutingTraces, AnyConfigurationGivesTheSameBits) {
  options_.routing_trace = write_small_trace();
  const std::vector<float> resident = logits(options_);
  EXPECT_FALSE(same_bits(resident, logits({.model = sprout_folder(), .context = 256})));
  for (const std::size_t chunk : {std::size_t{1}, std::size_t{16}, kRoutedTokens}) {
    for (const IoChoice io : {IoChoice::kAuto, IoChoice::kPread}) {
      SCOPED_TRACE(chunk);
      EngineOptions options = options_;
      options.prefill_chunk = chunk;
      options.threads = chunk == 16 ? 1 : 3;
      options.io = io;
      options.memory_bytes = Engine::open(options).value()->memory_plan().budget_bytes_min;
      EXPECT_TRUE(same_bits(logits(options), resident));
    }
  }
}

TEST_F(RoutingTraces, RepeatShortTracesForMoreLayersAndTokens) {
  options_.routing_trace = write_small_trace();
  options_.record_trace = path("used");
  logits(options_);
  const RoutingTrace small = read(path("small"));
  const RoutingTrace used = read(path("used"));
  ASSERT_EQ(used.layer_count(), 8u);
  for (std::size_t l = 0; l < 8; ++l) {
    for (std::size_t t = 0; t < ids_.size(); ++t) {
      ASSERT_TRUE(std::ranges::equal(used.routed(l, t), small.routed(l % 3, t % 40)));
    }
  }
}

TEST_F(RoutingTraces, RepetitionsTakeOtherSequences) {
  RoutingTraceData data{.layer_count = 4, .token_count = 100, .experts_per_token = 8};
  for (std::size_t i = 0; i < 400 * 8; ++i) {
    data.ids.push_back(ExpertId{static_cast<std::uint16_t>((i / 8 * 7 + i % 8) % 128)});
  }
  data.starts = {0, 60};
  const RoutingTrace trace = RoutingTrace::create(data).value();
  ASSERT_TRUE(write_routing_trace(path("two"), trace).ok());
  options_.routing_trace = path("two");
  options_.record_trace = path("used");
  logits(options_);
  const RoutingTrace used = read(path("used"));
  for (std::size_t l = 0; l < 8; ++l) {
    for (std::size_t t = 0; t < ids_.size(); ++t) {
      ASSERT_TRUE(
          std::ranges::equal(used.routed(l, t), trace.routed(l % 4, (t + l / 4 * 60) % 100)));
    }
  }
}

TEST_F(RoutingTraces, OfOtherModelsAreRefused) {
  const auto refusal = [&](const TraceGeneratorOptions& trace) {
    EXPECT_TRUE(write_routing_trace(path("other"), generate_trace(trace).value()).ok());
    options_.routing_trace = path("other");
    const Status status = Engine::open(options_).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return status.message();
  };
  EXPECT_THAT(
      refusal({.layer_count = 8, .token_count = 4, .num_experts = 128, .experts_per_token = 10}),
      HasSubstr("has 10 experts per token, the model 8"));
  EXPECT_THAT(
      refusal({.layer_count = 8, .token_count = 4, .num_experts = 256, .experts_per_token = 8}),
      HasSubstr("has 256 experts in a layer, the model 128"));
  options_.routing_trace = path("absent");
  EXPECT_EQ(Engine::open(options_).status().code(), StatusCode::kNotFound);
}

TEST_F(RoutingTraces, CannotBeRecordedWhereNothingCanBeWritten) {
  options_.record_trace = folder_ / "absent" / "t";
  EXPECT_EQ(Engine::open(options_).status().code(), StatusCode::kIo);
}

// What `trace replay` predicts is what the engine does, token by token.
TEST_F(RoutingTraces, TheEngineHitsWhatAReplayHits) {
  options_.routing_trace = write_small_trace();
  options_.record_trace = path("used");
  options_.prefill_chunk = 1;
  const std::uint64_t least = Engine::open(options_).value()->memory_plan().budget_bytes_min;
  for (const std::uint64_t more : {0, 3 << 20, 12 << 20}) {
    options_.memory_bytes = least + more;
    const std::unique_ptr<Engine> engine = Engine::open(options_).value();
    ASSERT_TRUE(collect(*engine, ids_).ok());
    ASSERT_TRUE(engine->finish_trace().ok());
    const RoutingTrace used = read(path("used"));
    const ReplayResult replayed = replay(
        used,
        [&](std::size_t, std::size_t) {
          return make_residency_policy(kDefaultResidencyPolicy, used.num_experts());
        },
        engine->memory_plan().expert_slots);
    EXPECT_EQ(engine->statistics().expert_hits, replayed.all.hits) << more;
    EXPECT_EQ(engine->statistics().expert_hits + engine->statistics().expert_misses,
              replayed.all.lookups);
  }
}

}  // namespace
}  // namespace flashmoe::testing
