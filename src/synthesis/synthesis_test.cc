#include "flashmoe/synthesis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <map>
#include <memory>

#include "base/testing/temporary_folder.h"
#include "flashmoe/engine.h"
#include "flashmoe/inspection.h"
#include "format/model_package.h"
#include "format/safetensors_file.h"
#include "format/testing/expect_failure.h"
#include "format/testing/golden_data.h"

namespace flashmoe {
namespace {

namespace fs = std::filesystem;

/// Small, but with every kind of layer: three of DeltaNet, one of attention.
SynthesisOptions tiny(const fs::path& folder) {
  return {.folder = folder, .like = "sprout", .layers = 4, .experts = 16, .threads = 2};
}

/// Every tensor of a checkpoint with its bytes, and every small file with its text.
std::map<std::string, std::vector<std::byte>> contents(const fs::path& folder) {
  std::map<std::string, std::vector<std::byte>> all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") {
      const SafetensorsFile file = SafetensorsFile::open(entry.path()).value();
      for (const SafetensorsEntry& tensor : file.header().tensors) {
        all[tensor.name] = file.read(tensor.name).value();
      }
    }
  }
  return all;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

// mlx-community/Qwen3-Coder-Next-4bit, as published.
TEST(Synthesis, QwenCoderNextHasTheTensorBytesOfThePublishedConversion) {
  const auto summary = plan_synthesis({.like = "qwen3-coder-next"});
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  EXPECT_EQ(summary->tensor_bytes, 44'844'060'160u);
  EXPECT_EQ(summary->tensor_count, 1891u);
  EXPECT_EQ(summary->file_count, 9u);
  EXPECT_EQ(plan_synthesis({.like = "qwen3-next-80b"})->tensor_bytes, 44'844'060'160u);
}

// The table of n-grams alone is 102 GB; nothing is written here.
TEST(Synthesis, QwenFlashNextHasItsTableOfNgrams) {
  const auto summary = plan_synthesis({.like = "qwen3.8-flash-next"});
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  EXPECT_EQ(summary->model_type, "qwen4_exp");
  EXPECT_EQ(summary->layer_count, 48u);
  const auto without = plan_synthesis({.like = "qwen3.8-flash-next", .layers = 1});
  ASSERT_TRUE(without.ok()) << without.status().message();
  const auto with_table = plan_synthesis({.like = "qwen3.8-flash-next", .layers = 2});
  const double table_bytes = static_cast<double>(with_table->tensor_bytes) -
                             2 * static_cast<double>(without->tensor_bytes);
  EXPECT_GT(table_bytes, 99e9);
  EXPECT_LT(static_cast<double>(without->tensor_bytes), 4e9);
}

TEST(Synthesis, SproutHasTheTensorsOfTheShippedModel) {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "sprout";
  const auto summary = synthesize_checkpoint({.folder = out, .like = "sprout"});
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  const ModelPackage shipped = ModelPackage::open(shipped_model()).value();
  const Result<ModelPackage> written = ModelPackage::open(out);
  ASSERT_TRUE(written.ok()) << written.status().message();
  EXPECT_EQ(written->spelling(), TensorSpelling::kMlx);
  ASSERT_EQ(written->tensors().size(), shipped.tensors().size());
  for (const auto& [name, record] : shipped.tensors()) {
    const TensorRecord* tensor = written->find(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->shape, record.shape) << name;
    // The published conversion has A_log in bf16; the shipped model kept it in float32.
    if (name.ends_with("A_log")) continue;
    EXPECT_EQ(tensor->dtype, record.dtype) << name;
  }
  nlohmann::json expected = shipped.config()["quantization"];
  expected["mode"] = "affine";  // as converters of today write it
  EXPECT_EQ(written->config()["quantization"], expected);
  EXPECT_EQ(written->config()["quantization_config"], expected);
}

TEST(Synthesis, RefusesMoreThreadsThanThereCanBeAndLeavesNothing) {
  const TemporaryFolder folder;
  SynthesisOptions options = tiny(folder.path() / "model");
  options.threads = 1 << 20;
  EXPECT_EQ(synthesize_checkpoint(options).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Synthesis, GivesTheSameBytesWhateverTheShardsAndThreads) {
  const TemporaryFolder folder;
  SynthesisOptions options = tiny(folder.path() / "one");
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  options.folder = folder.path() / "many";
  options.shard_bytes_max = 1 << 20;
  options.threads = 1;
  const auto many = synthesize_checkpoint(options);
  ASSERT_TRUE(many.ok()) << many.status().message();
  EXPECT_GT(many->file_count, 2u);
  EXPECT_EQ(contents(folder.path() / "one"), contents(folder.path() / "many"));
  EXPECT_TRUE(ModelPackage::open(options.folder).ok());

  options.folder = folder.path() / "other";
  options.seed = 1;
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  EXPECT_NE(contents(folder.path() / "one"), contents(folder.path() / "other"));
}

TEST(Synthesis, KeepsTheTensorsOfAModuleTogether) {
  const TemporaryFolder folder;
  ASSERT_TRUE(synthesize_checkpoint(tiny(folder.path() / "out")).ok());
  const auto file = SafetensorsFile::open(folder.path() / "out" / "model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->header().metadata.at("format"), "mlx");
  const std::string experts = "model.layers.1.mlp.switch_mlp.up_proj";
  const SafetensorsEntry* weight = file->find(experts + ".weight");
  const SafetensorsEntry* scales = file->find(experts + ".scales");
  const SafetensorsEntry* biases = file->find(experts + ".biases");
  EXPECT_EQ(scales->offset, weight->offset + weight->size);
  EXPECT_EQ(biases->offset, scales->offset + scales->size);
}

/// What a forward pass of random tokens gives.
struct Passed {
  std::vector<float> logits;
  std::vector<double> hidden_rms;  // after each layer
  EngineStatistics statistics;
};

Passed forward(const fs::path& folder, std::uint64_t memory_bytes, std::size_t chunk) {
  Passed passed;
  Result<std::unique_ptr<Engine>> engine = Engine::open(
      {.model = folder, .memory_bytes = memory_bytes, .context = 128, .prefill_chunk = chunk});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  if (!engine.ok()) return passed;
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 64; ++i) ids.push_back((i * 7919 + 13) % 16384);
  ForwardObserver observer;
  observer.on_logits = [&](std::size_t, std::size_t, std::span<const float> logits) {
    passed.logits.insert(passed.logits.end(), logits.begin(), logits.end());
    return Status();
  };
  observer.on_hidden = [&](std::size_t, std::size_t, std::size_t, std::span<const float> hidden) {
    double squares = 0;
    for (const float x : hidden) squares += static_cast<double>(x) * static_cast<double>(x);
    passed.hidden_rms.push_back(std::sqrt(squares / static_cast<double>(hidden.size())));
    return Status();
  };
  const std::unique_ptr<Session> session = (*engine)->new_session().value();
  const Status status = session->forward(ids, observer);
  EXPECT_TRUE(status.ok()) << status.message();
  passed.statistics = (*engine)->statistics();
  return passed;
}

TEST(Synthesis, RunsWithSaneActivationsAndSpreadRouting) {
  const TemporaryFolder folder;
  SynthesisOptions options = tiny(folder.path() / "out");
  options.layers = 16;
  options.experts = 32;
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;
  const Passed resident = forward(options.folder, kPlenty, 64);
  ASSERT_EQ(resident.hidden_rms.size(), 17u);
  for (std::size_t i = 1; i < 17; ++i) {
    EXPECT_GT(resident.hidden_rms[i], 0.1) << "after layer " << i;
    EXPECT_LT(resident.hidden_rms[i], 10) << "after layer " << i;
  }
  double squares = 0;
  for (const float logit : resident.logits) {
    ASSERT_TRUE(std::isfinite(logit));
    squares += static_cast<double>(logit) * static_cast<double>(logit);
  }
  const double spread = std::sqrt(squares / static_cast<double>(resident.logits.size()));
  EXPECT_GT(spread, 1);
  EXPECT_LT(spread, 10);

  const Passed streamed = forward(
      options.folder,
      inspect_model({.model = options.folder, .context = 128}).value().minimum.budget_bytes_min, 0);
  EXPECT_GT(streamed.statistics.expert_misses, 0u);
  ASSERT_EQ(streamed.logits.size(), resident.logits.size());
  EXPECT_EQ(std::memcmp(streamed.logits.data(), resident.logits.data(),
                        resident.logits.size() * sizeof(float)),
            0);

  // A chunk leases the experts that any of its rows chose. Uniform routing of 4 rows, top 8 of 32,
  // meets 32 (1 - (24/32)^4) of them a layer.
  const Passed chunks = forward(options.folder, kPlenty, 4);
  const double leases =
      static_cast<double>(chunks.statistics.expert_hits + chunks.statistics.expert_misses);
  EXPECT_NEAR(leases / (16 * 16), 32 * (1 - std::pow(0.75, 4)), 2);
}

TEST(Synthesis, TextGoesInAndComesOut) {
  const TemporaryFolder folder;
  ASSERT_TRUE(synthesize_checkpoint(tiny(folder.path() / "out")).ok());
  const auto engine = Engine::open({.model = folder.path() / "out"});
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const std::string text = "Größe\n\x01 0";
  const auto ids = (*engine)->tokenize(text);
  ASSERT_TRUE(ids.ok()) << ids.status().message();
  EXPECT_EQ(ids->size(), text.size());
  EXPECT_EQ((*engine)->detokenize(*ids).value(), text);
  EXPECT_EQ((*engine)->tokenize("<|endoftext|>").value(), std::vector<std::int32_t>{0});
}

TEST(Synthesis, TakesAnyConfigOfAFamily) {
  const TemporaryFolder folder;
  nlohmann::json config = ModelPackage::open(shipped_model()).value().config();
  config["hidden_size"] = 96;  // no multiple of a group: these matrices stay bf16
  config["layer_types"] = {"linear_attention", "full_attention", "linear_attention"};
  config["num_hidden_layers"] = 3;
  config["mlp_only_layers"] = {1, 2};
  const fs::path file = folder.write("config.json", config.dump());
  SynthesisOptions options = {.folder = folder.path() / "out", .config = file, .layers = 2};
  const auto summary = synthesize_checkpoint(options);
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  const ModelPackage package = ModelPackage::open(options.folder).value();
  EXPECT_EQ(package.find("model.layers.0.mlp.gate.weight")->dtype, DType::kBF16);
  EXPECT_EQ(package.find("model.layers.0.mlp.gate.scales"), nullptr);
  EXPECT_NE(package.find("model.layers.0.mlp.switch_mlp.down_proj.scales"), nullptr);
  EXPECT_NE(package.find("model.layers.1.mlp.gate_proj.weight"), nullptr);
  EXPECT_EQ(package.find("model.layers.2.input_layernorm.weight"), nullptr);
  EXPECT_TRUE(Engine::open({.model = options.folder}).ok());

  options = {.folder = folder.path() / "more", .config = file, .layers = 4};
  expect_failure(synthesize_checkpoint(options).status(), StatusCode::kInvalidArgument,
                 {"layer_types", "fewer layers"});
}

TEST(Synthesis, AConfigHasTheTensorsOfItsConversion) {
  for (const std::string name : {"gemma4-4bit", "gpt_oss-4bit"}) {
    SCOPED_TRACE(name);
    const fs::path golden = *find_golden("mlx_checkpoints/" + name);
    const TemporaryFolder folder;
    const SynthesisOptions options = {.folder = folder.path() / "out",
                                      .config = golden / "config.json"};
    const auto summary = synthesize_checkpoint(options);
    ASSERT_TRUE(summary.ok()) << summary.status().message();
    const ModelPackage converted = ModelPackage::open(golden).value();
    const ModelPackage written = ModelPackage::open(options.folder).value();
    ASSERT_EQ(written.tensors().size(), converted.tensors().size());
    for (const auto& [tensor_name, record] : converted.tensors()) {
      const TensorRecord* const tensor = written.find(tensor_name);
      ASSERT_NE(tensor, nullptr) << tensor_name;
      EXPECT_EQ(tensor->shape, record.shape) << tensor_name;
      EXPECT_EQ(tensor->dtype, record.dtype) << tensor_name;
    }
    EXPECT_TRUE(Engine::open({.model = options.folder}).ok());
  }
}

TEST(Synthesis, AStackOfOneExpertIsAStack) {
  const TemporaryFolder folder;
  nlohmann::json config =
      ModelPackage::open(*find_golden("mlx_checkpoints/gpt_oss-4bit")).value().config();
  config["num_local_experts"] = 1;
  config["num_experts_per_tok"] = 1;
  const fs::path file = folder.write("config.json", config.dump());
  const SynthesisOptions options = {.folder = folder.path() / "out", .config = file};
  ASSERT_TRUE(synthesize_checkpoint(options).ok());
  const Status status = Engine::open({.model = options.folder}).status();
  EXPECT_TRUE(status.ok()) << status.message();
}

// What is published of their sizes: billions of parameters, at four bits and a half.
TEST(Synthesis, GeometriesHaveAsManyParametersAsTheModels) {
  for (const auto& [name, billions] :
       {std::pair("gemma-4-26b-a4b", 25.2), std::pair("gpt-oss-20b", 20.9),
        std::pair("gpt-oss-120b", 116.8)}) {
    const auto summary = plan_synthesis({.like = name});
    ASSERT_TRUE(summary.ok()) << summary.status().message();
    EXPECT_NEAR(static_cast<double>(summary->tensor_bytes) * 8 / 4.5 / 1e9, billions,
                0.005 * billions)
        << name;
  }
}

TEST(Synthesis, RefusesOptionsThatMakeNoModel) {
  expect_failure(plan_synthesis({}).status(), StatusCode::kInvalidArgument, {"qwen3-coder-next"});
  expect_failure(plan_synthesis({.like = "gpt-7"}).status(), StatusCode::kInvalidArgument,
                 {"gpt-7", "sprout"});
  expect_failure(plan_synthesis({.config = "/nonexistent"}).status(), StatusCode::kNotFound,
                 {"/nonexistent"});
  expect_failure(plan_synthesis({.like = "sprout", .experts = 4}).status(), StatusCode::kCorrupt,
                 {"num_experts_per_tok"});
  const TemporaryFolder folder;
  const fs::path other = folder.write("config.json", R"({"model_type": "gpt7"})");
  expect_failure(plan_synthesis({.config = other}).status(), StatusCode::kUnsupported, {"gpt7"});
}

TEST(Synthesis, RefusesAFolderThatHoldsSomething) {
  const TemporaryFolder folder;
  folder.write("precious", "text");
  expect_failure(synthesize_checkpoint(tiny(folder.path())).status(), StatusCode::kInvalidArgument,
                 {folder.path().c_str(), "not an empty folder"});
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("precious"));
  expect_failure(synthesize_checkpoint(tiny(folder.path() / "precious")).status(),
                 StatusCode::kInvalidArgument, {"precious", "not an empty folder"});
  expect_failure(synthesize_checkpoint(tiny(folder.path() / "no" / "out")).status(),
                 StatusCode::kIo, {"no", "the folder exists"});

  fs::create_directory(folder.path() / "empty");
  EXPECT_TRUE(synthesize_checkpoint(tiny(folder.path() / "empty/")).ok());
  EXPECT_TRUE(ModelPackage::open(folder.path() / "empty").ok());
}

TEST(Synthesis, SaysSoBeforeWritingToADiskThatIsTooSmall) {
  const TemporaryFolder folder;
  const SynthesisOptions options = {.folder = folder.path() / "out",
                                    .like = "qwen3-coder-next",
                                    .layers = 1024,
                                    .experts = 65000};
  expect_failure(synthesize_checkpoint(options).status(), StatusCode::kIo,
                 {"out", "has room for", "fewer layers"});
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(Synthesis, LeavesNothingBehindWhenTheDiskFillsUp) {
  // A limit on the size of files stands for the disk's end.
  const TemporaryFolder folder;
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit low = before;
  low.rlim_cur = 1 << 20;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const Status status = synthesize_checkpoint(tiny(folder.path() / "out")).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  expect_failure(status, StatusCode::kIo, {"model.safetensors", "make room"});
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(Synthesis, LeavesNothingBehindWhenStopped) {
  const TemporaryFolder folder;
  SynthesisOptions options = tiny(folder.path() / "out");
  std::uint64_t seen = 0;
  options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_LE(done, total);
    seen = done;
    return false;
  };
  EXPECT_EQ(synthesize_checkpoint(options).status().code(), StatusCode::kCancelled);
  EXPECT_GT(seen, 0u);
  EXPECT_TRUE(names_in(folder.path()).empty());
}

}  // namespace
}  // namespace flashmoe
