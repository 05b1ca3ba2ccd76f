#include "model/tensor_table.h"

#include <algorithm>
#include <array>

namespace flashmoe {
namespace {

/// What holds of a tensor in all families, and how most of them call it.
struct CommonRow {
  TensorRole role;
  TensorRow row;
};

using enum TensorId;

constexpr std::array<CommonRow, static_cast<std::size_t>(kCount)> kCommon = {{
    {TensorRole::kEmbedding, {kEmbedTokens, "model.embed_tokens"}},
    {TensorRole::kNorm, {kFinalNorm, "model.norm.weight"}},
    {TensorRole::kLmHead, {kLmHead, "lm_head"}},
    {TensorRole::kNorm, {kInputNorm, "model.layers.{layer}.input_layernorm.weight"}},
    {TensorRole::kNorm, {kMixerOutNorm, "model.layers.{layer}.mixer_out_layernorm.weight"}},
    {TensorRole::kNorm, {kFeedForwardNorm, "model.layers.{layer}.post_attention_layernorm.weight"}},
    {TensorRole::kNorm,
     {kFeedForwardOutNorm, "model.layers.{layer}.post_feedforward_layernorm.weight"}},
    {TensorRole::kNorm, {kLayerScale, "model.layers.{layer}.layer_scalar"}},

    {TensorRole::kAttention, {kQProj, "model.layers.{layer}.self_attn.q_proj"}},
    {TensorRole::kAttention, {kKProj, "model.layers.{layer}.self_attn.k_proj"}},
    {TensorRole::kAttention, {kVProj, "model.layers.{layer}.self_attn.v_proj"}},
    {TensorRole::kAttention, {kOProj, "model.layers.{layer}.self_attn.o_proj"}},
    {TensorRole::kAttention, {kQNorm, "model.layers.{layer}.self_attn.q_norm.weight"}},
    {TensorRole::kAttention, {kKNorm, "model.layers.{layer}.self_attn.k_norm.weight"}},
    {TensorRole::kAttention, {kSinks, "model.layers.{layer}.self_attn.sinks"}},

    {TensorRole::kAttention,
     {kIndexQkProj, "model.layers.{layer}.self_attn.indexer.index_qk_proj"}},
    {TensorRole::kAttention,
     {kIndexQNorm, "model.layers.{layer}.self_attn.indexer.q_layernorm.weight"}},
    {TensorRole::kAttention,
     {kIndexKNorm, "model.layers.{layer}.self_attn.indexer.k_layernorm.weight"}},

    {TensorRole::kAttention, {kQAProj, "model.layers.{layer}.self_attn.q_a_proj"}},
    {TensorRole::kAttention, {kQANorm, "model.layers.{layer}.self_attn.q_a_layernorm.weight"}},
    {TensorRole::kAttention, {kQBProj, "model.layers.{layer}.self_attn.q_b_proj"}},
    {TensorRole::kAttention, {kKvAProj, "model.layers.{layer}.self_attn.kv_a_proj_with_mqa"}},
    {TensorRole::kAttention, {kKvANorm, "model.layers.{layer}.self_attn.kv_a_layernorm.weight"}},
    {TensorRole::kAttention, {kKvBProj, "model.layers.{layer}.self_attn.kv_b_proj"}},
    {TensorRole::kAttention, {kEmbedQ, "model.layers.{layer}.self_attn.embed_q"}},
    {TensorRole::kAttention, {kUnembedOut, "model.layers.{layer}.self_attn.unembed_out"}},

    {TensorRole::kDeltaNet, {kInProjQkvz, "model.layers.{layer}.linear_attn.in_proj_qkvz"}},
    {TensorRole::kDeltaNet, {kInProjBa, "model.layers.{layer}.linear_attn.in_proj_ba"}},
    {TensorRole::kDeltaNet, {kInProjQkv, "model.layers.{layer}.linear_attn.in_proj_qkv"}},
    {TensorRole::kDeltaNet, {kInProjZ, "model.layers.{layer}.linear_attn.in_proj_z"}},
    {TensorRole::kDeltaNet, {kInProjB, "model.layers.{layer}.linear_attn.in_proj_b"}},
    {TensorRole::kDeltaNet, {kInProjA, "model.layers.{layer}.linear_attn.in_proj_a"}},
    {TensorRole::kDeltaNet,
     {kConv1d, "model.layers.{layer}.linear_attn.conv1d.weight", StoredAs::kTapsLast}},
    {TensorRole::kDeltaNet, {kALog, "model.layers.{layer}.linear_attn.A_log", StoredAs::kLogDecay}},
    {TensorRole::kDeltaNet, {kDtBias, "model.layers.{layer}.linear_attn.dt_bias"}},
    {TensorRole::kDeltaNet, {kDeltaNorm, "model.layers.{layer}.linear_attn.norm.weight"}},
    {TensorRole::kDeltaNet, {kOutProj, "model.layers.{layer}.linear_attn.out_proj"}},

    {TensorRole::kHyperConnection,
     {kMixerHyperNorm, "model.layers.{layer}.attn_hyper_connection.hc_norm.weight"}},
    {TensorRole::kHyperConnection,
     {kMixerHyperDown, "model.layers.{layer}.attn_hyper_connection.input_mix_weight_down"}},
    {TensorRole::kHyperConnection,
     {kMixerHyperUp, "model.layers.{layer}.attn_hyper_connection.input_mix_weight_up"}},
    {TensorRole::kHyperConnection,
     {kMixerHyperInject, "model.layers.{layer}.attn_hyper_connection.block_inject_weight"}},
    {TensorRole::kHyperConnection,
     {kFeedForwardHyperNorm, "model.layers.{layer}.mlp_hyper_connection.hc_norm.weight"}},
    {TensorRole::kHyperConnection,
     {kFeedForwardHyperDown, "model.layers.{layer}.mlp_hyper_connection.input_mix_weight_down"}},
    {TensorRole::kHyperConnection,
     {kFeedForwardHyperUp, "model.layers.{layer}.mlp_hyper_connection.input_mix_weight_up"}},
    {TensorRole::kHyperConnection,
     {kFeedForwardHyperInject, "model.layers.{layer}.mlp_hyper_connection.block_inject_weight"}},
    {TensorRole::kHyperConnection,
     {kFinalHyperNorm, "model.hyper_connection_mixer.hc_norm.weight"}},
    {TensorRole::kHyperConnection,
     {kFinalHyperDown, "model.hyper_connection_mixer.input_mix_weight_down"}},
    {TensorRole::kHyperConnection,
     {kFinalHyperUp, "model.hyper_connection_mixer.input_mix_weight_up"}},

    {TensorRole::kNgramTable,
     {kNgramTable, "model.layers.{layer}.ple.ple_embedding.ngram_embedding.shard_{part}.weight"}},
    {TensorRole::kNgramEmbedding,
     {kNgramMultipliers, "model.layers.{layer}.ple.ple_embedding.layer_multipliers"}},
    {TensorRole::kNgramEmbedding,
     {kNgramSizes, "model.layers.{layer}.ple.ple_embedding.ngram_heads_vocab_sizes"}},
    {TensorRole::kNgramEmbedding,
     {kNgramOffsets, "model.layers.{layer}.ple.ple_embedding.ngram_heads_offsets"}},
    {TensorRole::kNgramEmbedding, {kNgramKeyProj, "model.layers.{layer}.ple.key_proj"}},
    {TensorRole::kNgramEmbedding, {kNgramValueProj, "model.layers.{layer}.ple.value_proj"}},
    {TensorRole::kNgramEmbedding, {kNgramKeyNorm, "model.layers.{layer}.ple.norm_key.weight"}},
    {TensorRole::kNgramEmbedding, {kNgramQueryNorm, "model.layers.{layer}.ple.norm_query.weight"}},
    {TensorRole::kNgramEmbedding, {kNgramConvNorm, "model.layers.{layer}.ple.norm_conv.weight"}},
    {TensorRole::kNgramEmbedding,
     {kNgramConv, "model.layers.{layer}.ple.conv1d.weight", StoredAs::kTapsLast}},

    {TensorRole::kDenseMlp, {kGateProj, "model.layers.{layer}.mlp.gate_proj"}},
    {TensorRole::kDenseMlp, {kUpProj, "model.layers.{layer}.mlp.up_proj"}},
    {TensorRole::kDenseMlp, {kDownProj, "model.layers.{layer}.mlp.down_proj"}},

    {TensorRole::kRouter, {kRouter, "model.layers.{layer}.mlp.gate"}},
    {TensorRole::kRouter,
     {kRouterScale, "model.layers.{layer}.router.scale", StoredAs::kOverRootSize}},
    {TensorRole::kRouter, {kExpertScale, "model.layers.{layer}.router.per_expert_scale"}},
    {TensorRole::kRouter,
     {kCorrectionBias, "model.layers.{layer}.mlp.gate.e_score_correction_bias"}},
    {TensorRole::kNorm, {kExpertsNorm, "model.layers.{layer}.pre_feedforward_layernorm_2.weight"}},
    {TensorRole::kNorm,
     {kExpertsOutNorm, "model.layers.{layer}.post_feedforward_layernorm_2.weight"}},
    {TensorRole::kNorm,
     {kSharedOutNorm, "model.layers.{layer}.post_feedforward_layernorm_1.weight"}},
    {TensorRole::kSharedExpert,
     {kSharedGateProj, "model.layers.{layer}.mlp.shared_expert.gate_proj"}},
    {TensorRole::kSharedExpert, {kSharedUpProj, "model.layers.{layer}.mlp.shared_expert.up_proj"}},
    {TensorRole::kSharedExpert,
     {kSharedDownProj, "model.layers.{layer}.mlp.shared_expert.down_proj"}},
    {TensorRole::kSharedExpert, {kSharedExpertGate, "model.layers.{layer}.mlp.shared_expert_gate"}},

    {TensorRole::kRoutedExperts, {kStackedGate, "model.layers.{layer}.mlp.switch_mlp.gate_proj"}},
    {TensorRole::kRoutedExperts, {kStackedUp, "model.layers.{layer}.mlp.switch_mlp.up_proj"}},
    {TensorRole::kRoutedExperts, {kStackedDown, "model.layers.{layer}.mlp.switch_mlp.down_proj"}},
    {TensorRole::kRoutedExperts,
     {kSeparateGate, "model.layers.{layer}.mlp.experts.{expert}.gate_proj"}},
    {TensorRole::kRoutedExperts,
     {kSeparateUp, "model.layers.{layer}.mlp.experts.{expert}.up_proj"}},
    {TensorRole::kRoutedExperts,
     {kSeparateDown, "model.layers.{layer}.mlp.experts.{expert}.down_proj"}},
    {TensorRole::kRoutedExperts, {kFusedGateUp, "model.layers.{layer}.mlp.experts.gate_up_proj"}},
    {TensorRole::kRoutedExperts, {kFusedDown, "model.layers.{layer}.mlp.experts.down_proj"}},
    {TensorRole::kRoutedExperts,
     {kFusedGateUpBias, "model.layers.{layer}.mlp.experts.gate_up_proj_bias"}},
    {TensorRole::kRoutedExperts,
     {kFusedDownBias, "model.layers.{layer}.mlp.experts.down_proj_bias"}},
}};

constexpr bool is_in_order() {
  for (std::size_t i = 0; i < kCommon.size(); ++i) {
    if (static_cast<std::size_t>(kCommon[i].row.id) != i) return false;
  }
  return true;
}
static_assert(is_in_order(), "the table has one row for every TensorId, in their order");

/// What most families are called in GGUF files; a tensor that is not listed is in none. What
/// llama.cpp's converter has done already (norms hold w, ssm_a is -exp(A_log)) is plain here.
constexpr TensorRow kGguf[] = {
    {kEmbedTokens, "token_embd"},
    {kFinalNorm, "output_norm.weight"},
    {kLmHead, "output"},
    {kInputNorm, "blk.{layer}.attn_norm.weight"},
    {kFeedForwardNorm, "blk.{layer}.ffn_norm.weight"},

    {kQProj, "blk.{layer}.attn_q"},
    {kKProj, "blk.{layer}.attn_k"},
    {kVProj, "blk.{layer}.attn_v"},
    {kOProj, "blk.{layer}.attn_output"},
    {kQNorm, "blk.{layer}.attn_q_norm.weight"},
    {kKNorm, "blk.{layer}.attn_k_norm.weight"},
    {kSinks, "blk.{layer}.attn_sinks.weight"},

    {kQAProj, "blk.{layer}.attn_q_a"},
    {kQANorm, "blk.{layer}.attn_q_a_norm.weight"},
    {kQBProj, "blk.{layer}.attn_q_b"},
    {kKvAProj, "blk.{layer}.attn_kv_a_mqa"},
    {kKvANorm, "blk.{layer}.attn_kv_a_norm.weight"},
    {kKvBProj, "blk.{layer}.attn_kv_b"},
    {kEmbedQ, "blk.{layer}.attn_k_b"},
    {kUnembedOut, "blk.{layer}.attn_v_b"},

    {kInProjQkvz, "blk.{layer}.ssm_in"},
    {kInProjBa, "blk.{layer}.ssm_ba"},
    {kInProjQkv, "blk.{layer}.attn_qkv"},
    {kInProjZ, "blk.{layer}.attn_gate"},
    {kInProjB, "blk.{layer}.ssm_beta"},
    {kInProjA, "blk.{layer}.ssm_alpha"},
    {kConv1d, "blk.{layer}.ssm_conv1d.weight", StoredAs::kTapsLast},
    {kALog, "blk.{layer}.ssm_a"},
    {kDtBias, "blk.{layer}.ssm_dt.bias"},
    {kDeltaNorm, "blk.{layer}.ssm_norm.weight"},
    {kOutProj, "blk.{layer}.ssm_out"},

    {kGateProj, "blk.{layer}.ffn_gate"},
    {kUpProj, "blk.{layer}.ffn_up"},
    {kDownProj, "blk.{layer}.ffn_down"},

    {kRouter, "blk.{layer}.ffn_gate_inp"},
    {kCorrectionBias, "blk.{layer}.exp_probs_b.bias"},
    {kSharedGateProj, "blk.{layer}.ffn_gate_shexp"},
    {kSharedUpProj, "blk.{layer}.ffn_up_shexp"},
    {kSharedDownProj, "blk.{layer}.ffn_down_shexp"},
    {kSharedExpertGate, "blk.{layer}.ffn_gate_inp_shexp"},

    {kStackedGate, "blk.{layer}.ffn_gate_exps"},
    {kStackedUp, "blk.{layer}.ffn_up_exps"},
    {kStackedDown, "blk.{layer}.ffn_down_exps"},
    {kSeparateGate, "blk.{layer}.ffn_gate.{expert}"},
    {kSeparateUp, "blk.{layer}.ffn_up.{expert}"},
    {kSeparateDown, "blk.{layer}.ffn_down.{expert}"},
    {kFusedGateUp, "blk.{layer}.ffn_gate_up_exps"},
    {kFusedDown, "blk.{layer}.ffn_down_exps"},
};

std::string replace_placeholder(std::string text, std::string_view placeholder, std::size_t index) {
  const std::size_t at = text.find(placeholder);
  if (at != std::string::npos) text.replace(at, placeholder.size(), std::to_string(index));
  return text;
}

const TensorRow* find_row(std::span<const TensorRow> rows, TensorId id) {
  const auto row =
      std::find_if(rows.begin(), rows.end(), [id](const TensorRow& r) { return r.id == id; });
  return row == rows.end() ? nullptr : &*row;
}

}  // namespace

TensorRow TensorTable::row(TensorId id) const {
  if (spelling_ == TensorSpelling::kGguf) {
    const TensorRow* row = find_row(own_gguf_, id);
    if (row == nullptr) row = find_row(kGguf, id);
    return row == nullptr ? TensorRow{id, ""} : *row;
  }
  const TensorRow* const own = find_row(own_, id);
  TensorRow row = own != nullptr ? *own : kCommon[static_cast<std::size_t>(id)].row;
  if (spelling_ == TensorSpelling::kMlx && row.stored == StoredAs::kZeroCentred) {
    row.stored = StoredAs::kPlain;
  }
  return row;
}

bool TensorTable::is_own(TensorId id) const {
  return find_row(spelling_ == TensorSpelling::kGguf ? own_gguf_ : own_, id) != nullptr;
}

std::string TensorTable::name(TensorId id) const {
  constexpr std::string_view kBody = "model.";
  std::string_view name = row(id).name;
  if (!name.starts_with(kBody)) return std::string(prefixes_.head).append(name);
  name.remove_prefix(kBody.size());
  return std::string(prefixes_.body).append(name);
}

std::string TensorTable::name(TensorId id, std::size_t layer) const {
  return replace_placeholder(name(id), "{layer}", layer);
}

std::string TensorTable::name(TensorId id, std::size_t layer, std::size_t index) const {
  return replace_placeholder(replace_placeholder(name(id, layer), "{expert}", index), "{part}",
                             index);
}

TensorRole role_of(TensorId id) { return kCommon[static_cast<std::size_t>(id)].role; }

}  // namespace flashmoe
