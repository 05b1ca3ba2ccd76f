#ifndef FLASHMOE_TOKENIZER_MERGE_TABLE_H_
#define FLASHMOE_TOKENIZER_MERGE_TABLE_H_

#include <cstdint>
#include <vector>

#include "tokenizer/byte_hash.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// Which pairs of tokens merge into which token, and how early. Immutable once filled.
class MergeTable {
 public:
  static constexpr std::uint32_t kNoRank = UINT32_MAX;

  struct Merge {
    std::uint32_t rank = kNoRank;  // lower merges first; kNoRank: the pair does not merge
    TokenId result = 0;
  };

  /// For `count` merges at most.
  explicit MergeTable(std::size_t count = 0)
      : slots_(count + count / 2 + 1), filter_(count / 8 + 1) {}

  /// A pair that is already there gets the new merge.
  void insert(TokenId left, TokenId right, Merge merge) {
    const std::uint64_t key = key_of(left, right);
    const std::uint64_t hash = mix_bits(key);
    filter_[reduce_hash(hash, filter_.size())] |= bit_of(hash);
    slots_[find_slot(key, hash)] = {.key = key, .merge = merge};
  }

  Merge find(TokenId left, TokenId right) const {
    const std::uint64_t key = key_of(left, right);
    const std::uint64_t hash = mix_bits(key);
    if ((filter_[reduce_hash(hash, filter_.size())] & bit_of(hash)) == 0) return Merge();
    return slots_[find_slot(key, hash)].merge;
  }

 private:
  static constexpr std::uint64_t kEmptyKey = UINT64_MAX;

  struct Slot {
    std::uint64_t key = kEmptyKey;
    Merge merge;
  };

  static std::uint64_t key_of(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }

  static std::uint64_t bit_of(std::uint64_t hash) { return std::uint64_t{1} << (hash >> 58); }

  // The slot that holds `key`, or the empty one where it would go.
  std::size_t find_slot(std::uint64_t key, std::uint64_t hash) const {
    std::size_t slot = reduce_hash(hash, slots_.size());
    while (slots_[slot].key != key && slots_[slot].key != kEmptyKey) {
      if (++slot == slots_.size()) slot = 0;
    }
    return slot;
  }

  std::vector<Slot> slots_;  // open addressing, two thirds full
  // Eight bits per merge, one of them set by it. Most pairs asked for do not merge, and this says
  // so from memory that stays in the CPU's cache: encoding Chinese with gpt-oss gains 45 %, English
  // 5 %.
  std::vector<std::uint64_t> filter_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_MERGE_TABLE_H_
