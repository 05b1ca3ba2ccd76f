// A model whose layers have experts of two sizes, as files of mixed precision do: the output does
// not depend on how many fit, and slots are as large as their experts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "flashmoe/inspection.h"
#include "flashmoe/synthesis.h"
#include "support/collect.h"
#include "support/command.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr std::size_t kLayers = 6, kExperts = 32, kTopK = 3;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Codes of 4 bits, the lower half of a byte first, as codes of 8.
std::string widen(std::string_view codes) {
  std::string wide;
  wide.reserve(2 * codes.size());
  for (const char c : codes) {
    const auto byte = static_cast<unsigned char>(c);
    wide.push_back(static_cast<char>(byte & 15));
    wide.push_back(static_cast<char>(byte >> 4));
  }
  return wide;
}

/// Gives the down projections of every third layer 8 bits instead of 4: other weights they are not.
void widen_layers(const fs::path& model) {
  const fs::path config_path = model / "config.json";
  const fs::path weights_path = model / "model.safetensors";
  const std::string old = read_file(weights_path);
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, old.data(), sizeof header_size);
  Json header = Json::parse(old.substr(8, header_size));
  Json config = Json::parse(read_file(config_path));
  std::string data;
  for (auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    const std::size_t begin = tensor["data_offsets"][0];
    const std::size_t end = tensor["data_offsets"][1];
    std::string bytes = old.substr(8 + header_size + begin, end - begin);
    for (std::size_t l = 0; l < kLayers; l += 3) {
      const std::string module = "model.layers." + std::to_string(l) + ".mlp.switch_mlp.down_proj";
      if (name != module + ".weight") continue;
      bytes = widen(bytes);
      tensor["shape"].back() = 2 * tensor["shape"].back().get<std::size_t>();
      for (const char* const key : {"quantization", "quantization_config"}) {
        config[key][module] = {{"group_size", 64}, {"bits", 8}};
      }
    }
    tensor["data_offsets"] = {data.size(), data.size() + bytes.size()};
    data += bytes;
  }
  std::ofstream(config_path) << config.dump();
  const std::string text = header.dump();
  header_size = text.size();
  std::ofstream weights(weights_path, std::ios::binary);
  weights.write(reinterpret_cast<const char*>(&header_size), sizeof header_size);
  weights << text << data;
}

struct Output {
  std::vector<float> logits;
  std::vector<std::int32_t> ids;
  friend bool operator==(const Output&, const Output&) = default;
};

class MixedSizes : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    const Json config = {{"model_type", "qwen3_moe"},
                         {"eos_token_id", 2},
                         {"head_dim", 32},
                         {"hidden_size", 256},
                         {"max_position_embeddings", 1024},
                         {"moe_intermediate_size", 128},
                         {"norm_topk_prob", true},
                         {"num_attention_heads", 4},
                         {"num_experts", kExperts},
                         {"num_experts_per_tok", kTopK},
                         {"num_hidden_layers", kLayers},
                         {"num_key_value_heads", 2},
                         {"rms_norm_eps", 1e-6},
                         {"rope_theta", 10000},
                         {"tie_word_embeddings", true},
                         {"vocab_size", 320}};
    std::ofstream(*shared_ / "config.json") << config;
    const auto made =
        synthesize_checkpoint({.folder = model(), .config = *shared_ / "config.json", .seed = 3});
    ASSERT_TRUE(made.ok()) << made.status().message();
    ASSERT_NO_FATAL_FAILURE(widen_layers(model()));
    const Result<ModelInspection> inspection = inspect_model({.model = model(), .context = 256});
    ASSERT_TRUE(inspection.ok()) << inspection.status().message();
    inspection_ = std::make_unique<ModelInspection>(*inspection);
    std::mt19937 random(5);
    for (int i = 0; i < 60; ++i) prompt_.push_back(static_cast<std::int32_t>(3 + random() % 300));
    resident_ = std::make_unique<Output>(run(options(1)));
    ASSERT_EQ(resident_->ids.size(), 16u);
  }
  static void TearDownTestSuite() {
    resident_.reset();
    inspection_.reset();
    shared_.reset();
  }

  static fs::path model() { return *shared_ / "model"; }

  /// A budget between the least that works (0) and one that holds every expert (1).
  static EngineOptions options(double share) {
    const MemoryPlan& plan = inspection_->minimum;
    const auto span = static_cast<double>(plan.budget_bytes_resident - plan.budget_bytes_min);
    EngineOptions options{.model = model(), .context = 256};
    options.memory_bytes = plan.budget_bytes_min + static_cast<std::uint64_t>(share * span);
    return options;
  }

  static Output run(Engine& engine) {
    Output output;
    const Result<Collected> collected = collect(engine, prompt_);
    EXPECT_TRUE(collected.ok()) << collected.status().message();
    if (collected.ok()) output.logits = collected->logits;
    const std::unique_ptr<Session> session = std::move(engine.new_session()).value();
    GenerateOptions generate{.max_tokens = 16, .ignore_eos = true};
    generate.on_logits = [&](std::span<const float> logits) {
      output.logits.insert(output.logits.end(), logits.begin(), logits.end());
    };
    const Result<GenerateResult> generated = session->generate(prompt_, generate);
    EXPECT_TRUE(generated.ok()) << generated.status().message();
    if (generated.ok()) output.ids = generated->token_ids;
    return output;
  }
  static Output run(const EngineOptions& options) {
    const Result<std::unique_ptr<Engine>> engine = Engine::open(options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? run(**engine) : Output();
  }

  static std::unique_ptr<TemporaryFolder> shared_;
  static std::unique_ptr<ModelInspection> inspection_;
  static std::vector<std::int32_t> prompt_;
  static std::unique_ptr<Output> resident_;
};

