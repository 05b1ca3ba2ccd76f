#include "flashmoe/inspection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/temporary_folder.h"
#include "format/testing/golden_data.h"
#include "format/testing/safetensors_bytes.h"

namespace flashmoe {
namespace {

using ::testing::HasSubstr;

std::uint64_t total_bytes(const ModelInspection& model, TensorRole role) {
  std::uint64_t size = 0;
  for (const TensorGroup& group : model.groups) size += group.role == role ? group.size_bytes : 0;
  return size;
}

/// Bytes that this process has read by system calls.
std::uint64_t bytes_read_so_far() {
  std::ifstream file("/proc/self/io");
  std::string key;
  std::uint64_t value = 0;
  file >> key >> value;
  EXPECT_EQ(key, "rchar:");
  return value;
}

TEST(Inspection, DescribesTheShippedModel) {
  const Result<ModelInspection> model = inspect_model({.model = shipped_model()});
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->info.model_type, "qwen3_next");
  EXPECT_EQ(model->info.layer_count, 8U);
  EXPECT_EQ(model->architecture.full_attention_layers, 2U);
  EXPECT_EQ(model->architecture.linear_attention_layers, 6U);
  EXPECT_EQ(model->architecture.moe_layers, 8U);
  EXPECT_EQ(model->format, "affine 4-bit g64");
  EXPECT_EQ(model->layout, "mlx");
  EXPECT_TRUE(model->has_tokenizer);
  EXPECT_EQ(model->file_count, 4U);
  // 384 x 64 weights in each of three matrices, at 4 bits and two BF16 for 64 of them.
  EXPECT_EQ(model->expert_bytes, 3U * 384 * 64 * 36 / 64);
  EXPECT_EQ(model->minimum.expert_count, 1024U);
  EXPECT_EQ(total_bytes(*model, TensorRole::kRoutedExperts), 1024 * model->expert_bytes);
  EXPECT_NEAR(static_cast<double>(model->parameter_count), 89e6, 1e6);
  EXPECT_EQ(model->parameter_count - model->active_parameter_count, 8U * 120 * 3 * 384 * 64);
  // Two layers of keys and values, two heads of 64 floats.
  EXPECT_EQ(model->kv_bytes_per_token, 2U * 2 * 2 * 64 * 4);
}

TEST(Inspection, TellsWhatATokenTakesInEachPrecision) {
  const auto inspect = [](KvPrecision precision) {
    return inspect_model({.model = shipped_model(), .kv_precision = precision}).value();
  };
  const ModelInspection bf16 = inspect(KvPrecision::kBF16);
  EXPECT_EQ(bf16.kv_bytes_per_token, 2U * 2 * 2 * 64 * 2);
  EXPECT_EQ(bf16.minimum.kv_precision, KvPrecision::kBF16);
  EXPECT_EQ(bf16.minimum.kv_bytes, bf16.minimum.context * bf16.kv_bytes_per_token);
  // Two scales for a head of 64.
  EXPECT_EQ(inspect(KvPrecision::kInt8).kv_bytes_per_token, 2U * 2 * 2 * (64 + 2 * 4));
}

TEST(Inspection, TellsSlidingLayersFromFullOnes) {
  const Result<ModelInspection> model =
      inspect_model({.model = *find_golden("mlx_checkpoints/gemma4-4bit")});
  ASSERT_TRUE(model.ok()) << model.status().message();
  const ModelArchitecture& a = model->architecture;
  EXPECT_EQ(a.full_attention_layers, 1U);
  EXPECT_EQ(a.num_key_value_heads, 1U);
  EXPECT_EQ(a.head_dim, 64U);
  EXPECT_EQ(a.sliding_attention_layers, 2U);
  EXPECT_EQ(a.sliding_num_key_value_heads, 2U);
  EXPECT_EQ(a.sliding_head_dim, 32U);
  EXPECT_EQ(a.sliding_window, 16U);
}

TEST(Inspection, TellsTablesThatStayOnDiskAndWhatIndexersChoose) {
  const auto folder = find_golden("qwen4_exp");
  ASSERT_TRUE(folder.has_value());
  const Result<ModelInspection> model = inspect_model({.model = *folder});
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->info.residual_streams, 4U);
  const ModelArchitecture& a = model->architecture;
  EXPECT_EQ(a.full_attention_layers, 1U);
  EXPECT_EQ(a.indexer_num_heads, 4U);
  EXPECT_EQ(a.indexer_head_dim, 32U);
  EXPECT_EQ(a.indexer_budget, 16U);
  EXPECT_EQ(a.indexer_compress_ratio, 4U);
  EXPECT_EQ(a.ngram_embedding_layers, 1U);
  EXPECT_EQ(a.ngram_rows_per_token, 8U);
  EXPECT_EQ(model->ngram_table_bytes, 560U * 8 * 2);
  EXPECT_EQ(total_bytes(*model, TensorRole::kNgramTable), model->ngram_table_bytes);
  EXPECT_GT(total_bytes(*model, TensorRole::kNgramEmbedding), 0U);
  EXPECT_GT(total_bytes(*model, TensorRole::kHyperConnection), 0U);
  EXPECT_EQ(total_bytes(*model, TensorRole::kUnused), 0U);
  // Two heads of 32 floats, keys and values, and a key of 32 for every four positions.
  EXPECT_EQ(model->kv_bytes_per_token, 2U * 2 * 32 * 4 + 32);
  // What indexers search stays as it is in every precision.
  const auto int8 = inspect_model({.model = *folder, .kv_precision = KvPrecision::kInt8});
  ASSERT_TRUE(int8.ok()) << int8.status().message();
  EXPECT_EQ(int8->kv_bytes_per_token, 2U * 2 * (32 + 4) + 32);
  // All but 6 experts of 2, and 8 of the table's rows.
  EXPECT_EQ(model->parameter_count - model->active_parameter_count,
            3U * 4 * 3 * 128 * 64 + 560 * 8 - 64);
}

