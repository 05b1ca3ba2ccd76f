#ifndef FLASHMOE_MODEL_KV_CACHE_H_
#define FLASHMOE_MODEL_KV_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "model/model_config.h"

namespace flashmoe {

/// Keys and values of one sequence, for every attention layer, in blocks of kKvBlock positions that
/// are allocated as the sequence grows. One block holds, per attention layer, keys [num_kv_heads,
/// kKvBlock, head_dim] and values likewise, f32.
class KvCache {
 public:
  explicit KvCache(const ModelConfig& config);

  /// Bytes of the blocks for `positions` positions.
  static std::uint64_t size_for(const ModelConfig& config, std::size_t positions);

  /// Makes room for positions 0 ..< positions. Errors: kIo if memory cannot be had.
  Status reserve(std::size_t positions);

  /// Writes one position of one layer. key, value: [num_kv_heads * head_dim].
  void store(std::size_t attention_layer, std::size_t position, const float* key,
             const float* value);

  /// Block pointers of one layer as AttentionRow wants them; valid until the next reserve().
  const float* const* key_blocks(std::size_t attention_layer) const;
  const float* const* value_blocks(std::size_t attention_layer) const;

 private:
  std::size_t num_kv_heads_;
  std::size_t head_dim_;
  std::size_t layer_count_;
  std::vector<AlignedBuffer> blocks_;
  std::vector<std::vector<float*>> keys_;    // [layer][block]
  std::vector<std::vector<float*>> values_;  // [layer][block]
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_KV_CACHE_H_