std::unique_ptr<TemporaryFolder> MixedSizes::shared_;
std::unique_ptr<ModelInspection> MixedSizes::inspection_;
std::vector<std::int32_t> MixedSizes::prompt_;
std::unique_ptr<Output> MixedSizes::resident_;

TEST_F(MixedSizes, SlotsAreAsLargeAsTheirExperts) {
  const std::vector<ExpertSlotClass>& classes = inspection_->expert_classes;
  ASSERT_EQ(classes.size(), 2u);
  EXPECT_EQ(classes[0].layers, 2u);
  EXPECT_EQ(classes[1].layers, 4u);
  EXPECT_EQ(classes[1].experts, 4 * kExperts);
  EXPECT_GT(classes[0].slot_bytes, classes[1].slot_bytes);
  for (const MemoryPlan& plan : inspection_->plans) {
    if (plan.budget_bytes < plan.budget_bytes_min) continue;
    std::uint64_t bytes = 0;
    std::size_t slots = 0;
    for (const ExpertSlotClass& c : plan.expert_classes) {
      bytes += c.slots * c.slot_bytes;
      slots += c.slots;
    }
    EXPECT_EQ(plan.expert_bytes, bytes);
    EXPECT_EQ(plan.expert_slots, slots);
    EXPECT_GE(plan.expert_slots, std::min(plan.expert_bytes / plan.expert_slot_bytes,
                                          std::uint64_t{plan.expert_count}));
  }
  EXPECT_EQ(inspection_->minimum.expert_classes.size(), 1u) << "a token's experts of any layer";
  // Nothing is left over when every expert has a slot.
  const std::unique_ptr<Engine> engine = Engine::open(options(1)).value();
  EXPECT_EQ(engine->memory_plan().expert_slots, kLayers * kExperts);
  EXPECT_EQ(engine->memory_plan().expert_bytes,
            2 * kExperts * classes[0].slot_bytes + 4 * kExperts * classes[1].slot_bytes);
  EXPECT_EQ(engine->statistics().expert_used_bytes, 0u);
}

TEST_F(MixedSizes, AnyBudgetGivesTheBitsOfTheResidentModel) {
  const unsigned seed = 20261201;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto pick = [&random](auto... values) {
    const std::array choices = {values...};
    return choices[random() % choices.size()];
  };
  for (const double share : {0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0}) {
    EngineOptions chosen = options(share);
    chosen.threads = pick(std::size_t{1}, std::size_t{2}, std::size_t{3});
    chosen.prefill_chunk = pick(std::size_t{1}, std::size_t{7}, std::size_t{16});
    chosen.io = pick(IoChoice::kAuto, IoChoice::kPread);
    chosen.speculation = pick(true, false);
    SCOPED_TRACE(::testing::Message() << "share " << share << ", threads " << chosen.threads
                                      << ", chunk " << chosen.prefill_chunk);
    EXPECT_TRUE(run(chosen) == *resident_);
  }
}

