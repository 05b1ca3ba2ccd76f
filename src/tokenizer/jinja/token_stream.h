#ifndef FLASHMOE_TOKENIZER_JINJA_TOKEN_STREAM_H_
#define FLASHMOE_TOKENIZER_JINJA_TOKEN_STREAM_H_

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/lexer.h"

namespace flashmoe::jinja {

/// The parser's place in the tokens. The last token, kEnd, is never passed.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  int line() const { return current().line; }

  Token take() {
    Token token = current();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool skip_operator(std::string_view op) { return skip(current().is_operator(op)); }
  bool skip_name(std::string_view name) { return skip(current().is_name(name)); }
  Status expect_operator(std::string_view op) {
    return skip_operator(op) ? Status() : expected(op);
  }
  Status expect_name(std::string_view name) { return skip_name(name) ? Status() : expected(name); }
  Status expect(TokenKind kind, std::string_view what) {
    return skip(current().kind == kind) ? Status() : expected(what);
  }
  Result<std::string> expect_identifier() {
    if (current().kind != TokenKind::kName) return expected("a name");
    return take().text;
  }

  /// The error "line N: <what> expected, got <the current token>".
  Status expected(std::string_view what) const;
  template <typename... Args>
  Status fail(fmt::format_string<Args...> format, Args&&... args) const {
    return error(StatusCode::kCorrupt, "line {}: {}", line(),
                 fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  bool skip(bool matches) {
    if (matches && at_ + 1 < tokens_.size()) ++at_;
    return matches;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_TOKEN_STREAM_H_
