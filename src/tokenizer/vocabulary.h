#ifndef FLASHMOE_TOKENIZER_VOCABULARY_H_
#define FLASHMOE_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// The tokens of the model, by id and by bytes. Immutable once built.
class Vocabulary {
 public:
  /// Ids stay below this; the largest real vocabularies have 260,000. Bounds the tables by id.
  static constexpr TokenId kIdEnd = 1 << 22;

  struct Token {
    std::string_view bytes;
    TokenId id = 0;
    bool matches_text = true;  // find() may return it
  };

  /// `tokens` in any order. Errors: kCorrupt for an id out of range or used twice, and for bytes
  /// that occur twice among the tokens that match text.
  static Result<Vocabulary> build(const std::vector<Token>& tokens);

  /// One more than the highest id. Ids in between may be unused.
  std::size_t size() const { return starts_.empty() ? 0 : starts_.size() - 1; }

  bool contains(TokenId id) const {
    return id >= 0 && static_cast<std::size_t>(id) < size() && used_[static_cast<std::size_t>(id)];
  }

  /// The bytes of a token it contains.
  std::string_view bytes(TokenId id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(text_).substr(starts_[i], starts_[i + 1] - starts_[i]);
  }

  std::optional<TokenId> find(std::string_view bytes) const;

 private:
  static constexpr TokenId kEmptySlot = -1;

  std::string text_;                   // all tokens, by id
  std::vector<std::uint32_t> starts_;  // [size + 1]
  std::vector<bool> used_;             // [size]
  std::vector<TokenId> slots_;         // open addressing by hash_bytes
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_VOCABULARY_H_
