#ifndef FLASHMOE_TOKENIZER_JINJA_PARSER_H_
#define FLASHMOE_TOKENIZER_JINJA_PARSER_H_

#include <string_view>

#include "base/result.h"
#include "tokenizer/jinja/ast.h"

namespace flashmoe::jinja {

/// Parses a whole template. Errors start with "line N: "; kUnsupported for tags that load other
/// templates (include, import, extends, block), kCorrupt for syntax errors.
Result<Body> parse_template(std::string_view source);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_PARSER_H_
