#ifndef FLASHMOE_ENGINE_TEXT_STREAM_H_
#define FLASHMOE_ENGINE_TEXT_STREAM_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/stop_matcher.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {

/// Turns generated tokens into text as they come, and notices stop strings. Without a tokenizer
/// there is no text. One thread at a time.
class TextStream {
 public:
  /// `tokenizer` may be null; else it must outlive this. `markup`: see GenerationRequest.
  TextStream(const Tokenizer* tokenizer, StopMatcher matcher,
             std::vector<std::int32_t> markup = {});

  /// The text that is certain now that `id` has come: whole characters, and nothing that may yet
  /// become part of a stop string.
  Result<std::string> push(std::int32_t id);

  /// What was held back; nothing if a stop string ended the text.
  std::string finish();

  /// Bytes of text so far, with what is held back for stop strings, but whole characters only.
  std::size_t size() const { return size_; }

  /// The stop string that ended the text, as an index into those of the matcher.
  std::optional<std::size_t> stop_text() const { return matcher_.match(); }

 private:
  const Tokenizer* tokenizer_ = nullptr;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher matcher_;
  std::vector<std::int32_t> markup_;
  std::size_t size_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_TEXT_STREAM_H_
