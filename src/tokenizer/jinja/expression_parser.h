#ifndef FLASHMOE_TOKENIZER_JINJA_EXPRESSION_PARSER_H_
#define FLASHMOE_TOKENIZER_JINJA_EXPRESSION_PARSER_H_

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/token_stream.h"

namespace flashmoe::jinja {

/// How deep expressions and statements may nest in a template.
inline constexpr int kMaxParseDepth = 150;

/// Recursive descent over Jinja2's expression grammar, one function per level of precedence.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  Result<ExpressionPtr> parse_expression();
  /// An expression, or a tuple of them without parentheses. `with_condition` admits `a if b`.
  Result<ExpressionPtr> parse_tuple(bool with_condition = true, bool in_parentheses = false);
  /// `|f(...)|g` or, with `leads_with_name`, `f(...)|g`: the filters, each without its operand.
  Result<std::vector<ExpressionPtr>> parse_filter_chain(bool leads_with_name);
  /// A name with an optional call, as after {% call %}.
  Result<ExpressionPtr> parse_postfixed();

  /// The names of the innermost macro body's special variables met since the last reset.
  struct MacroNames {
    bool varargs = false;
    bool kwargs = false;
    bool caller = false;
  };
  MacroNames names_met;

 private:
  using Kind = Expression::Kind;

  Result<ExpressionPtr> parse_condition();
  Result<ExpressionPtr> parse_or();
  Result<ExpressionPtr> parse_and();
  Result<ExpressionPtr> parse_not();
  Result<ExpressionPtr> parse_comparison();
  Result<ExpressionPtr> parse_sum();
  Result<ExpressionPtr> parse_concat();
  Result<ExpressionPtr> parse_product();
  Result<ExpressionPtr> parse_power();
  Result<ExpressionPtr> parse_unary(bool with_filters);
  Result<ExpressionPtr> parse_primary();
  Result<ExpressionPtr> parse_name();
  Result<ExpressionPtr> parse_number();
  Result<ExpressionPtr> parse_list();
  Result<ExpressionPtr> parse_dict();
  Result<ExpressionPtr> parse_postfixes(ExpressionPtr object);
  Result<ExpressionPtr> parse_filters(ExpressionPtr object);
  Result<ExpressionPtr> parse_filter(ExpressionPtr object);
  Result<ExpressionPtr> parse_test(ExpressionPtr object);
  Result<ExpressionPtr> parse_attribute(ExpressionPtr object);
  Result<ExpressionPtr> parse_subscript(ExpressionPtr object);
  Result<ExpressionPtr> parse_call(ExpressionPtr callee);
  Result<std::vector<Argument>> parse_arguments();
  Result<std::string> parse_dotted_name();

  // Completes a node: computes its depth and refuses trees that are too high.
  Result<ExpressionPtr> finish(Expression node) const;
  Result<ExpressionPtr> binary(Kind kind, int line, ExpressionPtr left, ExpressionPtr right,
                               std::vector<Operator> operators = {}) const;

  TokenStream& tokens_;
  int depth_ = 0;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_EXPRESSION_PARSER_H_
