#include "model/kv_cache.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/ops.h"

namespace flashmoe {
namespace {

/// Floats of the keys (or values) of one layer in one block.
std::size_t layer_block_size(const AttentionConfig& attention) {
  return attention.num_kv_heads * kKvBlock * attention.head_dim;
}

}  // namespace

KvCache::KvCache(const ModelConfig& config)
    : num_kv_heads_(config.attention.num_kv_heads),
      head_dim_(config.attention.head_dim),
      layer_count_(config.count(MixerKind::kFullAttention)),
      keys_(layer_count_),
      values_(layer_count_) {}

std::uint64_t KvCache::size_for(const ModelConfig& config, std::size_t positions) {
  const std::uint64_t block_count = (positions + kKvBlock - 1) / kKvBlock;
  return block_count * config.count(MixerKind::kFullAttention) * 2 *
         layer_block_size(config.attention) * sizeof(float);
}

Status KvCache::reserve(std::size_t positions) {
  if (layer_count_ == 0) return Status();
  const std::size_t layer_size = num_kv_heads_ * kKvBlock * head_dim_;
  while (blocks_.size() * kKvBlock < positions) {
    FM_ASSIGN_OR_RETURN(AlignedBuffer block,
                        AlignedBuffer::allocate(layer_count_ * 2 * layer_size * sizeof(float)));
    auto* floats = reinterpret_cast<float*>(block.data());
    for (std::size_t layer = 0; layer < layer_count_; ++layer) {
      keys_[layer].push_back(floats + (2 * layer) * layer_size);
      values_[layer].push_back(floats + (2 * layer + 1) * layer_size);
    }
    blocks_.push_back(std::move(block));
  }
  return Status();
}

void KvCache::store(std::size_t attention_layer, std::size_t position, const float* key,
                    const float* value) {
  const std::size_t block = position / kKvBlock;
  const std::size_t slot = position % kKvBlock;
  FM_CHECK(block < blocks_.size());
  float* const keys = keys_[attention_layer][block];
  float* const values = values_[attention_layer][block];
  for (std::size_t head = 0; head < num_kv_heads_; ++head) {
    const std::size_t at = (head * kKvBlock + slot) * head_dim_;
    std::memcpy(keys + at, key + head * head_dim_, head_dim_ * sizeof(float));
    std::memcpy(values + at, value + head * head_dim_, head_dim_ * sizeof(float));
  }
}

const float* const* KvCache::key_blocks(std::size_t attention_layer) const {
  return keys_[attention_layer].data();
}

const float* const* KvCache::value_blocks(std::size_t attention_layer) const {
  return values_[attention_layer].data();
}

}  // namespace flashmoe
