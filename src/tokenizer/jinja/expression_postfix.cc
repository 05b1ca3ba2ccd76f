// ExpressionParser: what may follow an operand (attributes, subscripts, calls, filters, tests).
#include <array>
#include <string>
#include <utility>

#include "tokenizer/jinja/expression_parser.h"

namespace flashmoe::jinja {
namespace {

// Whether the token starts the bare argument of a test, as in `x is divisibleby 3`.
bool starts_test_argument(const Token& token) {
  switch (token.kind) {
    case TokenKind::kName:
      return token.text != "else" && token.text != "or" && token.text != "and";
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    default:
      return token.is_operator("[") || token.is_operator("{");
  }
}

}  // namespace

Result<ExpressionPtr> ExpressionParser::parse_postfixes(ExpressionPtr object) {
  for (;;) {
    if (tokens_.current().is_operator(".")) {
      FM_ASSIGN_OR_RETURN(object, parse_attribute(std::move(object)));
    } else if (tokens_.current().is_operator("[")) {
      FM_ASSIGN_OR_RETURN(object, parse_subscript(std::move(object)));
    } else if (tokens_.current().is_operator("(")) {
      FM_ASSIGN_OR_RETURN(object, parse_call(std::move(object)));
    } else {
      return object;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::parse_filters(ExpressionPtr object) {
  for (;;) {
    if (tokens_.skip_operator("|")) {
      FM_ASSIGN_OR_RETURN(object, parse_filter(std::move(object)));
    } else if (tokens_.skip_name("is")) {
      FM_ASSIGN_OR_RETURN(object, parse_test(std::move(object)));
    } else if (tokens_.current().is_operator("(")) {
      FM_ASSIGN_OR_RETURN(object, parse_call(std::move(object)));
    } else {
      return object;
    }
  }
}

Result<std::string> ExpressionParser::parse_dotted_name() {
  FM_ASSIGN_OR_RETURN(std::string name, tokens_.expect_identifier());
  while (tokens_.skip_operator(".")) {
    FM_ASSIGN_OR_RETURN(const std::string part, tokens_.expect_identifier());
    name += "." + part;
  }
  return name;
}

Result<ExpressionPtr> ExpressionParser::parse_filter(ExpressionPtr object) {
  Expression node{.kind = Kind::kFilter, .line = tokens_.line()};
  FM_ASSIGN_OR_RETURN(std::string name, parse_dotted_name());
  node.value = Value::constant(std::move(name));
  node.operands.push_back(std::move(object));
  if (tokens_.current().is_operator("(")) {
    FM_ASSIGN_OR_RETURN(node.arguments, parse_arguments());
  }
  return finish(std::move(node));
}

Result<std::vector<ExpressionPtr>> ExpressionParser::parse_filter_chain(bool leads_with_name) {
  std::vector<ExpressionPtr> filters;
  while (leads_with_name || tokens_.skip_operator("|")) {
    leads_with_name = false;
    FM_ASSIGN_OR_RETURN(ExpressionPtr filter, parse_filter(nullptr));
    filters.push_back(std::move(filter));
  }
  return filters;
}

Result<ExpressionPtr> ExpressionParser::parse_test(ExpressionPtr object) {
  Expression node{.kind = Kind::kTest, .line = tokens_.line()};
  const bool is_negated = tokens_.skip_name("not");
  FM_ASSIGN_OR_RETURN(std::string name, parse_dotted_name());
  node.value = Value::constant(std::move(name));
  node.operands.push_back(std::move(object));
  if (tokens_.current().is_operator("(")) {
    FM_ASSIGN_OR_RETURN(node.arguments, parse_arguments());
  } else if (starts_test_argument(tokens_.current())) {
    if (tokens_.current().is_name("is")) return tokens_.fail("tests cannot be chained with 'is'");
    FM_ASSIGN_OR_RETURN(ExpressionPtr value, parse_postfixed());
    node.arguments.push_back({.value = std::move(value)});
  }
  FM_ASSIGN_OR_RETURN(ExpressionPtr test, finish(std::move(node)));
  if (!is_negated) return test;
  Expression negation{.kind = Kind::kNot, .line = test->line};
  negation.operands.push_back(std::move(test));
  return finish(std::move(negation));
}

Result<ExpressionPtr> ExpressionParser::parse_attribute(ExpressionPtr object) {
  Expression node{.kind = Kind::kAttribute, .line = tokens_.take().line};
  node.operands.push_back(std::move(object));
  if (tokens_.current().kind == TokenKind::kInteger) {
    node.kind = Kind::kItem;
    FM_ASSIGN_OR_RETURN(ExpressionPtr index, parse_number());
    node.operands.push_back(std::move(index));
  } else {
    FM_ASSIGN_OR_RETURN(std::string name, tokens_.expect_identifier());
    node.value = Value::constant(std::move(name));
  }
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_subscript(ExpressionPtr object) {
  Expression node{.kind = Kind::kSlice, .line = tokens_.take().line};
  node.operands.push_back(std::move(object));
  std::array<ExpressionPtr, 3> bounds;
  std::size_t colon_count = 0;
  for (;;) {
    if (!tokens_.current().is_operator(":") && !tokens_.current().is_operator("]")) {
      FM_ASSIGN_OR_RETURN(bounds[colon_count], parse_expression());
    }
    if (colon_count == 2 || !tokens_.skip_operator(":")) break;
    ++colon_count;
  }
  FM_RETURN_IF_ERROR(tokens_.expect_operator("]"));
  if (colon_count == 0) {
    if (bounds[0] == nullptr) return tokens_.fail("subscript without an index");
    return binary(Kind::kItem, node.line, std::move(node.operands[0]), std::move(bounds[0]));
  }
  for (ExpressionPtr& bound : bounds) node.operands.push_back(std::move(bound));
  return finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_call(ExpressionPtr callee) {
  Expression node{.kind = Kind::kCall, .line = tokens_.line()};
  node.operands.push_back(std::move(callee));
  FM_ASSIGN_OR_RETURN(node.arguments, parse_arguments());
  return finish(std::move(node));
}

Result<std::vector<Argument>> ExpressionParser::parse_arguments() {
  std::vector<Argument> arguments;
  FM_RETURN_IF_ERROR(tokens_.expect_operator("("));
  while (!tokens_.current().is_operator(")")) {
    Argument argument;
    if (tokens_.skip_operator("**")) {
      argument.kind = Argument::Kind::kSpreadDict;
    } else if (tokens_.skip_operator("*")) {
      argument.kind = Argument::Kind::kSpreadList;
    } else if (tokens_.current().kind == TokenKind::kName && tokens_.next().is_operator("=")) {
      argument.kind = Argument::Kind::kNamed;
      argument.name = tokens_.take().text;
      tokens_.take();
    } else if (!arguments.empty() && arguments.back().kind != Argument::Kind::kPositional) {
      return tokens_.fail("positional argument after a named one");
    }
    FM_ASSIGN_OR_RETURN(argument.value, parse_expression());
    arguments.push_back(std::move(argument));
    if (!tokens_.skip_operator(",")) break;
  }
  FM_RETURN_IF_ERROR(tokens_.expect_operator(")"));
  return arguments;
}

}  // namespace flashmoe::jinja
