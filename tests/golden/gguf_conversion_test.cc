// Hugging Face checkpoints, brought into GGUF files the way llama.cpp's converter does it
// (docs/formats.md), are the same models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/testing/temporary_folder.h"
#include "format/model_package.h"
#include "format/testing/gguf_bytes.h"
#include "io/file.h"
#include "support/collect.h"
#include "support/test_files.h"
#include "tensor/float_bits.h"

namespace flashmoe::testing {
namespace {

constexpr std::uint32_t kGgmlF32 = 0;

using Floats = std::vector<float>;

/// The converter of qwen3_next.
class Qwen3NextConverter {
 public:
  explicit Qwen3NextConverter(const ModelPackage& package)
      : package_(package), config_(package.config()) {}

  std::string convert() {
    add_metadata();
    add("token_embd.weight", "model.embed_tokens.weight");
    add("output.weight", "lm_head.weight");
    add_norm("output_norm.weight", "model.norm.weight");
    for (std::size_t i = 0; i < size_of("num_hidden_layers"); ++i) add_layer(i);
    return gguf_.bytes();
  }

 private:
  std::size_t size_of(const char* word) const { return config_[word].get<std::size_t>(); }

  void add_metadata() {
    const std::pair<const char*, const char*> sizes[] = {
        {"block_count", "num_hidden_layers"},
        {"context_length", "max_position_embeddings"},
        {"embedding_length", "hidden_size"},
        {"attention.head_count", "num_attention_heads"},
        {"attention.head_count_kv", "num_key_value_heads"},
        {"attention.key_length", "head_dim"},
        {"attention.value_length", "head_dim"},
        {"expert_count", "num_experts"},
        {"expert_used_count", "num_experts_per_tok"},
        {"expert_feed_forward_length", "moe_intermediate_size"},
        {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"},
        {"ssm.conv_kernel", "linear_conv_kernel_dim"},
        {"ssm.state_size", "linear_key_head_dim"},
        {"ssm.group_count", "linear_num_key_heads"},
        {"ssm.time_step_rank", "linear_num_value_heads"}};
    gguf_.text("general.architecture", "qwen3next");
    const auto key = [](std::string_view name) { return fmt::format("qwen3next.{}", name); };
    for (const auto& [name, word] : sizes) {
      gguf_.u32(key(name), static_cast<std::uint32_t>(size_of(word)));
    }
    gguf_.u32(key("ssm.inner_size"), static_cast<std::uint32_t>(values_size()));
    const ConfigReader reader = package_.config_reader();
    const double head_dim = static_cast<double>(size_of("head_dim"));
    const double fraction =
        reader
            .number_or({"partial_rotary_factor", "rope_parameters.partial_rotary_factor"}, 0.25, 0,
                       1)
            .value();
    gguf_.u32(key("rope.dimension_count"), static_cast<std::uint32_t>(head_dim * fraction));
    gguf_.f32(
        key("rope.freq_base"),
        static_cast<float>(
            reader.number_or({"rope_theta", "rope_parameters.rope_theta"}, 1e4, 1, 1e9).value()));
    gguf_.f32(key("attention.layer_norm_rms_epsilon"), config_["rms_norm_eps"].get<float>());
  }

  std::size_t values_size() const {
    return size_of("linear_num_value_heads") * size_of("linear_value_head_dim");
  }

  Floats read(const std::string& name) const {
    const TensorRecord* const tensor = package_.find(name);
    EXPECT_NE(tensor, nullptr) << name;
    std::vector<std::byte> bytes(tensor->size);
    const File file =
        File::open(package_.files()[tensor->file_index], File::Mode::kBuffered).value();
    EXPECT_TRUE(file.read_at(tensor->offset, bytes).ok());
    Floats floats(tensor->element_count());
    widen(tensor->dtype, bytes.data(), floats);
    return floats;
  }

  void put(const std::string& name, const std::vector<std::uint64_t>& dims, const Floats& floats) {
    gguf_.tensor(name, dims, kGgmlF32,
                 {reinterpret_cast<const char*>(floats.data()), floats.size() * sizeof(float)});
  }
  /// Dimensions of 1 are left out.
  std::vector<std::uint64_t> dims_of(const std::string& name) const {
    std::vector<std::uint64_t> dims = package_.find(name)->shape;
    std::reverse(dims.begin(), dims.end());
    if (dims.size() > 1) std::erase(dims, 1u);
    return dims;
  }
  void add(const std::string& name, const std::string& from) {
    put(name, dims_of(from), read(from));
  }
  void add_norm(const std::string& name, const std::string& from) {
    Floats weight = read(from);
    for (float& w : weight) w += 1.0f;
    put(name, dims_of(from), weight);
  }

  void add_layer(std::size_t layer) {
    const std::string to = fmt::format("blk.{}.", layer);
    const std::string from = fmt::format("model.layers.{}.", layer);
    add_norm(to + "attn_norm.weight", from + "input_layernorm.weight");
    add_norm(to + "post_attention_norm.weight", from + "post_attention_layernorm.weight");
    if (package_.find(from + "self_attn.q_proj.weight") != nullptr) {
      for (const auto& [name, word] :
           {std::pair("attn_q", "q_proj"), std::pair("attn_k", "k_proj"),
            std::pair("attn_v", "v_proj"), std::pair("attn_output", "o_proj")}) {
        add(fmt::format("{}{}.weight", to, name), fmt::format("{}self_attn.{}.weight", from, word));
      }
      add_norm(to + "attn_q_norm.weight", from + "self_attn.q_norm.weight");
      add_norm(to + "attn_k_norm.weight", from + "self_attn.k_norm.weight");
    } else {
      add_delta_net(to, from + "linear_attn.");
    }
    add(to + "ffn_gate_inp.weight", from + "mlp.gate.weight");
    add(to + "ffn_gate_inp_shexp.weight", from + "mlp.shared_expert_gate.weight");
    for (const char* which : {"gate", "up", "down"}) {
      add(fmt::format("{}ffn_{}_shexp.weight", to, which),
          fmt::format("{}mlp.shared_expert.{}_proj.weight", from, which));
      Floats stack;
      std::vector<std::uint64_t> dims;
      for (std::size_t e = 0; e < size_of("num_experts"); ++e) {
        const std::string name = fmt::format("{}mlp.experts.{}.{}_proj.weight", from, e, which);
        const Floats expert = read(name);
        stack.insert(stack.end(), expert.begin(), expert.end());
        dims = dims_of(name);
      }
      dims.push_back(size_of("num_experts"));
      put(fmt::format("{}ffn_{}_exps.weight", to, which), dims, stack);
    }
  }

  void add_delta_net(const std::string& to, const std::string& from) {
    // Rows of a key head's q, k, v and z go to all q, all k, all v, and all z.
    const std::size_t heads = size_of("linear_num_key_heads");
    const std::size_t keys = size_of("linear_key_head_dim");
    const std::size_t values = values_size() / heads;
    const std::size_t hidden = size_of("hidden_size");
    const Floats grouped = read(from + "in_proj_qkvz.weight");
    std::array<Floats, 4> parts;
    const float* at = grouped.data();
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t rows[] = {keys, keys, values, values};
      for (std::size_t p = 0; p < 4; ++p) {
        parts[p].insert(parts[p].end(), at, at + rows[p] * hidden);
        at += rows[p] * hidden;
      }
    }
    put(to + "attn_gate.weight", {hidden, values * heads}, parts[3]);
    Floats qkv = std::move(parts[0]);
    qkv.insert(qkv.end(), parts[1].begin(), parts[1].end());
    qkv.insert(qkv.end(), parts[2].begin(), parts[2].end());
    put(to + "attn_qkv.weight", {hidden, qkv.size() / hidden}, qkv);
    Floats decay = read(from + "A_log");
    for (float& a : decay) a = -std::exp(a);
    put(to + "ssm_a", {decay.size()}, decay);
    add(to + "ssm_ba.weight", from + "in_proj_ba.weight");
    add(to + "ssm_conv1d.weight", from + "conv1d.weight");
    add(to + "ssm_dt.bias", from + "dt_bias");
    add(to + "ssm_norm.weight", from + "norm.weight");
    add(to + "ssm_out.weight", from + "out_proj.weight");
  }

