#ifndef FLASHMOE_TENSOR_ROLE_H_
#define FLASHMOE_TENSOR_ROLE_H_

#include <cstdint>
#include <string_view>

namespace flashmoe {

/// What a tensor is for.
enum class TensorRole : std::uint8_t {
  kEmbedding,
  kLmHead,
  kNorm,  // of layers; those inside a mixer belong to the mixer
  kAttention,
  kDeltaNet,
  kDenseMlp,
  kRouter,
  kSharedExpert,
  kRoutedExperts,
  kHyperConnection,  // how layers hang on a residual of several streams
  kNgramEmbedding,   // what is made of n-grams' rows
  kNgramTable,       // those rows, which stay on disk
  kUnused,           // in the files, but nothing that this engine computes with
};

/// "embedding", "lm_head", "norm", "attention", "deltanet", "dense_mlp", "router", "shared_expert",
/// "routed_experts", "hyper_connection", "ngram_embedding", "ngram_table", "unused".
std::string_view to_string(TensorRole role);

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_ROLE_H_
