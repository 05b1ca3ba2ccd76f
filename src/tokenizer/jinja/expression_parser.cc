#include "tokenizer/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/check.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

using OperatorName = std::pair<std::string_view, Operator>;

std::optional<Operator> match(const Token& token, std::initializer_list<OperatorName> operators) {
  for (const auto& [text, op] : operators) {
    if (token.is_operator(text)) return op;
  }
  return std::nullopt;
}

std::optional<Operator> comparison_operator(TokenStream& tokens) {
  const auto op = match(tokens.current(), {{"==", Operator::kEqual},
                                           {"!=", Operator::kNotEqual},
                                           {"<", Operator::kLess},
                                           {"<=", Operator::kLessEqual},
                                           {">", Operator::kGreater},
                                           {">=", Operator::kGreaterEqual}});
  if (op) {
    tokens.take();
    return op;
  }
  if (tokens.skip_name("in")) return Operator::kIn;
  if (tokens.current().is_name("not") && tokens.next().is_name("in")) {
    tokens.take();
    tokens.take();
    return Operator::kNotIn;
  }
  return std::nullopt;
}

}  // namespace

Result<ExpressionPtr> ExpressionParser::finish(Expression node) const {
  int depth = 0;
  for (const ExpressionPtr& operand : node.operands) {
    if (operand != nullptr) depth = std::max(depth, operand->depth);
  }
  for (const Argument& argument : node.arguments) depth = std::max(depth, argument.value->depth);
  node.depth = depth + 1;
  if (node.depth > kMaxParseDepth) {
    return error(StatusCode::kCorrupt, "line {}: expression nested more than {} deep", node.line,
                 kMaxParseDepth);
  }
  return ExpressionPtr(std::make_unique<const Expression>(std::move(node)));
}

Result<ExpressionPtr> ExpressionParser::binary(Kind kind, int line, ExpressionPtr left,
                                               ExpressionPtr right,
                                               std::vector<Operator> operators) const {
  Expression node{.kind = kind, .line = line, .operators = std::move(operators)};
  node.operands.push_back(std::move(left));
  node.operands.push_back(std::move(right));
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_expression() {
  if (++depth_ > kMaxParseDepth) {
    return tokens_.fail("expression nested more than {} deep", kMaxParseDepth);
  }
  auto result = parse_condition();
  --depth_;
  return result;
}

Result<ExpressionPtr> ExpressionParser::parse_tuple(bool with_condition, bool in_parentheses) {
  Expression node{.kind = Kind::kTuple, .line = tokens_.line()};
  bool has_comma = false;
  const auto at_end = [this] {
    const Token& token = tokens_.current();
    return token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd ||
           token.is_operator(")") || token.is_name("recursive");
  };
  while (!at_end()) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr item, with_condition ? parse_expression() : parse_or());
    node.operands.push_back(std::move(item));
    if (!tokens_.skip_operator(",")) break;
    has_comma = true;
  }
  if (!has_comma && node.operands.size() == 1) return std::move(node.operands[0]);
  if (node.operands.empty() && !in_parentheses) return tokens_.expected("an expression");
  return finish(std::move(node));
}

// a if b else c; without else the result is undefined when b is false.
Result<ExpressionPtr> ExpressionParser::parse_condition() {
  const int line = tokens_.line();
  FM_ASSIGN_OR_RETURN(ExpressionPtr result, parse_or());
  while (tokens_.skip_name("if")) {
    Expression node{.kind = Kind::kConditional, .line = line};
    FM_ASSIGN_OR_RETURN(ExpressionPtr condition, parse_or());
    ExpressionPtr otherwise;
    if (tokens_.skip_name("else")) {
      FM_ASSIGN_OR_RETURN(otherwise, parse_expression());
    }
    node.operands.push_back(std::move(condition));
    node.operands.push_back(std::move(result));
    node.operands.push_back(std::move(otherwise));
    FM_ASSIGN_OR_RETURN(result, finish(std::move(node)));
  }
  return result;
}

