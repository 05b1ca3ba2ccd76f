// One model in the spellings that checkpoints come in: the same bits from each.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/testing/temporary_folder.h"
#include "format/safetensors.h"
#include "format/safetensors_writer.h"
#include "io/file.h"
#include "kernels/reference/dequantize.h"
#include "support/collect.h"
#include "support/test_files.h"
#include "tensor/float_bits.h"

namespace flashmoe::testing {
namespace {

struct Tensor {
  DType dtype = DType::kBF16;
  std::vector<std::uint64_t> shape;
  std::vector<std::byte> bytes;
};
using Tensors = std::map<std::string, Tensor>;

constexpr std::size_t kLayers = 4;
constexpr std::size_t kExperts = 16;

Tensors read_tensors(const std::filesystem::path& path) {
  const File file = File::open(path, File::Mode::kBuffered).value();
  const SafetensorsHeader header = read_safetensors_header(file).value();
  Tensors tensors;
  for (const SafetensorsEntry& entry : header.tensors) {
    Tensor& tensor = tensors[entry.name];
    tensor = {entry.dtype, entry.shape, std::vector<std::byte>(entry.size)};
    EXPECT_TRUE(file.read_at(entry.offset, tensor.bytes).ok());
  }
  return tensors;
}

void write_tensors(const std::filesystem::path& path, const Tensors& tensors) {
  std::vector<SafetensorsWriter::Tensor> declared;
  for (const auto& [name, tensor] : tensors) declared.push_back({name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer = SafetensorsWriter::create(path, declared).value();
  for (const auto& [name, tensor] : tensors) {
    const std::span<const std::byte> bytes = tensor.bytes;
    if (size_of(tensor.dtype) == 4) {
      std::vector<std::uint32_t> words(bytes.size() / 4);
      std::memcpy(words.data(), bytes.data(), bytes.size());
      ASSERT_TRUE(writer.write<std::uint32_t>(name, 0, words).ok());
    } else if (size_of(tensor.dtype) == 1) {
      std::vector<std::uint8_t> values(bytes.size());
      std::memcpy(values.data(), bytes.data(), bytes.size());
      ASSERT_TRUE(writer.write<std::uint8_t>(name, 0, values).ok());
    } else {
      std::vector<std::uint16_t> halves(bytes.size() / 2);
      std::memcpy(halves.data(), bytes.data(), bytes.size());
      ASSERT_TRUE(writer.write<std::uint16_t>(name, 0, halves).ok());
    }
  }
  ASSERT_TRUE(writer.finish().ok());
}

class Spellings : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(golden_path("qwen3_next/config.json"), folder_ / "config.json");
    tensors_ = read_tensors(golden_path("qwen3_next/model.safetensors"));
    const GoldenFile golden(golden_path("qwen3_next/golden.safetensors"));
    ids_ = golden.ints("input_ids");
    expected_ = logits_of(golden_path("qwen3_next"));
  }

  std::vector<float> logits_of(const std::filesystem::path& folder) const {
    // Few slots: experts come and go, so every spelling is read again and again.
    EngineOptions options{.model = folder, .memory_bytes = std::uint64_t{1} << 30};
    const Result<std::unique_ptr<Engine>> roomy = Engine::open(options);
    EXPECT_TRUE(roomy.ok()) << roomy.status().message();
    if (!roomy.ok()) return {};
    options.memory_bytes = (*roomy)->memory_plan().budget_bytes_min;
    const std::unique_ptr<Engine> engine = Engine::open(options).value();
    const Result<Collected> collected = collect(*engine, ids_);
    EXPECT_TRUE(collected.ok()) << collected.status().message();
    return collected.ok() ? collected->logits : std::vector<float>();
  }

  void expect_same_bits() const {
    const std::vector<float> got = logits_of(folder_.path());
    ASSERT_EQ(got.size(), expected_.size());
    EXPECT_EQ(std::memcmp(got.data(), expected_.data(), got.size() * sizeof(float)), 0);
  }

  static std::string expert_name(std::size_t layer, std::size_t expert, const char* matrix) {
    return "model.layers." + std::to_string(layer) + ".mlp.experts." + std::to_string(expert) +
           "." + matrix + ".weight";
  }

  /// Moves a layer's experts into fused tensors, gate and up rows together.
  void fuse_experts(const std::string& suffix) {
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      const std::string path = "model.layers." + std::to_string(layer) + ".mlp.experts.";
      Tensor gate_up;
      Tensor down;
      for (std::size_t e = 0; e < kExperts; ++e) {
        for (const char* matrix : {"gate_proj", "up_proj", "down_proj"}) {
          const auto node = tensors_.extract(expert_name(layer, e, matrix));
          const Tensor& tensor = node.mapped();
          Tensor& fused = std::string_view(matrix) == "down_proj" ? down : gate_up;
          const std::uint64_t parts = &fused == &gate_up ? 2 : 1;
          fused.shape = {kExperts, parts * tensor.shape[0], tensor.shape[1]};
          fused.bytes.insert(fused.bytes.end(), tensor.bytes.begin(), tensor.bytes.end());
        }
      }
      tensors_[path + "gate_up_proj" + suffix] = std::move(gate_up);
      tensors_[path + "down_proj" + suffix] = std::move(down);
    }
  }

