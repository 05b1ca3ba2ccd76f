#include "model/kv_cache.h"

#include <algorithm>
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

std::uint64_t KvCache::block_size() const {
  return layer_count_ * 2 * num_kv_heads_ * kKvBlock * head_dim_ * sizeof(float);
}

void KvCache::point_into(std::size_t index) {
  const std::size_t layer_size = num_kv_heads_ * kKvBlock * head_dim_;
  auto* const floats = reinterpret_cast<float*>(blocks_[index]->data());
  for (std::size_t layer = 0; layer < layer_count_; ++layer) {
    keys_[layer][index] = floats + (2 * layer) * layer_size;
    values_[layer][index] = floats + (2 * layer + 1) * layer_size;
  }
}

Status KvCache::reserve(std::size_t first, std::size_t end) {
  if (layer_count_ == 0) return Status();
  for (std::size_t i = first / kKvBlock; i < blocks_.size(); ++i) {
    if (blocks_[i].use_count() == 1) continue;
    FM_ASSIGN_OR_RETURN(KvBlock copy, AlignedBuffer::allocate(block_size()));
    std::memcpy(copy.data(), blocks_[i]->data(), copy.size());
    blocks_[i] = std::make_shared<KvBlock>(std::move(copy));
    point_into(i);
  }
  while (blocks_.size() * kKvBlock < end) {
    FM_ASSIGN_OR_RETURN(KvBlock block, AlignedBuffer::allocate(block_size()));
    append(std::make_shared<KvBlock>(std::move(block)));
  }
  return Status();
}

void KvCache::append(std::shared_ptr<KvBlock> block) {
  blocks_.push_back(std::move(block));
  for (std::size_t layer = 0; layer < layer_count_; ++layer) {
    keys_[layer].push_back(nullptr);
    values_[layer].push_back(nullptr);
  }
  point_into(blocks_.size() - 1);
}

void KvCache::adopt(std::vector<std::shared_ptr<KvBlock>> blocks) {
  FM_CHECK(blocks_.empty());
  for (std::shared_ptr<KvBlock>& block : blocks) {
    FM_CHECK(block->size() == block_size());
    append(std::move(block));
  }
}

void KvCache::truncate(std::size_t positions) {
  const std::size_t count = std::min((positions + kKvBlock - 1) / kKvBlock, blocks_.size());
  blocks_.resize(count);
  for (std::size_t layer = 0; layer < layer_count_; ++layer) {
    keys_[layer].resize(count);
    values_[layer].resize(count);
  }
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
