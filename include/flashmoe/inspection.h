#ifndef FLASHMOE_INSPECTION_H_
#define FLASHMOE_INSPECTION_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/engine.h"
#include "flashmoe/memory_plan.h"
#include "flashmoe/result.h"
#include "flashmoe/tensor_role.h"

namespace flashmoe {

/// One tensor of the checkpoint's files.
struct InspectedTensor {
  std::string name;
  TensorRole role = TensorRole::kUnused;
  std::string format;  // of the matrix it is part of: "affine 4-bit g64", "BF16"
  std::string dtype;   // of its own elements, by its safetensors name
  std::vector<std::uint64_t> shape;
  std::uint64_t size_bytes = 0;
  std::string file;  // without its folder
};

/// The tensors of one role that are stored alike.
struct TensorGroup {
  TensorRole role = TensorRole::kUnused;
  std::string format;
  std::size_t tensor_count = 0;
  std::uint64_t size_bytes = 0;
};

/// What config.json says, beyond ModelInfo.
struct ModelArchitecture {
  std::size_t full_attention_layers = 0;
  std::size_t sliding_attention_layers = 0;  // attention that looks back to a window
  std::size_t latent_attention_layers = 0;
  std::size_t linear_attention_layers = 0;
  std::size_t moe_layers = 0;
  std::size_t num_attention_heads = 0;
  std::size_t num_key_value_heads = 0;  // of full attention; without any, of sliding attention
  std::size_t head_dim = 0;
  std::size_t sliding_window = 0;  // of sliding attention, as the next two
  std::size_t sliding_num_key_value_heads = 0;
  std::size_t sliding_head_dim = 0;
  std::size_t kv_lora_rank = 0;  // of latent attention, as the next
  std::size_t qk_rope_head_dim = 0;
  std::size_t indexer_num_heads = 0;  // of full attention that looks at a part, as the next three
  std::size_t indexer_head_dim = 0;
  std::size_t indexer_budget = 0;          // positions that it looks at
  std::size_t indexer_compress_ratio = 0;  // positions that are chosen together
  std::size_t ngram_embedding_layers = 0;  // that a table of n-grams adds to
  std::size_t ngram_rows_per_token = 0;    // which each of these reads from disk
  std::size_t linear_num_key_heads = 0;
  std::size_t linear_num_value_heads = 0;
  std::size_t linear_key_head_dim = 0;
  std::size_t linear_value_head_dim = 0;
  std::size_t moe_intermediate_size = 0;
  std::size_t shared_expert_intermediate_size = 0;
  std::size_t max_position_embeddings = 0;
  bool tie_word_embeddings = false;
};

/// Everything about a model that its files tell, but for its weights.
struct ModelInspection {
  ModelInfo info;
  ModelArchitecture architecture;
  std::uint64_t parameter_count = 0;         // weights that the model computes with
  std::uint64_t active_parameter_count = 0;  // of them, those that one token meets
  std::string layout;                        // whose names: "hugging_face", "mlx" or "gguf"
  bool has_tokenizer = false;
  std::size_t file_count = 0;            // that hold tensors
  std::string format;                    // of most of the bytes
  std::vector<TensorGroup> groups;       // by role, larger ones first
  std::vector<InspectedTensor> tensors;  // by name
  std::uint64_t ngram_table_bytes = 0;   // that stay on disk, read by rows
  std::uint64_t expert_bytes = 0;        // one routed expert in the files, of the largest layer
  /// The sizes of experts in memory, with slots for all of them.
  std::vector<ExpertSlotClass> expert_classes;
  std::uint64_t kv_bytes_per_token = 0;
  MemoryPlan minimum;                   // at the smallest budget that works
  std::uint64_t request_bytes_min = 0;  // beside that, for a server with this context
  /// What each budget holds, smallest first: the minimum, round sizes, the one from which every
  /// expert stays in memory, and those asked for. Below budget_bytes_min a budget does not work.
  std::vector<MemoryPlan> plans;
};

struct InspectOptions {
  std::filesystem::path model;
  std::size_t context = 0;        // as in EngineOptions
  std::size_t prefill_chunk = 0;  // as in EngineOptions
  KvPrecision kv_precision = KvPrecision::kF32;
  std::vector<std::uint64_t> budgets;  // more of them to plan for
};

/// Reads the headers of a model folder and its tokenizer, never its weights. Errors: those of
/// Engine::open that these show; kInvalidArgument for a context beyond the model's. A chat template
/// that cannot be used is among the warnings.
Result<ModelInspection> inspect_model(const InspectOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_INSPECTION_H_