TEST(Inspection, GivesEveryTensorOfEveryGoldenCheckpointARole) {
  std::size_t seen = 0;
  for (const char* name :
       {"qwen3_next", "mlx_checkpoints/qwen3_next-4bit", "mlx_checkpoints/qwen3_next-8bit",
        "mlx_checkpoints/qwen3_next-bf16", "mlx_checkpoints/qwen3_next-mixed_3_6"}) {
    const auto folder = find_golden(name);
    if (!folder) continue;
    SCOPED_TRACE(name);
    ++seen;
    const Result<ModelInspection> model = inspect_model({.model = *folder});
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_FALSE(model->has_tokenizer);
    EXPECT_EQ(total_bytes(*model, TensorRole::kUnused), 0U);
    std::uint64_t tensors = 0;
    std::uint64_t groups = 0;
    for (const InspectedTensor& tensor : model->tensors) tensors += tensor.size_bytes;
    for (const TensorGroup& group : model->groups) groups += group.size_bytes;
    EXPECT_EQ(tensors, groups);
    for (const TensorRole role :
         {TensorRole::kEmbedding, TensorRole::kNorm, TensorRole::kAttention, TensorRole::kDeltaNet,
          TensorRole::kRouter, TensorRole::kSharedExpert, TensorRole::kRoutedExperts}) {
      EXPECT_GT(total_bytes(*model, role), 0U) << to_string(role);
    }
  }
  EXPECT_GT(seen, 0U);
}

TEST(Inspection, NamesEachFormatOfAMixedCheckpoint) {
  const auto folder = find_golden("mlx_checkpoints/qwen3_next-mixed_3_6");
  if (!folder) GTEST_SKIP() << "no golden mixed_3_6 checkpoint here";
  const Result<ModelInspection> model = inspect_model({.model = *folder});
  ASSERT_TRUE(model.ok()) << model.status().message();
  std::vector<std::string> formats;
  for (const TensorGroup& group : model->groups) {
    if (group.role == TensorRole::kRoutedExperts) formats.push_back(group.format);
  }
  EXPECT_THAT(formats, ::testing::IsSupersetOf({HasSubstr("3-bit"), HasSubstr("6-bit")}));
}

TEST(Inspection, CallsATensorUnusedThatTheModelDoesNotKnow) {
  const auto folder = find_golden("qwen3_next");
  ASSERT_TRUE(folder);
  const TemporaryFolder fixture;
  for (const auto& entry : std::filesystem::directory_iterator(*folder)) {
    std::filesystem::create_symlink(std::filesystem::absolute(entry.path()),
                                    fixture.path() / entry.path().filename());
  }
  fixture.write(
      "model-extra.safetensors",
      safetensors_bytes(R"({"mtp.fc.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}})",
                        12));
  const Result<ModelInspection> model = inspect_model({.model = fixture.path()});
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(total_bytes(*model, TensorRole::kUnused), 12U);
  const auto extra =
      std::find_if(model->tensors.begin(), model->tensors.end(),
                   [](const InspectedTensor& tensor) { return tensor.name == "mtp.fc.weight"; });
  ASSERT_NE(extra, model->tensors.end());
  EXPECT_EQ(extra->role, TensorRole::kUnused);
  EXPECT_EQ(extra->file, "model-extra.safetensors");
}

TEST(Inspection, ReadsNoWeights) {
  const std::uint64_t before = bytes_read_so_far();
  ASSERT_TRUE(inspect_model({.model = shipped_model()}).ok());
  // The index and the headers are 60 kB of its 51 MB, the tokenizer's files 0.9 MB.
  EXPECT_LT(bytes_read_so_far() - before, 2'000'000U);
}

/// The shipped model with files of its own in place of some of its text files.
class InspectionOfText : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto& entry : std::filesystem::directory_iterator(shipped_model())) {
      std::filesystem::create_symlink(std::filesystem::absolute(entry.path()),
                                      folder_.path() / entry.path().filename());
    }
  }
  void replace(const std::string& name, std::string_view text) const {
    std::filesystem::remove(folder_ / name);
    folder_.write(name, text);
  }

  TemporaryFolder folder_;
};