TEST_F(MixedSizes, AnyModeThatReadsGivesTheBitsOfTheResidentModel) {
  for (const Residency residency :
       {Residency::kLru, Residency::kLcp, Residency::kLfu, Residency::kLazy, Residency::kResident,
        Residency::kPredictive, Residency::kDelta, Residency::kAsyncDelta}) {
    SCOPED_TRACE(to_string(residency));
    EngineOptions chosen = options(residency == Residency::kResident ? 1 : 0.3);
    chosen.prefill_chunk = 16;
    chosen.residency = {.residency = residency};
    if (chosen.residency.has_fixed_set()) chosen.residency.on_miss = OnMiss::kRead;
    EXPECT_TRUE(run(chosen) == *resident_);
  }
}

TEST_F(MixedSizes, ACapacityIsAsManyExpertsOfEveryLayer) {
  EngineOptions chosen = options(1);
  chosen.residency.capacity = 10;
  const std::unique_ptr<Engine> engine = Engine::open(chosen).value();
  const MemoryPlan& plan = engine->memory_plan();
  ASSERT_EQ(plan.expert_classes.size(), 2u);
  EXPECT_EQ(plan.expert_classes[0].slots, 20u);
  EXPECT_EQ(plan.expert_classes[1].slots, 40u);
  EXPECT_TRUE(run(*engine) == *resident_);
}

TEST_F(MixedSizes, ExpertsOfBothSizesComeBackInTheNextRun) {
  const TemporaryFolder folder;
  EngineOptions chosen = options(0.5);
  chosen.prefill_chunk = 16;
  chosen.resident_set_file = folder / "set";
  chosen.on_warning = [](const Status& status) { ADD_FAILURE() << status.message(); };
  EXPECT_TRUE(run(chosen) == *resident_);
  const std::unique_ptr<Engine> engine = Engine::open(chosen).value();
  // They are as many as there are slots, of each size.
  while (engine->statistics().experts_restored < engine->memory_plan().expert_slots) {
    std::this_thread::yield();
  }
  EXPECT_EQ(engine->statistics().expert_used_bytes, engine->memory_plan().expert_bytes);
  EXPECT_TRUE(run(*engine) == *resident_);
}

TEST_F(MixedSizes, InspectShowsSlotsOfEverySize) {
  const std::string least = std::to_string(inspection_->minimum.budget_bytes_min);
  const std::vector<std::string> command = {"inspect", model().string(), "--context",
                                            "256",     "--memory",       least + "B,1GiB"};
  const CommandResult text = run_flash_moe(command);
  ASSERT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output, HasSubstr("one routed expert: up to 70 KiB in the files, in memory"));
  EXPECT_THAT(text.output, HasSubstr(" in 2 layers, "));
  EXPECT_THAT(text.output, HasSubstr("64 + 128"));
  std::vector<std::string> with_json = command;
  with_json.emplace_back("--json");
  const CommandResult result = run_flash_moe(with_json);
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const Json json = Json::parse(result.output);
  EXPECT_EQ(json["expert"]["slot_classes"].size(), 2u);
  for (const Json& budget : json["budgets"]) {
    std::uint64_t bytes = 0;
    std::size_t slots = 0;
    for (const Json& c : budget["slot_classes"]) {
      bytes += c["slots"].get<std::uint64_t>() * c["slot_bytes"].get<std::uint64_t>();
      slots += c["slots"].get<std::size_t>();
    }
    EXPECT_EQ(budget["expert_bytes"], bytes);
    EXPECT_EQ(budget["expert_slots"], slots);
  }
  EXPECT_EQ(json["budgets"].back()["slot_classes"].size(), 2u);
}

}  // namespace
}  // namespace flashmoe::testing
