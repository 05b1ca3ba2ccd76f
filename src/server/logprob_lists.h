#ifndef FLASHMOE_SERVER_LOGPROB_LISTS_H_
#define FLASHMOE_SERVER_LOGPROB_LISTS_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "server/reply_writer.h"

namespace flashmoe::server {

/// A token as completions write it: its text, or "bytes:\xe6\x98" where it is no whole character,
/// so that different tokens have different names.
std::string completion_token(std::string_view bytes);

/// Counts the characters of a text as dump() writes it, where each byte that begins no character,
/// or one that does not go on, becomes a U+FFFD. The text comes in parts, cut anywhere.
class CharacterCount {
 public:
  /// The character, from 0, within which `text` begins if it comes next.
  std::size_t place_of(std::string_view text) const;
  void add(std::string_view text);
  /// What comes next begins a character.
  void end_character() { missing_ = 0; }

 private:
  /// Whether `c` is of the character that has begun.
  bool goes_on(char c) const;

  std::size_t count_ = 0;       // that have begun
  int missing_ = 0;             // bytes of the last one
  unsigned char least_ = 0x80;  // the next of them
  unsigned char most_ = 0xBF;
};

/// The logprobs of a choice as completions have them: four lists that go side by side, one entry
/// for each token. They are kept as JSON's text, which grows: the tree of a long prompt's would
/// take many times the memory.
class LogprobLists {
 public:
  void add(const TokenInfo& token);
  /// Begins lists anew. Offsets go on.
  void clear();
  /// The tokens that come are behind those of `before`, in a text of their own.
  void go_on_after(const LogprobLists& before);
  /// Appends the object of all that `before` has and this; `before` may be null.
  void append(const LogprobLists* before, std::string& out) const;

 private:
  std::string tokens_;
  std::string token_logprobs_;
  std::string top_logprobs_;
  std::string text_offsets_;
  CharacterCount characters_;
  bool is_in_prompt_ = false;
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_LOGPROB_LISTS_H_
