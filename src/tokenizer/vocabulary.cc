#include "tokenizer/vocabulary.h"

#include <algorithm>

#include "base/units.h"
#include "base/utf8.h"
#include "tokenizer/byte_hash.h"

namespace flashmoe {

Result<Vocabulary> Vocabulary::build(const std::vector<Token>& tokens) {
  TokenId id_max = -1;
  std::size_t byte_count = 0;
  for (const Token& token : tokens) {
    if (token.id < 0 || token.id >= kIdEnd) {
      return error(StatusCode::kCorrupt, "token {}: id {} is not in [0, {})",
                   quote_bytes(token.bytes), token.id, kIdEnd);
    }
    id_max = std::max(id_max, token.id);
    byte_count += token.bytes.size();
  }
  if (byte_count > UINT32_MAX) {
    return error(StatusCode::kCorrupt, "the tokens are {} long together", format_size(byte_count));
  }

  Vocabulary vocabulary;
  const auto id_count = static_cast<std::size_t>(id_max) + 1;
  std::vector<const Token*> by_id(id_count, nullptr);
  for (const Token& token : tokens) {
    const Token*& entry = by_id[static_cast<std::size_t>(token.id)];
    if (entry != nullptr) {
      return error(StatusCode::kCorrupt, "tokens {} and {} have the same id {}",
                   quote_bytes(entry->bytes), quote_bytes(token.bytes), token.id);
    }
    entry = &token;
  }
  vocabulary.text_.reserve(byte_count);
  vocabulary.starts_.reserve(id_count + 1);
  vocabulary.used_.resize(id_count);
  for (std::size_t id = 0; id < id_count; ++id) {
    vocabulary.starts_.push_back(static_cast<std::uint32_t>(vocabulary.text_.size()));
    if (by_id[id] == nullptr) continue;
    vocabulary.used_[id] = true;
    vocabulary.text_ += by_id[id]->bytes;
  }
  vocabulary.starts_.push_back(static_cast<std::uint32_t>(vocabulary.text_.size()));

  vocabulary.slots_.assign(tokens.size() * 2 + 1, kEmptySlot);
  for (const Token& token : tokens) {
    if (!token.matches_text) continue;
    std::size_t slot = reduce_hash(hash_bytes(token.bytes), vocabulary.slots_.size());
    while (vocabulary.slots_[slot] != kEmptySlot) {
      if (vocabulary.bytes(vocabulary.slots_[slot]) == token.bytes) {
        return error(StatusCode::kCorrupt, "ids {} and {} are the same token {}",
                     vocabulary.slots_[slot], token.id, quote_bytes(token.bytes));
      }
      if (++slot == vocabulary.slots_.size()) slot = 0;
    }
    vocabulary.slots_[slot] = token.id;
  }
  return vocabulary;
}

std::optional<TokenId> Vocabulary::find(std::string_view bytes) const {
  if (slots_.empty()) return std::nullopt;
  std::size_t slot = reduce_hash(hash_bytes(bytes), slots_.size());
  while (slots_[slot] != kEmptySlot) {
    if (this->bytes(slots_[slot]) == bytes) return slots_[slot];
    if (++slot == slots_.size()) slot = 0;
  }
  return std::nullopt;
}

}  // namespace flashmoe