  /// [experts, out, in] -> [experts, in, out], as qwen3_vl_moe has them.
  void transpose_fused_experts() {
    for (auto& [name, tensor] : tensors_) {
      if (!name.ends_with("mlp.experts.gate_up_proj") && !name.ends_with("mlp.experts.down_proj")) {
        continue;
      }
      const std::size_t rows = tensor.shape[1], cols = tensor.shape[2];
      const std::vector<std::byte> straight = tensor.bytes;
      for (std::size_t i = 0; i < straight.size() / 2; ++i) {
        const std::size_t e = i / (rows * cols), r = i / cols % rows, c = i % cols;
        std::copy_n(straight.data() + 2 * i, 2,
                    tensor.bytes.data() + 2 * (e * rows * cols + c * rows + r));
      }
      tensor.shape = {kExperts, cols, rows};
    }
  }

  TemporaryFolder folder_;
  Tensors tensors_;
  std::vector<std::int32_t> ids_;
  std::vector<float> expected_;
};

TEST_F(Spellings, FusedExpertsOfTransformers5) {
  fuse_experts("");
  write_tensors(folder_ / "model.safetensors", tensors_);
  expect_same_bits();
}

TEST_F(Spellings, FusedExpertsNamedAsWeights) {
  fuse_experts(".weight");
  write_tensors(folder_ / "model.safetensors", tensors_);
  expect_same_bits();
}

// Here gate_up_proj is square, [16, 128, 128]: only down_proj's shape tells.
TEST_F(Spellings, FusedExpertsStoredTransposed) {
  fuse_experts("");
  transpose_fused_experts();
  write_tensors(folder_ / "model.safetensors", tensors_);
  expect_same_bits();
}

TEST_F(Spellings, Float32) {
  for (auto& [name, tensor] : tensors_) {
    std::vector<float> values(tensor.bytes.size() / 2);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = float_from_bf16(load_unaligned<std::uint16_t>(tensor.bytes.data() + 2 * i));
    }
    tensor.dtype = DType::kF32;
    tensor.bytes.resize(values.size() * 4);
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  }
  write_tensors(folder_ / "model.safetensors", tensors_);
  expect_same_bits();
}

TEST_F(Spellings, SeveralShardsWithAnIndex) {
  std::vector<Tensors> shards(3);
  std::string weight_map;
  std::size_t i = 0;
  for (const auto& [name, tensor] : tensors_) {
    const std::size_t shard = i++ % shards.size();
    shards[shard][name] = tensor;
    weight_map += (weight_map.empty() ? "\"" : ", \"") + name + "\": \"model-0000" +
                  std::to_string(shard + 1) + "-of-00003.safetensors\"";
  }
  for (std::size_t s = 0; s < shards.size(); ++s) {
    write_tensors(folder_ / ("model-0000" + std::to_string(s + 1) + "-of-00003.safetensors"),
                  shards[s]);
  }
  std::ofstream(folder_ / "model.safetensors.index.json")
      << R"({"metadata": {"total_size": 1}, "weight_map": {)" << weight_map << "}}";
  expect_same_bits();
}

/// A quantised tensor as the floats that it stands for.
Tensor dequantized(const Tensors& tensors, const std::string& path) {
  constexpr std::uint32_t kGroupSize = 64;
  const Tensor& weight = tensors.at(path + ".weight");
  const Tensor& scales = tensors.at(path + ".scales");
  const std::uint64_t cols = scales.shape.back() * kGroupSize;
  WeightView view = {
      .type = find_affine_weights(weight.shape.back() * 32 / cols, kGroupSize, scales.dtype),
      .rows = 1,
      .cols = cols,
      .planes = {weight.bytes.data(), scales.bytes.data(),
                 tensors.at(path + ".biases").bytes.data()}};
  Tensor floats{.dtype = DType::kF32, .shape = weight.shape};
  floats.shape.back() = view.cols;
  for (std::size_t i = 0; i + 1 < weight.shape.size(); ++i) view.rows *= weight.shape[i];
  floats.bytes.resize(view.rows * view.cols * sizeof(float));
  std::vector<float> row(view.cols);
  for (std::size_t r = 0; r < view.rows; ++r) {
    reference::dequantize_row(view, r, row);
    std::memcpy(floats.bytes.data() + r * row.size() * sizeof(float), row.data(),
                row.size() * sizeof(float));
  }
  return floats;
}

