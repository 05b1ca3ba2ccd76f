// A Hugging Face checkpoint of the repository, brought into a GGUF file the way llama.cpp's
// converter does it (docs/formats.md), is the same model.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace flashmoe::testing
