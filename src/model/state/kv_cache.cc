#include "model/state/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/ops.h"

namespace flashmoe {

KvCache::KvCache(const StateLayout& layout)
    : layout_(&layout),
      groups_(layout.groups().size()),
      pointers_(layout.layers().size() * kPositionParts) {}

std::size_t KvCache::first_block(std::size_t window, std::size_t position) {
  return first_in_window(window, position) / kKvBlock;
}

/// Lets the layers of a group see block `index` of it, or that it is gone.
void KvCache::point_into(std::size_t group, std::size_t index) {
  const std::shared_ptr<KvBlock>& block = groups_[group][index];
  for (std::size_t i = 0; i < layout_->layers().size(); ++i) {
    const StateLayout::Layer& layer = layout_->layers()[i];
    if (!layer.has_positions || layer.group != group) continue;
    for (std::size_t part = 0; part < kPositionParts; ++part) {
      std::vector<void*>& pointers = pointers_[i * kPositionParts + part];
      pointers.resize(groups_[group].size());
      pointers[index] = block == nullptr ? nullptr : block->data() + layer.block_offset[part];
    }
  }
}

/// Lets the layers of a group see all blocks of it, however many there were.
void KvCache::point_into_all(std::size_t group) {
  for (std::size_t i = 0; i < layout_->layers().size(); ++i) {
    const StateLayout::Layer& layer = layout_->layers()[i];
    if (!layer.has_positions || layer.group != group) continue;
    for (std::size_t part = 0; part < kPositionParts; ++part) {
      pointers_[i * kPositionParts + part].clear();
    }
  }
  for (std::size_t i = 0; i < groups_[group].size(); ++i) point_into(group, i);
}

void KvCache::drop_passed(std::size_t position) {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const std::size_t needed = first_block(layout_->groups()[g].window, position);
    for (std::size_t i = 0; i < std::min(needed, groups_[g].size()); ++i) {
      if (groups_[g][i] == nullptr) continue;
      groups_[g][i] = nullptr;
      point_into(g, i);
    }
  }
}

Status KvCache::reserve(std::size_t first, std::size_t end) {
  drop_passed(first);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const StateLayout::Group& group = layout_->groups()[g];
    Blocks& blocks = groups_[g];
    for (std::size_t i = first / kKvBlock; i < blocks.size(); ++i) {
      if (blocks[i].use_count() == 1) continue;
      FM_ASSIGN_OR_RETURN(KvBlock copy, AlignedBuffer::allocate(group.block_bytes));
      std::memcpy(copy.data(), blocks[i]->data(), copy.size());
      blocks[i] = std::make_shared<KvBlock>(std::move(copy));
      point_into(g, i);
    }
    while (blocks.size() * kKvBlock < end) {
      FM_ASSIGN_OR_RETURN(KvBlock block, AlignedBuffer::allocate(group.block_bytes));
      blocks.push_back(std::make_shared<KvBlock>(std::move(block)));
      point_into(g, blocks.size() - 1);
    }
  }
  return Status();
}

void KvCache::adopt(std::vector<Blocks> groups) {
  FM_CHECK(groups.size() == groups_.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    FM_CHECK(groups_[g].empty());
    groups_[g] = std::move(groups[g]);
    for (std::size_t i = 0; i < groups_[g].size(); ++i) {
      const std::shared_ptr<KvBlock>& block = groups_[g][i];
      FM_CHECK(block == nullptr || block->size() == layout_->groups()[g].block_bytes);
      point_into(g, i);
    }
  }
}

void KvCache::truncate(std::size_t positions) {
  const std::size_t count = (positions + kKvBlock - 1) / kKvBlock;
  for (Blocks& blocks : groups_) blocks.resize(std::min(count, blocks.size()));
  for (std::vector<void*>& pointers : pointers_) {
    pointers.resize(std::min(count, pointers.size()));
  }
}

std::vector<KvCache::Blocks> KvCache::windows(std::size_t position) const {
  std::vector<Blocks> windows(groups_.size());
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const std::size_t window = layout_->groups()[g].window;
    if (window == 0) continue;
    windows[g] = groups_[g];
    windows[g].resize(std::min((position + kKvBlock - 1) / kKvBlock, windows[g].size()));
    const std::size_t passed = std::min(first_block(window, position), windows[g].size());
    std::fill_n(windows[g].begin(), passed, nullptr);
  }
  return windows;
}

void KvCache::restore(std::span<const Blocks> windows) {
  for (std::size_t g = 0; g < windows.size(); ++g) {
    if (layout_->groups()[g].window == 0) continue;
    groups_[g] = windows[g];
    point_into_all(g);
  }
}

void KvCache::rewind() {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (layout_->groups()[g].window == 0) continue;
    groups_[g].clear();
    point_into_all(g);
  }
}

std::vector<const KvBlock*> KvCache::held_blocks() const {
  std::vector<const KvBlock*> held;
  for (const Blocks& blocks : groups_) {
    for (const std::shared_ptr<KvBlock>& block : blocks) {
      if (block != nullptr) held.push_back(block.get());
    }
  }
  return held;
}

}  // namespace flashmoe
