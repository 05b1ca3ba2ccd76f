#ifndef FLASHMOE_SYNTHESIS_GGUF_MIXTURE_H_
#define FLASHMOE_SYNTHESIS_GGUF_MIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/tensor_table.h"
#include "tensor/ggml_type.h"

namespace flashmoe {

/// Which types the tensors of a GGUF file have, as llama.cpp's quantiser mixes them under one name.
/// Source: llama.cpp src/llama-quant.cpp, llama_tensor_get_type().
struct GgufMixture {
  std::string_view name;              // "q4_k_m"
  std::uint32_t file_type = 0;        // general.file_type
  std::string_view type;              // of most matrices
  bool is_mixed = false;              // some matrices have more bits
  std::string_view expert_type = {};  // of stacks of matrices; empty: that of the others
};

/// Errors: kInvalidArgument, naming those that there are.
Result<const GgufMixture*> find_gguf_mixture(std::string_view name);

/// What the choice of a matrix's type depends on beside the matrix.
struct MixtureContext {
  std::size_t layer_count = 0;
  std::size_t num_experts = 0;
  bool is_tied = false;           // the embedding is lm_head
  std::size_t value_count = 0;    // matrices that make values, in all layers,
  std::size_t values_before = 0;  // and in those before this one
};

/// Whether a matrix makes values, alone or with queries and keys.
bool makes_values(TensorId id);

/// The type of a tensor of `shape`, outermost dimension first.
const GgmlType& type_in_mixture(const GgufMixture& mixture, TensorId id, std::size_t layer,
                                std::span<const std::uint64_t> shape,
                                const MixtureContext& context);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_GGUF_MIXTURE_H_