TEST_F(InspectionOfText, FailsAsAnEngineWouldWhereATextFileIsNone) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    std::filesystem::rename(folder_ / name, folder_ / "kept");
    for (const char* text :
         {"", "{\"a\": ", "<!doctype html>",
          "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"}) {
      replace(name, text);
      const Status status = inspect_model({.model = folder_.path()}).status();
      EXPECT_EQ(status.code(), StatusCode::kCorrupt) << name << text;
      EXPECT_THAT(status.message(), HasSubstr(std::string(name) + ": "));
      EXPECT_TRUE(status.message().find("download") != std::string::npos ||
                  status.message().find("git lfs pull") != std::string::npos)
          << status.message();
    }
    std::filesystem::remove(folder_ / name);
    std::filesystem::rename(folder_ / "kept", folder_ / name);
  }
}

TEST_F(InspectionOfText, WarnsOfAChatTemplateThatIsNone) {
  for (const char* text : {"", "<html>", "{{ 1 +"}) {
    replace("chat_template.jinja", text);
    const Result<ModelInspection> model = inspect_model({.model = folder_.path()});
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_THAT(model->info.warnings, ::testing::ElementsAre(HasSubstr("chat_template.jinja: ")));
  }
}

TEST_F(InspectionOfText, CountsTheEndTokenOfTheMapOfSpecialTokens) {
  const std::vector<std::int32_t> all =
      inspect_model({.model = shipped_model()})->info.eos_token_ids;
  ASSERT_FALSE(all.empty());
  nlohmann::json config;
  std::ifstream(shipped_model() / "config.json") >> config;
  config.erase("eos_token_id");
  replace("config.json", config.dump());
  replace("generation_config.json", "{}");
  nlohmann::json tokenizer_config;
  std::ifstream(shipped_model() / "tokenizer_config.json") >> tokenizer_config;
  const nlohmann::json eos = tokenizer_config.at("eos_token");
  tokenizer_config.erase("eos_token");
  replace("tokenizer_config.json", tokenizer_config.dump());
  std::filesystem::remove(folder_ / "special_tokens_map.json");
  EXPECT_THAT(inspect_model({.model = folder_.path()})->info.eos_token_ids, ::testing::IsEmpty());
  for (const nlohmann::json& said : {eos, nlohmann::json{{"content", eos}, {"special", true}}}) {
    replace("special_tokens_map.json", nlohmann::json{{"eos_token", said}}.dump());
    const std::vector<std::int32_t> ends =
        inspect_model({.model = folder_.path()})->info.eos_token_ids;
    ASSERT_EQ(ends.size(), 1u);
    EXPECT_THAT(all, ::testing::Contains(ends.front()));
  }
}

TEST(Inspection, PlansRoundBudgetsAndThoseAskedFor) {
  const std::uint64_t mib = std::uint64_t{1} << 20;
  const Result<ModelInspection> model =
      inspect_model({.model = shipped_model(), .budgets = {70'000'001, mib, 70'000'001}});
  ASSERT_TRUE(model.ok()) << model.status().message();
  const MemoryPlan& least = model->minimum;
  EXPECT_EQ(least.budget_bytes, least.budget_bytes_min);
  EXPECT_EQ(least.expert_slots, 8U);

  std::map<std::uint64_t, std::size_t> slots;
  for (const MemoryPlan& plan : model->plans) {
    EXPECT_TRUE(slots.emplace(plan.budget_bytes, plan.expert_slots).second) << "twice";
  }
  EXPECT_TRUE(std::is_sorted(
      model->plans.begin(), model->plans.end(),
      [](const MemoryPlan& a, const MemoryPlan& b) { return a.budget_bytes < b.budget_bytes; }));
  EXPECT_EQ(slots.at(mib), 0U);
  EXPECT_EQ(slots.at(least.budget_bytes_min), 8U);
  EXPECT_EQ(slots.at(least.budget_bytes_resident), 1024U);
  EXPECT_GT(slots.at(70'000'001), 8U);
  EXPECT_GE(model->plans.size(), 7U);
  EXPECT_LE(model->plans.size(), 12U);
}

TEST(Inspection, AShorterContextNeedsLess) {
  const Result<ModelInspection> whole = inspect_model({.model = shipped_model()});
  const Result<ModelInspection> small = inspect_model({.model = shipped_model(), .context = 64});
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->minimum.kv_bytes, 64 * small->kv_bytes_per_token);
  EXPECT_GT(whole->minimum.budget_bytes_min - small->minimum.budget_bytes_min,
            whole->minimum.kv_bytes - small->minimum.kv_bytes);
}

TEST(Inspection, RefusesAContextBeyondTheModels) {
  const Result<ModelInspection> model = inspect_model({.model = shipped_model(), .context = 9999});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), StatusCode::kInvalidArgument);
}

TEST(Inspection, NamesTheFileThatIsMissing) {
  const TemporaryFolder empty;
  const Result<ModelInspection> model = inspect_model({.model = empty.path()});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(model.status().message(), HasSubstr("config.json"));
}

}  // namespace
}  // namespace flashmoe
