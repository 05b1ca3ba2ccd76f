// Qwen4-Exp (Qwen3.8-Flash-Next; the text part of the multimodal model): Qwen3.5's layers on a
// residual of several streams, with an indexer in those of full attention, and layers that a table
// of n-grams adds to. Source: transformers models/qwen4_exp/modular_qwen4_exp.py.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "format/printable.h"
#include "model/families/fields.h"
#include "model/families/hybrid.h"
#include "model/model_family.h"

namespace flashmoe {
namespace {

/// Hashes of all tables together: each takes a search for a prime.
constexpr std::size_t kNgramHeadsMax = 256;

Result<IndexerSpec> read_indexer(const ConfigReader& reader, const AttentionSpec& attention) {
  IndexerSpec indexer;
  FM_ASSIGN_OR_RETURN(indexer.num_heads, reader.uint("indexer_n_heads", 1, 1024));
  FM_ASSIGN_OR_RETURN(const std::uint64_t kv_heads, reader.uint_or("indexer_kv_heads", 1, 1, 1024));
  if (kv_heads != 1) {
    return reader.reject(StatusCode::kUnsupported, "indexer_kv_heads",
                         "indexers are supported with one key head");
  }
  FM_ASSIGN_OR_RETURN(indexer.head_dim, reader.uint("indexer_head_dim", 2, kHeadDimMax));
  FM_ASSIGN_OR_RETURN(indexer.compress_ratio, reader.uint("indexer_compress_ratio", 1, 1u << 20));
  if (kKvBlock % indexer.compress_ratio != 0) {
    return reader.reject(StatusCode::kUnsupported, "indexer_compress_ratio",
                         fmt::format("supported are divisors of {}", kKvBlock));
  }
  FM_ASSIGN_OR_RETURN(indexer.budget, reader.uint("indexer_budget", 1, kWidthMax));
  if (indexer.budget % indexer.compress_ratio != 0) {
    return contradiction(reader, "indexer_budget", "must be a multiple of indexer_compress_ratio");
  }
  if (attention.rope.rotary_dim > indexer.head_dim) {
    return contradiction(reader, "indexer_head_dim",
                         "must hold the rotary dimensions of attention");
  }
  if (indexer.num_heads * indexer.head_dim > kWidthMax) {
    return contradiction(reader, "indexer_n_heads", "gives heads that are too wide");
  }
  return indexer;
}

Result<HyperConnectionSpec> read_hyper_connection(const ConfigReader& reader, std::size_t hidden) {
  HyperConnectionSpec hyper;
  FM_ASSIGN_OR_RETURN(hyper.streams,
                      reader.uint_or("hc_count", 4, 2, HyperConnectionSpec::kStreamsMax));
  FM_ASSIGN_OR_RETURN(hyper.rank, reader.uint_or("hc_lowrank", 320, 1, kWidthMax));
  if (hyper.streams * hidden > kWidthMax) {
    return contradiction(reader, "hc_count", "gives a residual that is too wide");
  }
  return hyper;
}

/// Which layers have an indexer; the others are linear. Published configs call them full_attention.
Result<std::vector<bool>> read_indexed_layers(const ConfigReader& reader, std::size_t layer_count) {
  FM_ASSIGN_OR_RETURN(const std::size_t interval,
                      reader.uint_or("full_attention_interval", 4, 1, 1024));
  std::vector<bool> is_indexed(layer_count);
  if (!reader.has("layer_types")) {
    for (std::size_t i = 0; i < layer_count; ++i) is_indexed[i] = (i + 1) % interval == 0;
    return is_indexed;
  }
  constexpr std::array kIndexed = {"indexed_attention", "full_attention", "qwen_sparse_attention",
                                   "deepseek_sparse_attention"};
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> types,
                      read_layer_words(reader, "layer_types", layer_count));
  for (std::size_t i = 0; i < layer_count; ++i) {
    is_indexed[i] = std::ranges::find(kIndexed, types[i]) != kIndexed.end();
    if (!is_indexed[i] && types[i] != "linear_attention") {
      return contradiction(reader, "layer_types",
                           fmt::format("has '{}'; expected indexed_attention or linear_attention",
                                       printable(types[i])));
    }
  }
  return is_indexed;
}

/// What the tables of all layers share.
Result<NgramEmbeddingSpec> read_ngram_embedding(const ConfigReader& reader, const ModelSpec& spec) {
  NgramEmbeddingSpec embedding;
  NgramSpec& ngrams = embedding.ngrams;
  ngrams.vocab_size = spec.vocab_size;
  FM_ASSIGN_OR_RETURN(ngrams.ngram_size, reader.uint_or("ngram_size", 3, 2, 16));
  FM_ASSIGN_OR_RETURN(ngrams.heads_per_ngram,
                      reader.uint_or("heads_per_ngram", 8, 1, kNgramHeadsMax));
  FM_ASSIGN_OR_RETURN(ngrams.vocab_size_base,
                      reader.uint_or("ngram_vocab_size_base", 20'000'000, 2, 1u << 28));
  FM_ASSIGN_OR_RETURN(ngrams.divisor,
                      reader.uint_or("make_ngram_vocab_size_divisible_by", 128, 1, 1u << 20));
  FM_ASSIGN_OR_RETURN(ngrams.seed, reader.uint_or("seed", 1234, 0, std::uint64_t{1} << 62));
  FM_ASSIGN_OR_RETURN(embedding.embed_dim,
                      reader.uint_or("ple_embed_dim", spec.hidden_size, 1, kWidthMax));
  if (embedding.embed_dim % ngrams.heads() != 0) {
    return contradiction(reader, "ple_embed_dim",
                         "must be a multiple of (ngram_size - 1) * heads_per_ngram");
  }
  FM_ASSIGN_OR_RETURN(embedding.table_parts, reader.uint_or("split_ngram_parts", 512, 1, 1u << 16));
  if (embedding.table_parts > ngrams.heads() * ngrams.vocab_size_base) {
    return contradiction(reader, "split_ngram_parts", "is more than the table has rows");
  }
  FM_ASSIGN_OR_RETURN(embedding.conv.kernel, reader.uint_or("ple_conv_kernel_size", 4, 1, 16));
  embedding.conv.dilation = ngrams.ngram_size;
  FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> eos,
                      reader.uint_list("eos_token_id", 0, spec.vocab_size - 1));
  if (eos.empty()) {
    return contradiction(reader, "eos_token_id", "must name a token where there are n-grams");
  }
  ngrams.eos_token_id = static_cast<std::int32_t>(eos.front());
  return embedding;
}

