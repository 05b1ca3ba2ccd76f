// A model with n-gram tables that stay on disk, several residual streams and indexed attention,
// small and random: what it remembers and reads does not depend on how it is asked, and what its
// files lack is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "base/testing/temporary_folder.h"
#include "flashmoe/inspection.h"
#include "flashmoe/synthesis.h"
#include "format/safetensors_file.h"
#include "support/collect.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr std::int32_t kEos = 2;
constexpr std::uint64_t kMemory = std::uint64_t{1} << 30;

class NgramTables : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    const Json config = {{"model_type", "qwen4_exp_text"},
                         {"eos_token_id", kEos},
                         {"full_attention_interval", 2},
                         {"hc_count", 3},
                         {"hc_lowrank", 64},
                         {"head_dim", 32},
                         {"heads_per_ngram", 4},
                         {"hidden_size", 128},
                         {"indexer_budget", 24},
                         {"indexer_compress_ratio", 4},
                         {"indexer_head_dim", 32},
                         {"indexer_kv_heads", 1},
                         {"indexer_n_heads", 3},
                         {"linear_conv_kernel_dim", 4},
                         {"linear_key_head_dim", 32},
                         {"linear_num_key_heads", 2},
                         {"linear_num_value_heads", 4},
                         {"linear_value_head_dim", 32},
                         {"max_position_embeddings", 1024},
                         {"moe_intermediate_size", 64},
                         {"ngram_vocab_size_base", 500},
                         {"num_attention_heads", 4},
                         {"num_experts", 8},
                         {"num_experts_per_tok", 2},
                         {"num_hidden_layers", 4},
                         {"num_key_value_heads", 2},
                         {"output_gate_type", "sigmoid"},
                         {"ple_embed_dim", 64},
                         {"ple_layer_ids", {1, 4}},
                         {"rope_parameters", {{"partial_rotary_factor", 0.25}}},
                         {"shared_expert_intermediate_size", 64},
                         {"split_ngram_parts", 3},
                         {"vocab_size", 320}};
    std::ofstream(*shared_ / "config.json") << config;
    const auto made = synthesize_checkpoint({.folder = shared_->path() / "model",
                                             .config = shared_->path() / "config.json",
                                             .seed = 5});
    ASSERT_TRUE(made.ok()) << made.status().message();
  }
  static void TearDownTestSuite() { shared_ = nullptr; }

  static fs::path model() { return shared_->path() / "model"; }

  /// Ends of texts are among them, at the edges of runs and of blocks, too.
  static std::vector<std::int32_t> prompt(std::size_t count) {
    std::mt19937 random(11);
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_end = i % 37 == 5 || i == 63 || i == 64 || i == 128;
      ids.push_back(is_end ? kEos : static_cast<std::int32_t>(random() % 320));
    }
    return ids;
  }

  static std::vector<float> logits(const EngineOptions& options,
                                   const std::vector<std::int32_t>& ids) {
    const auto engine = Engine::open(options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    if (!engine.ok()) return {};
    const Result<Collected> got = collect(**engine, ids);
    EXPECT_TRUE(got.ok()) << got.status().message();
    return got.ok() ? got->logits : std::vector<float>();
  }

  /// A copy of the model with another config.
  static void copy_with(const fs::path& folder, const Json& fields) {
    fs::copy(model(), folder, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    Json config = Json::parse(std::ifstream(model() / "config.json"));
    config.update(fields);
    std::ofstream(folder / "config.json") << config;
  }

  static std::string complaint(const fs::path& folder) {
    return Engine::open({.model = folder, .memory_bytes = kMemory}).status().message();
  }

 private:
  static inline std::unique_ptr<TemporaryFolder> shared_;
};

TEST_F(NgramTables, GiveTheSameBitsHoweverAPromptIsCut) {
  const std::vector<std::int32_t> ids = prompt(300);
  const std::vector<float> whole =
      logits({.model = model(), .memory_bytes = kMemory, .prefill_chunk = 512}, ids);
  for (const std::size_t chunk : {1, 2, 7, 64, 100, 129}) {
    EXPECT_TRUE(std::ranges::equal(
        logits({.model = model(), .memory_bytes = kMemory, .prefill_chunk = chunk}, ids), whole))
        << chunk;
  }
  const Result<ModelInspection> inspection = inspect_model({.model = model()});
  ASSERT_TRUE(inspection.ok()) << inspection.status().message();
  for (const IoChoice io : {IoChoice::kAuto, IoChoice::kPread}) {
    const EngineOptions smallest = {.model = model(),
                                    .memory_bytes = inspection->minimum.budget_bytes_min,
                                    .threads = 1,
                                    .io = io};
    EXPECT_TRUE(std::ranges::equal(logits(smallest, ids), whole));
  }
}

TEST_F(NgramTables, StayOnDiskWhateverTheBudget) {
  TemporaryFolder folder;
  std::ofstream(folder / "config.json") << [] {
    Json config = Json::parse(std::ifstream(model() / "config.json"));
    config["ngram_vocab_size_base"] = 20000;
    return config;
  }();
  const fs::path large = folder.path() / "large";
  ASSERT_TRUE(synthesize_checkpoint({.folder = large, .config = folder / "config.json"}).ok());
  const Result<ModelInspection> small = inspect_model({.model = model()});
  const Result<ModelInspection> big = inspect_model({.model = large});
  ASSERT_TRUE(small.ok() && big.ok());
  EXPECT_GT(big->ngram_table_bytes, 30 * small->ngram_table_bytes);
  EXPECT_EQ(big->architecture.ngram_embedding_layers, 2u);
  EXPECT_EQ(big->architecture.ngram_rows_per_token, 8u);
  EXPECT_EQ(big->minimum.dense_bytes, small->minimum.dense_bytes);
  EXPECT_EQ(big->minimum.budget_bytes_min, small->minimum.budget_bytes_min);
  EXPECT_EQ(big->active_parameter_count, small->active_parameter_count);
  EXPECT_EQ(big->parameter_count - small->parameter_count,
            (big->ngram_table_bytes - small->ngram_table_bytes) / 2);
}

// Up to the budget and the runs that are not whole, all positions are seen.
TEST_F(NgramTables, IndexersLookAtAllWithinTheBudgetAndAtAPartBeyondIt) {
  TemporaryFolder folder;
  copy_with(folder.path(), {{"indexer_budget", 1024}});
  const std::vector<std::int32_t> ids = prompt(100);
  const std::vector<float> sparse = logits({.model = model(), .memory_bytes = kMemory}, ids);
  const std::vector<float> dense = logits({.model = folder.path(), .memory_bytes = kMemory}, ids);
  const auto same = static_cast<std::ptrdiff_t>(320 * (24 + 3));  // complete runs, and a tail of 3
  EXPECT_TRUE(std::equal(sparse.begin(), sparse.begin() + same, dense.begin()));
  EXPECT_FALSE(
      std::equal(sparse.begin() + same, sparse.begin() + same + 320, dense.begin() + same));
}

/// Waits for the end of a generation.
class IdListener : public GenerationListener {
 public:
  void on_token(const GeneratedToken& token) override { ids.push_back(token.id); }
  void on_end(const GenerationEnd& end) override { end_.set_value(end); }
  GenerationEnd wait() { return end_.get_future().get(); }
  std::vector<std::int32_t> ids;

 private:
  std::promise<GenerationEnd> end_;
};

TEST_F(NgramTables, GoOnFromWhatTheyRememberInCompanyAndAfterARestart) {
  constexpr std::size_t kTokens = 20;
  const TemporaryFolder cache;
  const auto open = [&] {
    return Engine::open({.model = model(),
                         .memory_bytes = kMemory,
                         .prefill_chunk = 50,
                         .sessions = 2,
                         .prefix_cache_bytes = 64u << 20})
        .value();
  };
  const auto generate = [&](Scheduler& scheduler, const std::vector<std::int32_t>& ids) {
    auto listener = std::make_shared<IdListener>();
    EXPECT_TRUE(
        scheduler.submit({.prompt = ids, .max_tokens = kTokens, .ignore_eos = true}, listener)
            .ok());
    return listener;
  };
  const auto alone = [&](const std::vector<std::int32_t>& ids) {
    const auto engine = Engine::open({.model = model(), .memory_bytes = kMemory}).value();
    return engine->new_session()
        .value()
        ->generate(ids, {.max_tokens = kTokens, .ignore_eos = true})
        .value()
        .token_ids;
  };
  // Ends within a run of the indexer and within an n-gram.
  const std::vector<std::int32_t> first = prompt(203);
  const std::vector<std::int32_t> second(first.rbegin(), first.rend() - 30);
  std::vector<std::int32_t> longer = first;
  {
    const std::unique_ptr<Engine> engine = open();
    const auto scheduler = engine->new_scheduler({.cache_folder = cache.path()}).value();
    const auto of_first = generate(*scheduler, first);
    const auto of_second = generate(*scheduler, second);
    of_first->wait();
    of_second->wait();
    EXPECT_EQ(of_first->ids, alone(first));
    EXPECT_EQ(of_second->ids, alone(second));
    longer.insert(longer.end(), of_first->ids.begin(), of_first->ids.end());
    longer.insert(longer.end(), second.begin(), second.begin() + 9);
    const auto of_longer = generate(*scheduler, longer);
    EXPECT_GT(of_longer->wait().statistics.cached_tokens, 0u);
    EXPECT_EQ(of_longer->ids, alone(longer));
  }
  const std::unique_ptr<Engine> engine = open();
  const auto scheduler = engine->new_scheduler({.cache_folder = cache.path()}).value();
  longer.push_back(7);
  const auto again = generate(*scheduler, longer);
  EXPECT_GT(again->wait().statistics.cached_tokens, 0u);
  EXPECT_EQ(again->ids, alone(longer));
}

TEST_F(NgramTables, AreRefusedWhereTheyDoNotMatchTheConfig) {
  struct Case {
    Json fields;
    std::vector<std::string> said;
  };
  const Case cases[] = {
      {{{"split_ngram_parts", 4}}, {"ngram_embedding.shard_3.weight", "not in the checkpoint"}},
      {{{"split_ngram_parts", 2}}, {"2 parts", "shard_0", "download"}},
      {{{"ngram_vocab_size_base", 600}}, {"3 parts", "shard_0", "download"}},
      {{{"ngram_vocab_size_base", 100}}, {"shard_0.weight", "shape", "download"}},
      {{{"ple_embed_dim", 128}}, {"shard_0.weight", "shape", "rows of 16"}},
      {{{"ngram_size", 2}, {"heads_per_ngram", 8}}, {"layer_multipliers", "[3]", "[2]"}},
      {{{"hc_count", 4}}, {"shape"}},
      {{{"ple_layer_ids", {1, 2}}}, {"layers.1.ple", "not in the checkpoint"}}};
  for (const Case& c : cases) {
    TemporaryFolder folder;
    copy_with(folder.path(), c.fields);
    const std::string message = complaint(folder.path());
    for (const std::string& said : c.said) EXPECT_THAT(message, HasSubstr(said)) << c.fields;
  }
}

TEST_F(NgramTables, HashesThatLeaveTheTableAreRefused) {
  const std::string prefix = "model.layers.0.ple.ple_embedding.";
  for (const auto& [name, index, value] :
       {std::tuple<const char*, std::size_t, std::int64_t>{"ngram_heads_offsets", 7, 1 << 20},
        {"ngram_heads_offsets", 0, -1},
        {"ngram_heads_offsets", 0, INT64_MAX},
        {"ngram_heads_vocab_sizes", 3, 0},
        {"ngram_heads_vocab_sizes", 3, -5},
        {"ngram_heads_vocab_sizes", 3, INT64_MIN},
        {"ngram_heads_vocab_sizes", 3, INT64_MAX}}) {
    TemporaryFolder folder;
    copy_with(folder.path(), Json::object());
    const fs::path path = folder.path() / "model.safetensors";
    const SafetensorsFile file = SafetensorsFile::open(path).value();
    const SafetensorsEntry* const entry = file.find(prefix + name);
    ASSERT_NE(entry, nullptr);
    std::fstream bytes(path, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(entry->offset + index * sizeof value));
    bytes.write(reinterpret_cast<const char*>(&value), sizeof value);
    bytes.close();
    EXPECT_THAT(complaint(folder.path()),
                AllOf(HasSubstr(folder.path().string()), HasSubstr("layer 0"),
                      HasSubstr("ngram_heads_offsets"), HasSubstr("download")))
        << name << " " << value;
  }
}

// Tables in files of their own, one of which loses its end, and gets it back.
TEST_F(NgramTables, AFailedReadEndsTheRequestAndNotTheEngine) {
  TemporaryFolder folder;
  const fs::path sharded = folder.path() / "model";
  ASSERT_TRUE(
      synthesize_checkpoint(
          {.folder = sharded, .config = model() / "config.json", .seed = 5, .shard_bytes_max = 1})
          .ok());
  const std::unique_ptr<Engine> engine =
      Engine::open({.model = sharded, .memory_bytes = kMemory}).value();
  const auto generate = [&](Session& session) {
    return session.generate(prompt(60), {.max_tokens = 5, .ignore_eos = true});
  };
  const std::unique_ptr<Session> session = engine->new_session().value();
  const std::vector<std::int32_t> expected = generate(*session).value().token_ids;
  fs::path file;
  const ModelInspection inspection = inspect_model({.model = sharded}).value();
  for (const InspectedTensor& tensor : inspection.tensors) {
    if (tensor.name.ends_with("layers.3.ple.ple_embedding.ngram_embedding.shard_1.weight")) {
      file = sharded / tensor.file;
    }
  }
  ASSERT_TRUE(fs::exists(file));
  std::ifstream reader(file, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(reader)),
                            std::istreambuf_iterator<char>());
  fs::resize_file(file, content.size() / 4);
  ASSERT_TRUE(session->reset().ok());
  const Status failed = generate(*session).status();
  EXPECT_THAT(failed.message(), AllOf(HasSubstr("n-gram table"), HasSubstr(file.string())));
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary) << content;
  ASSERT_TRUE(session->reset().ok());
  const Result<GenerateResult> again = generate(*session);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->token_ids, expected);
}

}  // namespace
}  // namespace flashmoe::testing
