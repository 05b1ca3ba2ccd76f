#include "engine/text_stream.h"

#include <algorithm>
#include <utility>

namespace flashmoe {

TextStream::TextStream(const Tokenizer* tokenizer, StopMatcher matcher,
                       std::vector<std::int32_t> markup)
    : tokenizer_(tokenizer), matcher_(std::move(matcher)), markup_(std::move(markup)) {
  if (tokenizer != nullptr) {
    detokenizer_.emplace(*tokenizer, DecodeOptions{.skip_special_tokens = true, .kept = markup_});
  }
}

Result<std::string> TextStream::push(std::int32_t id) {
  std::string piece;
  // Models pad their vocabulary: rows that are no token can win, and stand for no text.
  if (detokenizer_ && tokenizer_->is_token(id)) {
    FM_RETURN_IF_ERROR(detokenizer_->push(id, piece));
  }
  size_ += piece.size();
  std::string certain;
  matcher_.push(piece, certain);
  // Any other special token is no part of the text, but a stop string may name it.
  if (detokenizer_ && tokenizer_->is_token(id) && tokenizer_->is_special(id) &&
      std::ranges::find(markup_, id) == markup_.end()) {
    FM_ASSIGN_OR_RETURN(const std::string mark, tokenizer_->id_to_bytes(id));
    matcher_.push_hidden(mark, certain);
  }
  return certain;
}

std::string TextStream::finish() {
  std::string piece;
  if (detokenizer_) detokenizer_->finish(piece);
  std::string certain;
  matcher_.push(piece, certain);
  if (!matcher_.match()) matcher_.finish(certain);
  return certain;
}

}  // namespace flashmoe
