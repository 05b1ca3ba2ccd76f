#ifndef FLASHMOE_MODEL_KV_CACHE_H_
#define FLASHMOE_MODEL_KV_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "model/model_config.h"

namespace flashmoe {

/// Keys and values of kKvBlock positions: per attention layer keys [num_kv_heads, kKvBlock,
/// head_dim], then values likewise, f32.
using KvBlock = AlignedBuffer;

/// Keys and values of one sequence, for every attention layer, in blocks that are allocated as the
/// sequence grows. Copies of a cache share its blocks; a block is copied before one of them writes
/// to it. Threads: caches that share blocks are one thread's.
class KvCache {
 public:
  explicit KvCache(const ModelConfig& config);

  /// Bytes of the blocks for `positions` positions.
  static std::uint64_t size_for(const ModelConfig& config, std::size_t positions);

  /// Makes room for positions 0 ..< end, of which those from `first` on are going to be written.
  /// Errors: kIo if memory cannot be had.
  Status reserve(std::size_t first, std::size_t end);

  /// Lets go of the blocks that positions 0 ..< positions do not need.
  void truncate(std::size_t positions);

  /// Takes these blocks, each of block_size() bytes, in order of positions; there are none yet.
  void adopt(std::vector<std::shared_ptr<KvBlock>> blocks);
  std::uint64_t block_size() const;

  /// The blocks so far, in order of positions.
  std::span<const std::shared_ptr<KvBlock>> blocks() const { return blocks_; }

  /// Writes one position of one layer. key, value: [num_kv_heads * head_dim].
  void store(std::size_t attention_layer, std::size_t position, const float* key,
             const float* value);

  /// Block pointers of one layer as AttentionRow wants them; valid until the next reserve().
  const float* const* key_blocks(std::size_t attention_layer) const;
  const float* const* value_blocks(std::size_t attention_layer) const;

 private:
  /// Points keys_ and values_ of block `index` into blocks_[index].
  void point_into(std::size_t index);
  void append(std::shared_ptr<KvBlock> block);

  std::size_t num_kv_heads_;
  std::size_t head_dim_;
  std::size_t layer_count_;
  std::vector<std::shared_ptr<KvBlock>> blocks_;
  std::vector<std::vector<float*>> keys_;    // [layer][block]
  std::vector<std::vector<float*>> values_;  // [layer][block]
};

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_KV_CACHE_H_