  const ModelPackage& package_;
  const nlohmann::json& config_;
  GgufBytes gguf_;
};

TEST(GgufConversion, IsTheSameModel) {
  const std::filesystem::path original = golden_path("qwen3_next");
  const ModelPackage package = ModelPackage::open(original).value();
  TemporaryFolder folder;
  const auto converted = folder.write("model.gguf", Qwen3NextConverter(package).convert());
  const std::vector<std::int32_t> ids =
      GoldenFile(original / "golden.safetensors").ints("input_ids");
  const auto logits = [&](const std::filesystem::path& path) {
    const auto engine = Engine::open({.model = path, .memory_bytes = std::uint64_t{1} << 30});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? collect(**engine, ids).value().logits : Floats();
  };
  const Floats expected = logits(original);
  const Floats got = logits(converted);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_LT(relative_rms(got, expected), 1e-4);
}

/// Tensors under other names, byte for byte: families whose weights llama.cpp's converter leaves
/// alone.
class RenamingConverter {
 public:
  RenamingConverter(const ModelPackage& package, std::string prefix)
      : package_(package), prefix_(std::move(prefix)) {}

  GgufBytes gguf;

  void u32s(const std::string& architecture,
            const std::vector<std::pair<const char*, std::uint32_t>>& values) {
    gguf.text("general.architecture", architecture);
    for (const auto& [key, value] : values) gguf.u32(architecture + "." + key, value);
    gguf.f32(architecture + ".attention.layer_norm_rms_epsilon", 1e-6f);
  }
  void rename(const std::string& to, const std::string& from) { rename_whole(to, prefix_ + from); }
  /// `from` with its prefix.
  void rename_whole(const std::string& to, const std::string& from) {
    gguf.tensor(to, dims_of(from), kGgmlBf16, bytes_of_tensor(from));
  }
  /// `to` and `from` of a layer.
  void rename_in(std::size_t layer, const std::map<std::string, std::string>& names) {
    for (const auto& [to, from] : names) {
      rename(fmt::format("blk.{}.{}", layer, to), fmt::format("layers.{}.{}", layer, from));
    }
  }
  /// The experts' matrices, "layers.0.mlp.experts." and so on, one after the other.
  void stack(const std::string& to, const std::string& begin, const std::string& end,
             std::size_t count) {
    std::string bytes;
    for (std::size_t e = 0; e < count; ++e) {
      bytes += bytes_of_tensor(fmt::format("{}{}{}{}", prefix_, begin, e, end));
    }
    std::vector<std::uint64_t> dims = dims_of(fmt::format("{}{}0{}", prefix_, begin, end));
    dims.push_back(count);
    gguf.tensor(to, dims, kGgmlBf16, bytes);
  }