/// A quantised model's weights as the floats that they stand for, in a folder of their own.
class FloatsOfMlx : public ::testing::Test {
 protected:
  void take(const std::string& name) {
    const std::filesystem::path model = golden_path("mlx_checkpoints/" + name);
    const Tensors quantized = read_tensors(model / "model.safetensors");
    for (const auto& [tensor_name, tensor] : quantized) {
      const std::string path = tensor_name.substr(0, tensor_name.rfind('.'));
      const bool is_quantized = quantized.contains(path + ".scales");
      if (is_quantized && tensor_name.ends_with(".weight")) {
        tensors_[tensor_name] = dequantized(quantized, path);
      } else if (!is_quantized || tensor_name.ends_with(".bias")) {
        tensors_[tensor_name] = tensor;
      }
    }
    nlohmann::json config = nlohmann::json::parse(std::ifstream(model / "config.json"));
    config.erase("quantization");
    config.erase("quantization_config");
    std::ofstream(folder_ / "config.json") << config;
    golden_ = std::make_unique<GoldenFile>(model / "golden.safetensors");
    ids_ = golden_->ints("input_ids");
  }

  Result<std::unique_ptr<Engine>> open(const Tensors& tensors) const {
    std::filesystem::remove(folder_ / "model.safetensors");
    write_tensors(folder_ / "model.safetensors", tensors);
    return Engine::open({.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30});
  }

  TemporaryFolder folder_;
  Tensors tensors_;
  std::unique_ptr<GoldenFile> golden_;
  std::vector<std::int32_t> ids_;
};

// Two experts tie in the prompt of gemma4-4bit, closer than activations for quantised weights tell:
// with the same weights as floats, all of it is what mlx-lm computes.
TEST_F(FloatsOfMlx, Gemma4GivesTheLogitsAndTokensOfTheReference) {
  take("gemma4-4bit");
  const std::unique_ptr<Engine> engine = open(tensors_).value();
  EXPECT_LT(relative_rms(collect(*engine, ids_).value().logits, golden_->floats("logits")), 1e-5);
  const std::vector<std::int32_t> expected = golden_->ints("greedy_ids");
  EXPECT_EQ(engine->new_session()
                .value()
                ->generate(ids_, {.max_tokens = expected.size(), .ignore_eos = true})
                .value()
                .token_ids,
            expected);
}

/// The matrices of a stack [n, rows, cols] of 4-byte numbers, each transposed.
Tensor transposed_stack(const Tensor& stack) {
  Tensor out = stack;
  const std::size_t rows = stack.shape[1], cols = stack.shape[2];
  std::swap(out.shape[1], out.shape[2]);
  for (std::size_t i = 0; i < stack.bytes.size() / 4; ++i) {
    const std::size_t e = i / (rows * cols), r = i / cols % rows, c = i % cols;
    std::copy_n(stack.bytes.data() + 4 * i, 4,
                out.bytes.data() + 4 * (e * rows * cols + c * rows + r));
  }
  return out;
}

/// Rows of `row_size` bytes, one of each in turns.
Tensor interleaved(const Tensor& gate, const Tensor& up, std::size_t row_size) {
  Tensor out = {gate.dtype, gate.shape, {}};
  out.shape[1] *= 2;
  for (std::size_t at = 0; at < gate.bytes.size(); at += row_size) {
    for (const Tensor* half : {&gate, &up}) {
      const auto begin = half->bytes.begin() + static_cast<std::ptrdiff_t>(at);
      out.bytes.insert(out.bytes.end(), begin, begin + static_cast<std::ptrdiff_t>(row_size));
    }
  }
  return out;
}

class GptOssSpellings : public FloatsOfMlx {
 protected:
  void SetUp() override { take("gpt_oss-4bit"); }

