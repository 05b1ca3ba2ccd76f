#include "tokenizer/reply_marks.h"

#include <algorithm>
#include <utility>

namespace flashmoe {
namespace {

void append_span(std::size_t begin, std::size_t end, std::vector<TextSpan>& spans) {
  if (begin == end) return;
  if (!spans.empty() && spans.back().end == begin) {
    spans.back().end = end;
  } else {
    spans.push_back({.begin = begin, .end = end});
  }
}

}  // namespace

ReplyMarks::ReplyMarks(std::vector<std::string> texts) : texts_(std::move(texts)) {
  std::stable_sort(texts_.begin(), texts_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  for (const std::string& text : texts_) first_bytes_ += text.front();
}

std::size_t ReplyMarks::size_at(std::string_view text) const {
  for (const std::string& mark : texts_) {
    if (text.starts_with(mark)) return mark.size();
  }
  return 0;
}

std::vector<TextSpan> ReplyMarks::quoted(const jinja::MarkedText& text) const {
  using jinja::Origin;
  std::vector<TextSpan> spans;
  const std::string_view bytes = text.bytes();
  text.for_each_run(0, bytes.size(), [&](std::size_t begin, std::size_t end, Origin origin) {
    if (origin == Origin::kTemplate) return;
    const std::string_view run = bytes.substr(0, end);
    std::size_t at = origin == Origin::kReply ? begin : end;
    while ((at = run.find_first_of(first_bytes_, at)) < end) {
      const std::size_t size = size_at(run.substr(at));
      if (size > 0) {
        append_span(begin, at, spans);
        begin = at + size;
      }
      at += std::max<std::size_t>(size, 1);
    }
    append_span(begin, end, spans);
  });
  return spans;
}

}  // namespace flashmoe