 private:
  static constexpr std::uint32_t kGgmlBf16 = 30;

  std::vector<std::uint64_t> dims_of(const std::string& name) const {
    std::vector<std::uint64_t> dims = package_.find(name)->shape;
    std::reverse(dims.begin(), dims.end());
    return dims;
  }
  std::string bytes_of_tensor(const std::string& name) const {
    const TensorRecord& tensor = *package_.find(name);
    std::string bytes(tensor.size, '\0');
    const File file =
        File::open(package_.files()[tensor.file_index], File::Mode::kBuffered).value();
    EXPECT_TRUE(file.read_at(tensor.offset, std::as_writable_bytes(std::span(bytes))).ok());
    return bytes;
  }

  const ModelPackage& package_;
  std::string prefix_;
};

/// The logits of a family's reference prompt, to the bit the same from both containers.
void expect_same_bits(const std::filesystem::path& original, const std::string& converted) {
  const TemporaryFolder folder;
  const std::vector<std::int32_t> ids =
      GoldenFile(original / "golden.safetensors").ints("input_ids");
  const auto logits = [&](const std::filesystem::path& path) {
    const auto engine = Engine::open({.model = path, .memory_bytes = std::uint64_t{1} << 30});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? collect(**engine, ids).value().logits : Floats();
  };
  const Floats expected = logits(original);
  EXPECT_FALSE(expected.empty());
  EXPECT_TRUE(std::ranges::equal(logits(folder.write("m.gguf", converted)), expected));
}

TEST(GgufConversion, Qwen2MoeGivesTheSameBits) {
  const auto original = shared_path("golden/qwen2_moe");
  if (!original) GTEST_SKIP() << "qwen2_moe is not on this machine";
  const ModelPackage package = ModelPackage::open(*original).value();
  RenamingConverter converter(package, "model.");
  converter.u32s("qwen2moe", {{"block_count", 2},
                              {"context_length", 512},
                              {"embedding_length", 128},
                              {"attention.head_count", 4},
                              {"attention.head_count_kv", 2},
                              {"feed_forward_length", 192},
                              {"expert_count", 6},
                              {"expert_used_count", 2},
                              {"expert_feed_forward_length", 64},
                              {"expert_shared_feed_forward_length", 128}});
  converter.gguf.f32("qwen2moe.rope.freq_base", 10000);
  converter.rename("token_embd.weight", "embed_tokens.weight");
  converter.rename("output_norm.weight", "norm.weight");
  for (std::size_t layer = 0; layer < 2; ++layer) {
    converter.rename_in(layer, {{"attn_norm.weight", "input_layernorm.weight"},
                                {"ffn_norm.weight", "post_attention_layernorm.weight"},
                                {"attn_q.weight", "self_attn.q_proj.weight"},
                                {"attn_q.bias", "self_attn.q_proj.bias"},
                                {"attn_k.weight", "self_attn.k_proj.weight"},
                                {"attn_k.bias", "self_attn.k_proj.bias"},
                                {"attn_v.weight", "self_attn.v_proj.weight"},
                                {"attn_v.bias", "self_attn.v_proj.bias"},
                                {"attn_output.weight", "self_attn.o_proj.weight"},
                                {"ffn_gate_inp.weight", "mlp.gate.weight"},
                                {"ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"},
                                {"ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"},
                                {"ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"},
                                {"ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"}});
    for (const char* which : {"gate", "up", "down"}) {
      converter.stack(fmt::format("blk.{}.ffn_{}_exps.weight", layer, which),
                      fmt::format("layers.{}.mlp.experts.", layer),
                      fmt::format(".{}_proj.weight", which), 6);
    }
  }
  converter.rename_whole("output.weight", "lm_head.weight");
  expect_same_bits(*original, converter.gguf.bytes());
}

TEST(GgufConversion, Gemma4GivesTheSameBits) {
  const auto original = shared_path("golden/gemma4");
  if (!original) GTEST_SKIP() << "gemma4 is not on this machine";
  const ModelPackage package = ModelPackage::open(*original).value();
  RenamingConverter converter(package, "model.language_model.");
  converter.u32s("gemma4", {{"block_count", 3},
                            {"context_length", 512},
                            {"embedding_length", 128},
                            {"attention.head_count", 4},
                            {"attention.key_length", 64},
                            {"attention.value_length", 64},
                            {"attention.key_length_swa", 32},
                            {"attention.value_length_swa", 32},
                            {"attention.sliding_window", 16},
                            {"feed_forward_length", 96},
                            {"expert_count", 6},
                            {"expert_used_count", 2},
                            {"expert_feed_forward_length", 64}});
  GgufBytes& gguf = converter.gguf;
  gguf.i32s("gemma4.attention.head_count_kv", {2, 2, 1});
  gguf.i32s("gemma4.attention.sliding_window_pattern", {1, 1, 0});
  gguf.f32("gemma4.rope.freq_base", 1e6f).f32("gemma4.rope.freq_base_swa", 1e4f);
  gguf.f32("gemma4.final_logit_softcapping", 5);
  Floats divisors(32, 1e30f);
  std::fill_n(divisors.begin(), 8, 1.0f);  // a quarter of the pairs rotates
  gguf.tensor("rope_freqs.weight", {32}, kGgmlF32,
              {reinterpret_cast<const char*>(divisors.data()), divisors.size() * sizeof(float)});
  converter.rename("token_embd.weight", "embed_tokens.weight");
  converter.rename("output_norm.weight", "norm.weight");
  for (std::size_t layer = 0; layer < 3; ++layer) {
    converter.rename_in(layer, {{"attn_norm.weight", "input_layernorm.weight"},
                                {"post_attention_norm.weight", "post_attention_layernorm.weight"},
                                {"ffn_norm.weight", "pre_feedforward_layernorm.weight"},
                                {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"},
                                {"post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight"},
                                {"post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight"},
                                {"pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight"},
                                {"layer_output_scale.weight", "layer_scalar"},
                                {"attn_q.weight", "self_attn.q_proj.weight"},
                                {"attn_k.weight", "self_attn.k_proj.weight"},
                                {"attn_output.weight", "self_attn.o_proj.weight"},
                                {"attn_q_norm.weight", "self_attn.q_norm.weight"},
                                {"attn_k_norm.weight", "self_attn.k_norm.weight"},
                                {"ffn_gate.weight", "mlp.gate_proj.weight"},
                                {"ffn_up.weight", "mlp.up_proj.weight"},
                                {"ffn_down.weight", "mlp.down_proj.weight"},
                                {"ffn_gate_inp.weight", "router.proj.weight"},
                                {"ffn_gate_inp.scale", "router.scale"},
                                {"ffn_down_exps.scale", "router.per_expert_scale"},
                                {"ffn_gate_up_exps.weight", "experts.gate_up_proj"},
                                {"ffn_down_exps.weight", "experts.down_proj"}});
    if (layer < 2) converter.rename_in(layer, {{"attn_v.weight", "self_attn.v_proj.weight"}});
  }
  expect_same_bits(*original, gguf.bytes());
}

}  // namespace
}  // namespace flashmoe::testing
