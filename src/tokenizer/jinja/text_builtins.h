#ifndef FLASHMOE_TOKENIZER_JINJA_TEXT_BUILTINS_H_
#define FLASHMOE_TOKENIZER_JINJA_TEXT_BUILTINS_H_

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

// What filters and methods on strings share.

/// text.replace(from, to, count); a negative count replaces all.
Result<Value> replace_text(const MarkedText& text, std::string_view from, const MarkedText& to,
                           std::int64_t count, Heap& heap);
/// separator.join(items), items as str().
Result<Value> join_text(const MarkedText& separator, const std::vector<Value>& items, Heap& heap);
/// text with `fill`, one ASCII character, around it up to `width`: to the left, right, or both
/// sides.
enum class Align { kLeft, kRight, kCenter };
Result<Value> pad_text(const MarkedText& text, std::int64_t width, Align align,
                       const MarkedText& fill, Heap& heap);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_TEXT_BUILTINS_H_
