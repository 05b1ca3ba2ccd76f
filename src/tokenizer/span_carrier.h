#ifndef FLASHMOE_TOKENIZER_SPAN_CARRIER_H_
#define FLASHMOE_TOKENIZER_SPAN_CARRIER_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "flashmoe/chat_prompt.h"

namespace flashmoe {

/// Carries spans of a text along while it is rewritten from left to right: each call tells up to
/// where the old text has been read, and the new one written. Spans are in order.
class SpanCarrier {
 public:
  explicit SpanCarrier(std::vector<TextSpan>& spans) : spans_(spans) {}

  /// Bytes went over as they are.
  void copied(std::size_t read, std::size_t written) { move_edges(read, written, true); }
  /// They became others as a whole: a span that covers some of the old ones covers all of the new.
  void rewritten(std::size_t read, std::size_t written) { move_edges(read, written, false); }
  /// What was read is gone, or what was written is new.
  void skip_to(std::size_t read, std::size_t written) {
    move_edges(read, written_, false);
    written_ = written;
  }
  /// The rest of the old text is gone. Spans of which nothing is left go, too.
  void finish(std::size_t written) {
    for (; begin_at_ < spans_.size(); ++begin_at_) spans_[begin_at_].begin = written;
    for (; end_at_ < spans_.size(); ++end_at_) spans_[end_at_].end = written;
    std::erase_if(spans_, [](const TextSpan& span) { return span.begin >= span.end; });
  }

 private:
  void move_edges(std::size_t read, std::size_t written, bool is_copy) {
    for (; begin_at_ < spans_.size() && spans_[begin_at_].begin < read; ++begin_at_) {
      std::size_t& begin = spans_[begin_at_].begin;
      begin = is_copy ? written_ + (begin - read_) : written_;
    }
    for (; end_at_ < spans_.size() && spans_[end_at_].end <= read; ++end_at_) {
      std::size_t& end = spans_[end_at_].end;
      end = is_copy ? written_ + (end - read_) : written;
    }
    read_ = read;
    written_ = written;
  }

  std::vector<TextSpan>& spans_;
  std::size_t begin_at_ = 0;  // the first span whose beginning is not carried over yet
  std::size_t end_at_ = 0;    // the same for ends
  std::size_t read_ = 0;
  std::size_t written_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_SPAN_CARRIER_H_
