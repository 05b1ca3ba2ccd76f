#ifndef FLASHMOE_TOKENIZER_PIECE_CACHE_H_
#define FLASHMOE_TOKENIZER_PIECE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tokenizer/byte_hash.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// Remembers the ids of short pieces of text, which are most of any text: " the" is merged once. A
/// fixed table of one cache line per piece; a newcomer replaces whatever has its place. Not
/// thread-safe: each thread that encodes borrows one (encode_workspace.h).
class PieceCache {
 public:
  static constexpr std::size_t kPieceSizeMax = 34;
  static constexpr std::size_t kIdCountMax = 7;

  PieceCache() : entries_(kEntryCount) {}

  /// The ids of `piece` (not empty), if it is remembered. Valid until the next put().
  std::optional<std::span<const TokenId>> get(std::string_view piece) const {
    if (piece.size() > kPieceSizeMax) return std::nullopt;
    const Entry& entry = entries_[index_of(piece)];
    if (entry.piece_size != piece.size()) return std::nullopt;
    if (std::memcmp(entry.piece, piece.data(), piece.size()) != 0) return std::nullopt;
    return std::span<const TokenId>(entry.ids, entry.id_count);
  }

  /// Remembers `ids` of `piece`, if they are short enough.
  void put(std::string_view piece, std::span<const TokenId> ids) {
    if (piece.size() > kPieceSizeMax || ids.size() > kIdCountMax) return;
    Entry& entry = entries_[index_of(piece)];
    entry.piece_size = static_cast<std::uint8_t>(piece.size());
    entry.id_count = static_cast<std::uint8_t>(ids.size());
    std::memcpy(entry.piece, piece.data(), piece.size());
    std::memcpy(entry.ids, ids.data(), ids.size_bytes());
  }

 private:
  static constexpr std::size_t kEntryCount = std::size_t{1} << 14;  // 1 MiB

  struct alignas(64) Entry {
    std::uint8_t piece_size = 0;  // 0: empty
    std::uint8_t id_count = 0;
    char piece[kPieceSizeMax] = {};
    TokenId ids[kIdCountMax] = {};
  };
  static_assert(sizeof(Entry) == 64);

  static std::size_t index_of(std::string_view piece) {
    return reduce_hash(hash_bytes(piece), kEntryCount);
  }

  std::vector<Entry> entries_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_PIECE_CACHE_H_
