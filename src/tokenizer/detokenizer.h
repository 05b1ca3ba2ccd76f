#ifndef FLASHMOE_TOKENIZER_DETOKENIZER_H_
#define FLASHMOE_TOKENIZER_DETOKENIZER_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/utf8.h"
#include "tokenizer/token_id.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {

/// Ids of one text to UTF-8, as they come. What push() and finish() append is always whole code
/// points, and together the same as Tokenizer::decode of all ids. One thread at a time.
class Detokenizer {
 public:
  /// `tokenizer` must outlive this.
  explicit Detokenizer(const Tokenizer& tokenizer, const DecodeOptions& options = {});

  /// Appends to `out` what is certain now that `id` has come; at most three bytes are held back.
  /// Error: kInvalidArgument if it is no token; nothing is appended then.
  Status push(TokenId id, std::string& out);

  /// Appends what is still held back. Afterwards a new text may begin.
  void finish(std::string& out);

 private:
  void drop_leading(std::size_t begin, std::string& out);

  const Tokenizer& tokenizer_;
  DecodeOptions options_;
  Utf8Repairer repairer_;
  std::size_t leading_left_ = 0;  // repetitions still to drop from the beginning of the text
  std::string bytes_;             // of the current token
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_DETOKENIZER_H_
