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

/// The logprobs of a choice as completions have them: four lists that go side by side, one entry
/// for each token. They are kept as JSON's text, which grows: the tree of a long prompt's would
/// take many times the memory.
class LogprobLists {
 public:
  void add(const TokenInfo& token);
  /// The object of what was added since the last time, and begins lists anew. Offsets go on.
  std::string take();

 private:
  std::string tokens_;
  std::string token_logprobs_;
  std::string top_logprobs_;
  std::string text_offsets_;
  std::size_t characters_ = 0;  // that have begun
};

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_LOGPROB_LISTS_H_
