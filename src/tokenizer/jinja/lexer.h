#ifndef FLASHMOE_TOKENIZER_JINJA_LEXER_H_
#define FLASHMOE_TOKENIZER_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace flashmoe::jinja {

enum class TokenKind : std::uint8_t {
  kData,           // text between tags, whitespace control already applied
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kName,
  kString,  // text holds the value, escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,  // end of the template
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 0;

  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
};

/// Cuts a template into tokens as Jinja2 does with trim_blocks and lstrip_blocks set and the final
/// newline dropped. Comments vanish, raw blocks become data. The last token is kEnd. Errors start
/// with "line N: ".
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_LEXER_H_
