#ifndef FLASHMOE_TOKENIZER_JINJA_STRING_LITERAL_H_
#define FLASHMOE_TOKENIZER_JINJA_STRING_LITERAL_H_

#include <string>
#include <string_view>

#include "base/result.h"

namespace flashmoe::jinja {

/// Resolves Python's backslash escapes in the inside of a string literal. Unknown escapes stay as
/// they are. Error: a \x, \u or \U without its digits, or a code point that UTF-8 cannot hold.
Result<std::string> unescape(std::string_view literal);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_STRING_LITERAL_H_