/// ple_layer_ids count from 1; the tables are numbered in the order of their layers.
Status add_ngram_embeddings(const ConfigReader& reader, ModelSpec& spec) {
  if (!reader.has("ple_layer_ids")) return Status();
  FM_ASSIGN_OR_RETURN(std::vector<std::uint64_t> ids,
                      reader.uint_list("ple_layer_ids", 1, spec.layers.size()));
  if (ids.empty()) return Status();
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  FM_ASSIGN_OR_RETURN(NgramEmbeddingSpec embedding, read_ngram_embedding(reader, spec));
  if (ids.size() * embedding.ngrams.heads() > kNgramHeadsMax) {
    return contradiction(reader, "heads_per_ngram",
                         fmt::format("gives more than {} heads in all", kNgramHeadsMax));
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    embedding.ngrams.table_index = i;
    spec.layers[ids[i] - 1].embedding = embedding;
  }
  return Status();
}

Result<ModelSpec> read_qwen4_exp(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(ModelSpec spec, read_model_fields(reader));
  FM_ASSIGN_OR_RETURN(AttentionSpec attention, read_hybrid_attention(reader));
  FM_ASSIGN_OR_RETURN(attention.indexer, read_indexer(reader, attention));
  FM_ASSIGN_OR_RETURN(DeltaNetSpec delta_net, read_delta_net(reader));
  FM_ASSIGN_OR_RETURN(const std::string gate, reader.string_or("output_gate_type", "silu"));
  delta_net.has_sigmoid_gate = gate == "sigmoid";
  if (!delta_net.has_sigmoid_gate && gate != "silu") {
    return reader.reject(StatusCode::kUnsupported, "output_gate_type",
                         "supported are sigmoid and silu");
  }
  FM_ASSIGN_OR_RETURN(const MoeSpec moe, read_hybrid_experts(reader));
  FM_ASSIGN_OR_RETURN(spec.hyper_connection, read_hyper_connection(reader, spec.hidden_size));
  FM_ASSIGN_OR_RETURN(const std::size_t layer_count, read_layer_count(reader));
  FM_ASSIGN_OR_RETURN(const std::vector<bool> is_indexed, read_indexed_layers(reader, layer_count));
  for (const bool indexed : is_indexed) {
    LayerSpec& layer = spec.layers.emplace_back();
    layer.feed_forward = moe;
    if (indexed) {
      layer.mixer = attention;
    } else {
      layer.mixer = delta_net;
    }
  }
  FM_RETURN_IF_ERROR(add_ngram_embeddings(reader, spec));
  return spec;
}

/// Norms add 1 to what Hugging Face checkpoints hold; the one inside DeltaNet does not.
constexpr TensorRow kQwen4ExpTensors[] = {
    {TensorId::kQNorm, "model.layers.{layer}.self_attn.q_norm.weight", StoredAs::kZeroCentred},
    {TensorId::kKNorm, "model.layers.{layer}.self_attn.k_norm.weight", StoredAs::kZeroCentred},
    {TensorId::kIndexQNorm, "model.layers.{layer}.self_attn.indexer.q_layernorm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kIndexKNorm, "model.layers.{layer}.self_attn.indexer.k_layernorm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kMixerHyperNorm, "model.layers.{layer}.attn_hyper_connection.hc_norm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kFeedForwardHyperNorm, "model.layers.{layer}.mlp_hyper_connection.hc_norm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kFinalHyperNorm, "model.hyper_connection_mixer.hc_norm.weight",
     StoredAs::kZeroCentred},
    {TensorId::kNgramKeyNorm, "model.layers.{layer}.ple.norm_key.weight", StoredAs::kZeroCentred},
    {TensorId::kNgramQueryNorm, "model.layers.{layer}.ple.norm_query.weight",
     StoredAs::kZeroCentred},
    {TensorId::kNgramConvNorm, "model.layers.{layer}.ple.norm_conv.weight", StoredAs::kZeroCentred},
};

}  // namespace

const ModelFamily kQwen4Exp = {
    .model_type = "qwen4_exp",
    .also_called = "qwen4_exp_text",
    .tensors = TensorTable(kQwen4ExpTensors),
    .read_config = read_qwen4_exp,
};

}  // namespace flashmoe
