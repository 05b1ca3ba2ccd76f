#ifndef FLASHMOE_SYNTHESIS_H_
#define FLASHMOE_SYNTHESIS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "flashmoe/result.h"

namespace flashmoe {

/// What MLX's converter makes its shards of, at most.
inline constexpr std::uint64_t kShardBytesMax = std::uint64_t{5} << 30;

/// Which checkpoint to write. Its geometry is either a named one or that of a config.json.
struct SynthesisOptions {
  /// The model folder to be: absent, or empty; with `gguf`, the file to be, NAME.gguf, which must
  /// not exist. The folder it lies in must exist.
  std::filesystem::path folder;
  /// One of geometry_names(); or empty, with `config`.
  std::string like;
  /// A config.json of a family that this build runs; or empty, with `like`.
  std::filesystem::path config;
  std::size_t layers = 0;   // instead of the geometry's num_hidden_layers; 0: as it says
  std::size_t experts = 0;  // instead of the geometry's num_experts; 0: as it says
  std::uint64_t seed = 0;
  /// One of gguf_mixture_names(): a GGUF file whose tensors have the types that llama.cpp's
  /// quantiser gives them under that name. Empty: a folder.
  std::string gguf;
  /// The most tensor bytes of one file of a folder; a module is never split.
  std::uint64_t shard_bytes_max = kShardBytesMax;
  std::size_t threads = 0;  // 0: one for each core
  /// Called with tensor bytes written and to be written, from the calling thread. Returning false
  /// stops the synthesis.
  std::function<bool(std::uint64_t done, std::uint64_t total)> on_progress;
};

/// What a synthesis writes.
struct SynthesisSummary {
  std::string model_type;
  std::size_t layer_count = 0;
  std::size_t num_experts = 0;
  std::size_t tensor_count = 0;
  std::uint64_t tensor_bytes = 0;
  std::size_t file_count = 0;  // that hold tensors
};

/// "qwen3-coder-next", "qwen3-next-80b", "sprout".
std::vector<std::string_view> geometry_names();

/// "q4_k_m", "q8_0", "f16".
std::vector<std::string_view> gguf_mixture_names();

/// What synthesize_checkpoint() would write. Touches no disk but to read `config`. Errors:
/// kInvalidArgument for options that make no model; those of reading a config.json; kUnsupported
/// for a model that GGUF files cannot hold.
Result<SynthesisSummary> plan_synthesis(const SynthesisOptions& options);

/// Writes a checkpoint of the geometry with seeded pseudo-random weights, in the layout of an MLX
/// 4-bit conversion or as GGUF (docs/synthesis.md), and a tokenizer of single bytes. A tensor's
/// bytes depend on the seed, its module and its shape alone. Needs some 20 MiB of memory, whatever
/// the size. What is written takes its name when all of it is on disk; a failure leaves nothing
/// behind. Errors: those of plan_synthesis(); kInvalidArgument if the folder holds something or the
/// file exists; kIo for a disk that is too small, before anything is written, or fails; kCancelled.
Result<SynthesisSummary> synthesize_checkpoint(const SynthesisOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_H_
