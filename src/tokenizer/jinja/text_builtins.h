#ifndef FLASHMOE_TOKENIZER_JINJA_TEXT_BUILTINS_H_
#define FLASHMOE_TOKENIZER_JINJA_TEXT_BUILTINS_H_

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

// What filters and methods on strings share.

/// text.replace(from, to, count); a negative count replaces all.
Result<Value> replace_text(std::string_view text, std::string_view from, std::string_view to,
                           std::int64_t count, Heap& heap);
/// separator.join(items), items as str().
Result<Value> join_text(std::string_view separator, const std::vector<Value>& items, Heap& heap);
/// text with spaces (or `fill`) around it up to `width`: to the left, right, or both sides.
enum class Align { kLeft, kRight, kCenter };
Result<Value> pad_text(std::string_view text, std::int64_t width, Align align, char fill,
                       Heap& heap);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_TEXT_BUILTINS_H_