Result<ExpressionPtr> ExpressionParser::parse_or() {
  const int line = tokens_.line();
  FM_ASSIGN_OR_RETURN(ExpressionPtr left, parse_and());
  while (tokens_.skip_name("or")) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr right, parse_and());
    FM_ASSIGN_OR_RETURN(left, binary(Kind::kOr, line, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_and() {
  const int line = tokens_.line();
  FM_ASSIGN_OR_RETURN(ExpressionPtr left, parse_not());
  while (tokens_.skip_name("and")) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr right, parse_not());
    FM_ASSIGN_OR_RETURN(left, binary(Kind::kAnd, line, std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_not() {
  const int line = tokens_.line();
  int not_count = 0;
  while (tokens_.skip_name("not")) ++not_count;
  FM_ASSIGN_OR_RETURN(ExpressionPtr result, parse_comparison());
  for (; not_count > 0; --not_count) {
    Expression node{.kind = Kind::kNot, .line = line};
    node.operands.push_back(std::move(result));
    FM_ASSIGN_OR_RETURN(result, finish(std::move(node)));
  }
  return result;
}

Result<ExpressionPtr> ExpressionParser::parse_comparison() {
  Expression node{.kind = Kind::kComparison, .line = tokens_.line()};
  FM_ASSIGN_OR_RETURN(ExpressionPtr left, parse_sum());
  node.operands.push_back(std::move(left));
  while (const auto op = comparison_operator(tokens_)) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr right, parse_sum());
    node.operators.push_back(*op);
    node.operands.push_back(std::move(right));
  }
  if (node.operators.empty()) return std::move(node.operands[0]);
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_sum() {
  const int line = tokens_.line();
  FM_ASSIGN_OR_RETURN(ExpressionPtr left, parse_concat());
  while (const auto op =
             match(tokens_.current(), {{"+", Operator::kAdd}, {"-", Operator::kSubtract}})) {
    tokens_.take();
    FM_ASSIGN_OR_RETURN(ExpressionPtr right, parse_concat());
    FM_ASSIGN_OR_RETURN(left,
                        binary(Kind::kArithmetic, line, std::move(left), std::move(right), {*op}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_concat() {
  Expression node{.kind = Kind::kConcat, .line = tokens_.line()};
  do {
    FM_ASSIGN_OR_RETURN(ExpressionPtr part, parse_product());
    node.operands.push_back(std::move(part));
  } while (tokens_.skip_operator("~"));
  if (node.operands.size() == 1) return std::move(node.operands[0]);
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_product() {
  const int line = tokens_.line();
  FM_ASSIGN_OR_RETURN(ExpressionPtr left, parse_power());
  while (const auto op = match(tokens_.current(), {{"*", Operator::kMultiply},
                                                   {"/", Operator::kDivide},
                                                   {"//", Operator::kFloorDivide},
                                                   {"%", Operator::kModulo}})) {
    tokens_.take();
    FM_ASSIGN_OR_RETURN(ExpressionPtr right, parse_power());
    FM_ASSIGN_OR_RETURN(left,
                        binary(Kind::kArithmetic, line, std::move(left), std::move(right), {*op}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_power() {
  const int line = tokens_.line();
  FM_ASSIGN_OR_RETURN(ExpressionPtr left, parse_unary(true));
  while (tokens_.skip_operator("**")) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr right, parse_unary(true));
    FM_ASSIGN_OR_RETURN(left, binary(Kind::kArithmetic, line, std::move(left), std::move(right),
                                     {Operator::kPower}));
  }
  return left;
}

// Filters and tests apply to a negated number as a whole: -1|abs is (-1)|abs.
Result<ExpressionPtr> ExpressionParser::parse_unary(bool with_filters) {
  const int line = tokens_.line();
  ExpressionPtr result;
  if (const auto sign =
          match(tokens_.current(), {{"-", Operator::kSubtract}, {"+", Operator::kAdd}})) {
    tokens_.take();
    if (++depth_ > kMaxParseDepth) {
      return tokens_.fail("expression nested more than {} deep", kMaxParseDepth);
    }
    Expression node{.kind = *sign == Operator::kAdd ? Kind::kPlus : Kind::kNegate, .line = line};
    FM_ASSIGN_OR_RETURN(ExpressionPtr operand, parse_unary(false));
    --depth_;
    node.operands.push_back(std::move(operand));
    FM_ASSIGN_OR_RETURN(result, finish(std::move(node)));
  } else {
    FM_ASSIGN_OR_RETURN(result, parse_primary());
  }
  FM_ASSIGN_OR_RETURN(result, parse_postfixes(std::move(result)));
  if (with_filters) return parse_filters(std::move(result));
  return result;
}

Result<ExpressionPtr> ExpressionParser::parse_postfixed() {
  FM_ASSIGN_OR_RETURN(ExpressionPtr object, parse_primary());
  return parse_postfixes(std::move(object));
}

Result<ExpressionPtr> ExpressionParser::parse_primary() {
  const Token& token = tokens_.current();
  const int line = token.line;
  switch (token.kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kString: {
      std::string text;  // neighbouring strings are one
      while (tokens_.current().kind == TokenKind::kString) text += tokens_.take().text;
      return finish({.line = line, .value = Value::constant(std::move(text))});
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return parse_number();
    default:
      break;
  }
  if (token.is_operator("[")) return parse_list();
  if (token.is_operator("{")) return parse_dict();
  if (!tokens_.skip_operator("(")) return tokens_.expected("an expression");
  FM_ASSIGN_OR_RETURN(ExpressionPtr inside, parse_tuple(true, true));
  FM_RETURN_IF_ERROR(tokens_.expect_operator(")"));
  return inside;
}

Result<ExpressionPtr> ExpressionParser::parse_name() {
  Token token = tokens_.take();
  const std::string& name = token.text;
  Expression node{.line = token.line};
  if (name == "true" || name == "True") {
    node.value = Value::boolean(true);
  } else if (name == "false" || name == "False") {
    node.value = Value::boolean(false);
  } else if (name == "none" || name == "None") {
    node.value = Value::none();
  } else {
    names_met.varargs |= name == "varargs";
    names_met.kwargs |= name == "kwargs";
    names_met.caller |= name == "caller";
    node.kind = Kind::kName;
    node.value = Value::constant(std::move(token.text));
  }
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_number() {
  const Token token = tokens_.take();
  if (token.kind == TokenKind::kFloat) {
    const std::optional<double> value = parse_real(token.text);
    FM_CHECK(value.has_value());  // the lexer lets nothing else through
    return finish({.line = token.line, .value = Value::real(*value)});
  }
  std::string_view digits = token.text;
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0' && digits[1] > '9') {
    base = digits[1] == 'x' ? 16 : digits[1] == 'o' ? 8 : 2;
    digits.remove_prefix(2);
  }
  std::int64_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (parsed.ec != std::errc()) {
    return error(StatusCode::kCorrupt, "line {}: number {:.40} is too large", token.line,
                 token.text);
  }
  return finish({.line = token.line, .value = Value::integer(value)});
}

Result<ExpressionPtr> ExpressionParser::parse_list() {
  Expression node{.kind = Kind::kList, .line = tokens_.take().line};
  while (!tokens_.current().is_operator("]")) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr item, parse_expression());
    node.operands.push_back(std::move(item));
    if (!tokens_.skip_operator(",")) break;
  }
  FM_RETURN_IF_ERROR(tokens_.expect_operator("]"));
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_dict() {
  Expression node{.kind = Kind::kDict, .line = tokens_.take().line};
  while (!tokens_.current().is_operator("}")) {
    FM_ASSIGN_OR_RETURN(ExpressionPtr key, parse_expression());
    FM_RETURN_IF_ERROR(tokens_.expect_operator(":"));
    FM_ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
    node.operands.push_back(std::move(key));
    node.operands.push_back(std::move(value));
    if (!tokens_.skip_operator(",")) break;
  }
  FM_RETURN_IF_ERROR(tokens_.expect_operator("}"));
  return finish(std::move(node));
}

}  // namespace flashmoe::jinja