  /// The experts as transformers has them, gate and up rows in turns; biases too.
  void fuse(bool transposes) {
    for (int layer = 0; layer < 2; ++layer) {
      const std::string path = "model.layers." + std::to_string(layer) + ".mlp.experts.";
      const auto extract = [&](const char* name) {
        return std::move(tensors_.extract(path + name).mapped());
      };
      const Tensor gate = extract("gate_proj.weight"), up = extract("up_proj.weight");
      const Tensor down = extract("down_proj.weight");
      const Tensor both = interleaved(gate, up, 4 * gate.shape[2]);
      tensors_[path + "gate_up_proj"] = transposes ? transposed_stack(both) : both;
      tensors_[path + "down_proj"] = transposes ? transposed_stack(down) : down;
      const Tensor gate_bias = extract("gate_proj.bias"), up_bias = extract("up_proj.bias");
      tensors_[path + "gate_up_proj_bias"] = interleaved(gate_bias, up_bias, 2);
      tensors_[path + "down_proj_bias"] = extract("down_proj.bias");
    }
  }

  std::vector<float> logits() const {
    const auto engine = open(tensors_);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? collect(**engine, ids_).value().logits : std::vector<float>();
  }

  void expect_refused(StatusCode code, const std::string& words) const {
    const Status status = open(tensors_).status();
    EXPECT_EQ(status.code(), code);
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  }
};

TEST_F(GptOssSpellings, GiveTheSameBits) {
  const std::vector<float> stacked = logits();
  EXPECT_LT(relative_rms(stacked, golden_->floats("logits")), 1e-5);
  const Tensors separate = tensors_;
  fuse(/*transposes=*/false);
  EXPECT_TRUE(std::ranges::equal(logits(), stacked));
  tensors_ = separate;
  fuse(/*transposes=*/true);
  EXPECT_TRUE(std::ranges::equal(logits(), stacked));
}

TEST_F(GptOssSpellings, BiasesThatAreMissingOrDoNotFitAreNamed) {
  const Tensors whole = tensors_;
  const std::string name = "model.layers.1.mlp.experts.up_proj.bias";
  tensors_.erase(name);
  expect_refused(StatusCode::kNotFound, name);

  tensors_ = whole;
  std::swap(tensors_[name].shape[0], tensors_[name].shape[1]);
  expect_refused(StatusCode::kCorrupt, name + " has shape [64, 6] where [6, 64]");

  tensors_ = whole;
  tensors_[name].dtype = DType::kI16;
  expect_refused(StatusCode::kUnsupported, name + " has dtype I16");
  tensors_[name].dtype = DType::kF16;  // beside BF16
  expect_refused(StatusCode::kUnsupported, name + " has dtype F16");

  tensors_ = whole;
  fuse(/*transposes=*/true);
  const std::string fused = "model.layers.0.mlp.experts.gate_up_proj";
  tensors_.erase(fused + "_bias");
  expect_refused(StatusCode::kNotFound, fused + "_bias");
  tensors_[fused + "_blocks"] = std::move(tensors_.extract(fused).mapped());
  expect_refused(StatusCode::kCorrupt, fused + "_blocks has dtype F32 where U8 is expected");
}

/// A checkpoint of floats of few bits, some of its tensors changed.
class PackedSpellings : public ::testing::Test {
 protected:
  void take(const std::string& name) {
    std::filesystem::copy_file(golden_path(name + "/config.json"), folder_ / "config.json");
    tensors_ = read_tensors(golden_path(name + "/model.safetensors"));
    ids_ = GoldenFile(golden_path(name + "/golden.safetensors")).ints("input_ids");
  }

  /// What opening the model and computing the prompt make of it.
  Result<std::vector<float>> logits() const {
    std::filesystem::remove(folder_ / "model.safetensors");
    write_tensors(folder_ / "model.safetensors", tensors_);
    FM_ASSIGN_OR_RETURN(
        const std::unique_ptr<Engine> engine,
        Engine::open({.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30}));
    FM_ASSIGN_OR_RETURN(const Collected collected, collect(*engine, ids_));
    return collected.logits;
  }

  void expect_refused(StatusCode code, const std::string& part) const {
    const Status status = logits().status();
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("download"), std::string::npos) << status.message();
  }

  TemporaryFolder folder_;
  Tensors tensors_;
  std::vector<std::int32_t> ids_;
};

TEST_F(PackedSpellings, BlocksAndScalesOfGptOssGoTogether) {
  take("gpt_oss_mxfp4");
  const Tensors whole = tensors_;
  const std::string path = "model.layers.1.mlp.experts.";
  for (const std::string& name : {path + "gate_up_proj_scales", path + "down_proj_blocks",
                                  path + "down_proj_scales", path + "gate_up_proj_bias"}) {
    SCOPED_TRACE(name);
    tensors_ = whole;
    tensors_.erase(name);
    expect_refused(StatusCode::kNotFound, name.substr(0, name.rfind('_')));
  }
  tensors_ = whole;
  tensors_[path + "down_proj_scales"].shape = {6, 2, 128};
  expect_refused(StatusCode::kCorrupt, "down_proj_scales has shape [6, 2, 128]");
}

