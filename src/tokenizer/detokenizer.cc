#include "tokenizer/detokenizer.h"

#include <algorithm>

#include "tokenizer/tokenizer_state.h"

namespace flashmoe {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, const DecodeOptions& options)
    : tokenizer_(tokenizer),
      options_(options),
      leading_left_(tokenizer.state_->decoder.leading_count()) {}

Status Detokenizer::push(TokenId id, std::string& out) {
  const Tokenizer::State& state = *tokenizer_.state_;
  FM_RETURN_IF_ERROR(state.check_id(id));
  const AddedToken* added = state.find_added(id);
  if (added != nullptr && added->special && options_.skip_special_tokens &&
      std::ranges::find(options_.kept, id) == options_.kept.end()) {
    return Status();
  }
  const std::size_t begin = out.size();
  if (added != nullptr) {
    // An added token is text of its own: it completes no code point that ended before it.
    repairer_.flush(out);
    out += added->content;
  } else {
    bytes_.clear();
    state.decoder.append_bytes(state.model.vocabulary().bytes(id), bytes_);
    repairer_.push(bytes_, out);
  }
  drop_leading(begin, out);
  return Status();
}

void Detokenizer::finish(std::string& out) {
  repairer_.flush(out);
  leading_left_ = tokenizer_.state_->decoder.leading_count();
}

// Drops the decoder's leading text, of which some may be left, from out[begin, end).
void Detokenizer::drop_leading(std::size_t begin, std::string& out) {
  const std::string_view leading = tokenizer_.state_->decoder.leading();
  while (leading_left_ > 0 && begin < out.size()) {
    if (std::string_view(out).substr(begin).starts_with(leading)) {
      out.erase(begin, leading.size());
      --leading_left_;
    } else {
      leading_left_ = 0;
    }
  }
}

}  // namespace flashmoe
