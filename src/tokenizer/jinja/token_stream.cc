#include "tokenizer/jinja/token_stream.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace flashmoe::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kName:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kOperator:
      return fmt::format("'{}'", std::string_view(token.text).substr(0, 80));
  }
  return "";
}

}  // namespace

Status TokenStream::expected(std::string_view what) const {
  return fail("{} expected, got {}", what, describe(current()));
}

}  // namespace flashmoe::jinja
