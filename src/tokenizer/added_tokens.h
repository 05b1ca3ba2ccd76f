#ifndef FLASHMOE_TOKENIZER_ADDED_TOKENS_H_
#define FLASHMOE_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flashmoe/chat_prompt.h"
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

  /// Whether it says something to the model. The others are runs of blanks, a vocabulary's way to
  /// write text shorter.
  bool is_control() const;

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
  /// `skip_special` holds and that are special count as text, and so do control tokens that touch
  /// one of the `quoted` spans, which are in order: where a longer token does, a shorter one that
  /// ends before the span is found.
  void split(std::string_view text, bool skip_special, std::span<const TextSpan> quoted,
             std::vector<Section>& out) const;
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry {
    std::string content;
    const AddedToken* token = nullptr;
    bool is_control = true;  // see AddedToken::is_control()
  };

  /// The longest that `text` begins with; of control tokens, within its first `control_size` bytes.
  const Entry* longest_at(std::string_view text, std::size_t control_size) const;

  std::vector<Entry> entries_;  // by content
  std::array<bool, 256> first_bytes_{};
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_ADDED_TOKENS_H_
