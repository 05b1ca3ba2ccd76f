// A config.json that lies: every field absent, of the wrong type, or absurd ends in an error that
// names it, never in a crash or a model that computes something else.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/testing/temporary_folder.h"
#include "flashmoe/engine.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

using Json = nlohmann::json;

class BadConfig : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(golden_path("qwen3_next/model.safetensors"),
                               folder_ / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    std::ifstream(golden_path("qwen3_next/config.json")) >> config_;
  }

  Status open(const Json& config) const {
    folder_.write("config.json", config.dump());
    return Engine::open({.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30}).status();
  }

  /// The error of a model whose `field` is `value` names the field.
  void expect_refused(const std::string& field, const Json& value) const {
    Json config = config_;
    config[field] = value;
    const Status status = open(config);
    EXPECT_FALSE(status.ok()) << field << " = " << value.dump();
    EXPECT_NE(status.message().find(field), std::string::npos)
        << field << " = " << value.dump() << ": " << status.message();
  }

  TemporaryFolder folder_;
  Json config_;
};

TEST_F(BadConfig, TheUnchangedOneIsAccepted) {
  const Status status = open(config_);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(BadConfig, AbsentFieldsAreNamed) {
  for (const char* field :
       {"model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "linear_num_key_heads", "linear_num_value_heads",
        "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim", "num_experts",
        "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"}) {
    Json config = config_;
    config.erase(field);
    const Status status = open(config);
    EXPECT_FALSE(status.ok()) << field;
    EXPECT_NE(status.message().find(field), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("config.json"), std::string::npos) << status.message();
  }
}

TEST_F(BadConfig, WrongTypesAndAbsurdValuesAreNamed) {
  for (const char* field :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "linear_num_key_heads", "linear_num_value_heads",
        "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim", "num_experts",
        "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"}) {
    for (const Json& value :
         {Json("128"), Json(-1), Json(0), Json(1.5), Json(std::uint64_t{1} << 60), Json::array()}) {
      expect_refused(field, value);
    }
  }
  expect_refused("rms_norm_eps", "small");
  expect_refused("rms_norm_eps", -1);
  expect_refused("tie_word_embeddings", "yes");
  expect_refused("norm_topk_prob", 3);
  expect_refused("mlp_only_layers", "0");
  expect_refused("mlp_only_layers", {99});
  expect_refused("layer_types", {"full_attention"});
  expect_refused("layer_types", {"a", "b", "c", "d"});
  expect_refused("eos_token_id", 1 << 20);
  expect_refused("eos_token_id", "end");
}

TEST_F(BadConfig, RecommendedSamplingOfTheWrongTypeIsNamedWhetherOrNotItIsUsed) {
  for (const Json& do_sample : {Json(true), Json(false), Json()}) {
    for (const char* field : {"temperature", "top_p", "min_p", "top_k", "repetition_penalty"}) {
      for (const Json& value : {Json("0.7"), Json(true), Json::array({0.7})}) {
        folder_.write("generation_config.json",
                      Json({{"do_sample", do_sample}, {field, value}}).dump());
        const std::string message = open(config_).message();
        EXPECT_NE(message.find(std::string("generation_config.json: field ") + field),
                  std::string::npos)
            << value.dump() << ": " << message;
      }
    }
  }
  folder_.write("generation_config.json", R"({"do_sample": "true"})");
  EXPECT_NE(open(config_).message().find("do_sample"), std::string::npos);
  // Without do_sample they say how nobody draws, whatever their range.
  folder_.write("generation_config.json", R"({"temperature": -1, "top_k": -1, "top_p": null})");
  EXPECT_TRUE(open(config_).ok()) << open(config_).message();
}

TEST_F(BadConfig, ContradictionsAreNamed) {
  expect_refused("num_key_value_heads", 3);
  expect_refused("linear_num_value_heads", 3);
  expect_refused("num_experts_per_tok", 17);
  expect_refused("hidden_act", "gelu");
}

TEST_F(BadConfig, UnsupportedRotaryScalingIsRefused) {
  Json config = config_;
  config["rope_parameters"] = {{"rope_type", "spiral"}, {"factor", 4.0}, {"rope_theta", 1e4}};
  const Status status = open(config);
  EXPECT_EQ(status.code(), StatusCode::kUnsupported) << status.message();
  EXPECT_NE(status.message().find("rope"), std::string::npos) << status.message();
}

TEST_F(BadConfig, SizesThatTheTensorsDoNotHaveAreNamedWithTheTensor) {
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, int>>{{"vocab_size", 512},
                                                {"hidden_size", 64},
                                                {"head_dim", 64},
                                                {"num_experts", 8},
                                                {"moe_intermediate_size", 32},
                                                {"linear_conv_kernel_dim", 3}}) {
    Json config = config_;
    config[field] = value;
    const Status status = open(config);
    // Fewer experts than the checkpoint has would leave tensors unused: the router's shape gives it
    // away.
    EXPECT_FALSE(status.ok()) << field;
    EXPECT_NE(status.message().find("model."), std::string::npos) << status.message();
  }
}

TEST_F(BadConfig, UnknownModelTypeNamesThoseSupported) {
  Json config = config_;
  config["model_type"] = "made_up";
  const Status status = open(config);
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("made_up"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("qwen3_next"), std::string::npos) << status.message();
}

TEST_F(BadConfig, ATerminalIsNotSentWhatAConfigSays) {
  for (const char* field : {"model_type", "layer_types"}) {
    Json config = config_;
    if (config[field].is_array()) {
      config[field][0] = "\x1b[2J";
    } else {
      config[field] = "\x1b[2J";
    }
    const Status status = open(config);
    ASSERT_FALSE(status.ok()) << field;
    EXPECT_EQ(status.message().find('\x1b'), std::string::npos) << field;
    EXPECT_NE(status.message().find("\\x1b[2J"), std::string::npos) << status.message();
  }
}

TEST_F(BadConfig, MoreThreadsThanThePoolTakesIsAnError) {
  folder_.write("config.json", config_.dump());
  const Status status =
      Engine::open(
          {.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30, .threads = 5000})
          .status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.message();
  EXPECT_NE(status.message().find("5000 threads"), std::string::npos) << status.message();
}

TEST_F(BadConfig, AFolderThatIsNoneOrEmptyIsAnError) {
  EXPECT_EQ(Engine::open({.model = folder_ / "nowhere"}).status().code(), StatusCode::kNotFound);
  std::filesystem::create_directories(folder_ / "empty");
  const Status status = Engine::open({.model = folder_ / "empty"}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("config.json"), std::string::npos) << status.message();
}

TEST_F(BadConfig, AContextBeyondTheModelsIsAnError) {
  folder_.write("config.json", config_.dump());
  const Status status =
      Engine::open(
          {.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30, .context = 100000})
          .status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.message();
  EXPECT_NE(status.message().find("512"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace flashmoe::testing
