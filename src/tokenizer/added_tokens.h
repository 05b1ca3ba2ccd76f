#ifndef FLASHMOE_TOKENIZER_ADDED_TOKENS_H_
#define FLASHMOE_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/json_node.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// One entry of "added_tokens": a text that becomes one id as a whole.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only between characters that belong to no word
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space behind it
  bool normalized = true;    // looked for in normalised text
  bool special = false;      // left out by skip_special_tokens

  /// Reads the array. Errors: kCorrupt for wrong types, ids out of range, and contradicting
  /// entries.
  static Result<std::vector<AddedToken>> list_from_json(const JsonNode& node);
};

/// Finds added tokens in text: the leftmost, the longest of those, and so on behind it. Immutable.
class AddedTokenFinder {
 public:
  /// A stretch of the text: an added token, or what lies between two.
  struct Section {
    std::size_t begin = 0;
    std::size_t end = 0;
    const AddedToken* token = nullptr;
  };

  AddedTokenFinder() = default;

  /// `contents[i]` is how tokens[i] looks in the text. The tokens must outlive this.
  AddedTokenFinder(std::vector<const AddedToken*> tokens, const std::vector<std::string>& contents);

  /// Cuts `text` (valid UTF-8) into sections and appends them to `out`. Tokens for which
  /// `skip_special` holds and that are special count as text.
  void split(std::string_view text, bool skip_special, std::vector<Section>& out) const;

 private:
  struct Entry {
    std::string content;
    const AddedToken* token = nullptr;
  };

  const Entry* longest_at(std::string_view text) const;

  std::vector<Entry> entries_;  // by content
  std::array<bool, 256> first_bytes_{};
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_ADDED_TOKENS_H_