// Of experts, which are on disk when a model is opened, as of what is in memory.
TEST_F(PackedSpellings, AScaleThatIsNanIsAnErrorThatNamesItsPlace) {
  take("gpt_oss_mxfp4");
  const Tensors whole = tensors_;
  for (const std::string matrix : {"gate_up_proj", "down_proj"}) {
    tensors_ = whole;
    Tensor& scales = tensors_["model.layers.1.mlp.experts." + matrix + "_scales"];
    // Whichever experts the router picks.
    const std::size_t size = scales.bytes.size() / 6;
    for (std::size_t e = 0; e < 6; ++e) scales.bytes[e * size + size / 2] = std::byte{255};
    expect_refused(StatusCode::kCorrupt, "the scales of " + matrix + " hold a NaN");
  }
}

TEST_F(PackedSpellings, ADenseScaleThatIsNanIsAnErrorThatNamesItsTensor) {
  const std::pair<const char*, const char*> cases[] = {
      {"mlx_checkpoints/qwen3_moe-nvfp4", "model.layers.1.self_attn.o_proj.scales"},
      {"mlx_checkpoints/qwen3_moe-mxfp8", "model.layers.0.self_attn.q_proj.scales"},
      {"minimax_m2_fp8", "model.layers.1.self_attn.k_proj.weight_scale_inv"}};
  for (const auto& [model, name] : cases) {
    std::filesystem::remove(folder_ / "config.json");
    take(model);
    std::ranges::fill(std::span(tensors_[name].bytes).last(4), std::byte{255});
    expect_refused(StatusCode::kCorrupt, std::string("tensor ") + name);
  }
}

/// [experts] of F32.
Tensor global_scales(const std::vector<float>& values) {
  Tensor tensor{.dtype = DType::kF32, .shape = {values.size()}, .bytes = {}};
  tensor.bytes.resize(values.size() * sizeof(float));
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

// Twice the scale of an expert's matrix with half of each group's is the same weight.
TEST_F(PackedSpellings, EachExpertHasAScaleOfItsOwn) {
  take("mlx_checkpoints/qwen3_moe-nvfp4");
  constexpr std::size_t kStack = 6;
  for (auto& [name, tensor] : tensors_) {
    if (name.find("switch_mlp") == std::string::npos || !name.ends_with(".scales")) continue;
    for (std::byte& code : tensor.bytes) code = std::max(code, std::byte{16});  // can be halved
  }
  const std::vector<float> expected = logits().value();
  std::vector<std::pair<std::string, Tensor>> added;
  for (auto& [name, tensor] : tensors_) {
    if (name.find("switch_mlp") == std::string::npos || !name.ends_with(".scales")) continue;
    std::vector<float> factors(kStack, 2688.0f);
    const std::size_t size = tensor.bytes.size() / kStack;
    for (std::size_t e = 1; e < kStack; e += 2) {
      factors[e] *= 2;
      for (std::size_t i = e * size; i < (e + 1) * size; ++i) {
        tensor.bytes[i] = static_cast<std::byte>(std::to_integer<int>(tensor.bytes[i]) - 8);
      }
    }
    added.emplace_back(name.substr(0, name.rfind('.')) + ".global_scale", global_scales(factors));
  }
  for (auto& [name, tensor] : added) tensors_[name] = std::move(tensor);
  EXPECT_TRUE(std::ranges::equal(logits().value(), expected));
  tensors_[added.front().first].shape = {2, 3};
  expect_refused(StatusCode::kCorrupt, added.front().first);
}

TEST_F(Spellings, AMissingExpertIsAnErrorThatNamesIt) {
  tensors_.erase(expert_name(2, 7, "up_proj"));
  write_tensors(folder_ / "model.safetensors", tensors_);
  const Status status =
      Engine::open({.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("model.layers.2.mlp.experts.7.up_proj"), std::string::npos)
      << status.message();
}

TEST_F(Spellings, ALayerWithoutExpertsIsAnErrorThatNamesTheSpellingsTried) {
  for (std::size_t e = 0; e < kExperts; ++e) {
    for (const char* matrix : {"gate_proj", "up_proj", "down_proj"}) {
      tensors_.erase(expert_name(1, e, matrix));
    }
  }
  write_tensors(folder_ / "model.safetensors", tensors_);
  const Status status =
      Engine::open({.model = folder_.path(), .memory_bytes = std::uint64_t{1} << 30}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("switch_mlp"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace flashmoe::testing
