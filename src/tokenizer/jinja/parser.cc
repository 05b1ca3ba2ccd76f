#include "tokenizer/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "tokenizer/jinja/expression_parser.h"
#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/token_stream.h"

namespace flashmoe::jinja {
namespace {

using Kind = Statement::Kind;
using EndTags = std::initializer_list<std::string_view>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Result<Body> parse() { return parse_body({}, nullptr); }

 private:
  // Statements up to one of the tags in `ends`, whose name is consumed and stored in *end. Without
  // `ends`: up to the end of the template.
  Result<Body> parse_body(EndTags ends, std::string* end);
  // The rest of a tag that opened a block, the block, and its `end` tag.
  Result<Body> parse_block(std::string_view end);
  Status expect_block_end() { return tokens_.expect(TokenKind::kBlockEnd, "'%}'"); }

  Result<Statement> parse_tag();
  Status parse_output(Statement& statement);
  Status parse_if(Statement& statement);
  Status parse_for(Statement& statement);
  Status parse_set(Statement& statement);
  Status parse_with(Statement& statement);
  Status parse_macro(Statement& statement);
  Status parse_call_block(Statement& statement);
  Status parse_filter_block(Statement& statement);
  Status parse_loop_control(Statement& statement);
  Status parse_parameters(Statement& statement);
  Status parse_macro_body(Statement& statement, std::string_view end);
  Result<Target> parse_targets();
  Result<Target> parse_target();

  TokenStream tokens_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int loop_depth_ = 0;
};

Result<Body> Parser::parse_body(EndTags ends, std::string* end) {
  if (++depth_ > kMaxParseDepth) {
    return tokens_.fail("blocks nested more than {} deep", kMaxParseDepth);
  }
  Body body;
  for (;;) {
    const Token& token = tokens_.current();
    Statement statement{.line = token.line};
    if (token.kind == TokenKind::kEnd) {
      if (ends.size() == 0) break;
      return tokens_.fail("the template ends without '{}'", *(ends.end() - 1));
    }
    if (token.kind == TokenKind::kData) {
      statement.text = MarkedText(tokens_.take().text, Origin::kTemplate);
    } else if (token.kind == TokenKind::kVariableBegin) {
      FM_RETURN_IF_ERROR(parse_output(statement));
    } else {
      FM_RETURN_IF_ERROR(tokens_.expect(TokenKind::kBlockBegin, "a tag"));
      if (std::any_of(ends.begin(), ends.end(),
                      [&](std::string_view name) { return tokens_.current().is_name(name); })) {
        *end = tokens_.take().text;
        break;
      }
      FM_ASSIGN_OR_RETURN(statement, parse_tag());
    }
    body.push_back(std::make_unique<const Statement>(std::move(statement)));
  }
  --depth_;
  return body;
}

Result<Body> Parser::parse_block(std::string_view end) {
  FM_RETURN_IF_ERROR(expect_block_end());
  std::string name;
  FM_ASSIGN_OR_RETURN(Body body, parse_body({end}, &name));
  FM_RETURN_IF_ERROR(expect_block_end());
  return body;
}

Status Parser::parse_output(Statement& statement) {
  tokens_.take();
  statement.kind = Kind::kOutput;
  FM_ASSIGN_OR_RETURN(statement.expression, expressions_.parse_tuple());
  return tokens_.expect(TokenKind::kVariableEnd, "'}}'");
}

Result<Statement> Parser::parse_tag() {
  Statement statement{.line = tokens_.line()};
  FM_ASSIGN_OR_RETURN(const std::string name, tokens_.expect_identifier());
  const auto parsed = [&](const Status& status) -> Result<Statement> {
    FM_RETURN_IF_ERROR(status);
    return std::move(statement);
  };
  if (name == "if") return parsed(parse_if(statement));
  if (name == "for") return parsed(parse_for(statement));
  if (name == "set") return parsed(parse_set(statement));
  if (name == "with") return parsed(parse_with(statement));
  if (name == "macro") return parsed(parse_macro(statement));
  if (name == "call") return parsed(parse_call_block(statement));
  if (name == "filter") return parsed(parse_filter_block(statement));
  if (name == "break" || name == "continue") {
    statement.kind = name == "break" ? Kind::kBreak : Kind::kContinue;
    return parsed(parse_loop_control(statement));
  }
  if (name == "generation") {  // marks the assistant's tokens for training; here a plain block
    statement.kind = Kind::kScopedBlock;
    FM_ASSIGN_OR_RETURN(statement.body, parse_block("endgeneration"));
    return statement;
  }
  if (name == "include" || name == "import" || name == "from" || name == "extends" ||
      name == "block") {
    return error(StatusCode::kUnsupported, "line {}: tag '{}' is not supported in chat templates",
                 statement.line, name);
  }
  return error(StatusCode::kCorrupt, "line {}: unknown tag '{:.80}'", statement.line, name);
}

Status Parser::parse_if(Statement& statement) {
  statement.kind = Kind::kIf;
  std::string tag = "if";
  while (tag != "endif") {
    Branch branch;
    if (tag != "else") {
      FM_ASSIGN_OR_RETURN(branch.condition, expressions_.parse_tuple());
    }
    FM_RETURN_IF_ERROR(expect_block_end());
    const bool is_else = tag == "else";
    FM_ASSIGN_OR_RETURN(branch.body, is_else ? parse_body({"endif"}, &tag)
                                             : parse_body({"elif", "else", "endif"}, &tag));
    statement.branches.push_back(std::move(branch));
  }
  return expect_block_end();
}

Status Parser::parse_for(Statement& statement) {
  statement.kind = Kind::kFor;
  FM_ASSIGN_OR_RETURN(statement.target, parse_targets());
  FM_RETURN_IF_ERROR(tokens_.expect_name("in"));
  FM_ASSIGN_OR_RETURN(statement.expression, expressions_.parse_tuple(false));
  if (tokens_.skip_name("if")) {
    FM_ASSIGN_OR_RETURN(statement.condition, expressions_.parse_expression());
  }
  statement.is_recursive = tokens_.skip_name("recursive");
  FM_RETURN_IF_ERROR(expect_block_end());
  std::string tag;
  ++loop_depth_;
  FM_ASSIGN_OR_RETURN(statement.body, parse_body({"else", "endfor"}, &tag));
  --loop_depth_;
  if (tag == "endfor") return expect_block_end();
  FM_ASSIGN_OR_RETURN(statement.otherwise, parse_block("endfor"));
  return Status();
}

Result<Target> Parser::parse_target() {
  if (tokens_.skip_operator("(")) {
    if (++depth_ > kMaxParseDepth) {
      return tokens_.fail("targets nested more than {} deep", kMaxParseDepth);
    }
    FM_ASSIGN_OR_RETURN(Target target, parse_targets());
    --depth_;
    FM_RETURN_IF_ERROR(tokens_.expect_operator(")"));
    return target;
  }
  Target target;
  FM_ASSIGN_OR_RETURN(std::string name, tokens_.expect_identifier());
  if (name == "true" || name == "false" || name == "none" || name == "True" || name == "False" ||
      name == "None" || name == "in") {
    return tokens_.fail("cannot assign to '{}'", name);
  }
  target.name = Value::constant(std::move(name));
  if (tokens_.skip_operator(".")) {
    target.kind = Target::Kind::kAttribute;
    FM_ASSIGN_OR_RETURN(std::string attribute, tokens_.expect_identifier());
    target.attribute = Value::constant(std::move(attribute));
  }
  return target;
}

Result<Target> Parser::parse_targets() {
  FM_ASSIGN_OR_RETURN(Target first, parse_target());
  if (!tokens_.current().is_operator(",")) return first;
  Target targets{.kind = Target::Kind::kTuple};
  targets.items.push_back(std::move(first));
  while (tokens_.skip_operator(",")) {
    const Token& token = tokens_.current();
    if (token.is_operator("=") || token.is_operator(")") || token.is_name("in")) break;
    FM_ASSIGN_OR_RETURN(Target target, parse_target());
    targets.items.push_back(std::move(target));
  }
  return targets;
}

Status Parser::parse_set(Statement& statement) {
  FM_ASSIGN_OR_RETURN(statement.target, parse_targets());
  if (tokens_.skip_operator("=")) {
    statement.kind = Kind::kSet;
    FM_ASSIGN_OR_RETURN(statement.expression, expressions_.parse_tuple());
    return expect_block_end();
  }
  statement.kind = Kind::kSetBlock;
  FM_ASSIGN_OR_RETURN(statement.filters, expressions_.parse_filter_chain(false));
  FM_ASSIGN_OR_RETURN(statement.body, parse_block("endset"));
  return Status();
}

Status Parser::parse_with(Statement& statement) {
  statement.kind = Kind::kScopedBlock;
  while (tokens_.current().kind != TokenKind::kBlockEnd) {
    if (!statement.targets.empty()) FM_RETURN_IF_ERROR(tokens_.expect_operator(","));
    FM_ASSIGN_OR_RETURN(Target target, parse_target());
    FM_RETURN_IF_ERROR(tokens_.expect_operator("="));
    FM_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.parse_expression());
    statement.targets.push_back(std::move(target));
    statement.values.push_back(std::move(value));
  }
  FM_ASSIGN_OR_RETURN(statement.body, parse_block("endwith"));
  return Status();
}

Status Parser::parse_parameters(Statement& statement) {
  FM_RETURN_IF_ERROR(tokens_.expect_operator("("));
  while (!tokens_.current().is_operator(")")) {
    Parameter parameter;
    FM_ASSIGN_OR_RETURN(parameter.name, tokens_.expect_identifier());
    if (tokens_.skip_operator("=")) {
      FM_ASSIGN_OR_RETURN(parameter.fallback, expressions_.parse_expression());
    } else if (!statement.parameters.empty() && statement.parameters.back().fallback != nullptr) {
      return tokens_.fail("parameter '{}' without a default after one with", parameter.name);
    }
    statement.parameters.push_back(std::move(parameter));
    if (!tokens_.skip_operator(",")) break;
  }
  return tokens_.expect_operator(")");
}

// A macro takes surplus arguments only if its body names varargs or kwargs.
Status Parser::parse_macro_body(Statement& statement, std::string_view end) {
  const auto outer_names = std::exchange(expressions_.names_met, {});
  const int outer_loop_depth = std::exchange(loop_depth_, 0);
  FM_ASSIGN_OR_RETURN(statement.body, parse_block(end));
  loop_depth_ = outer_loop_depth;
  const auto names = std::exchange(expressions_.names_met, outer_names);
  const auto is_parameter = [&](std::string_view name) {
    return std::any_of(statement.parameters.begin(), statement.parameters.end(),
                       [name](const Parameter& parameter) { return parameter.name == name; });
  };
  statement.takes_varargs = names.varargs && !is_parameter("varargs");
  statement.takes_kwargs = names.kwargs && !is_parameter("kwargs");
  statement.takes_caller = names.caller && !is_parameter("caller");
  return Status();
}

Status Parser::parse_macro(Statement& statement) {
  statement.kind = Kind::kMacro;
  FM_ASSIGN_OR_RETURN(statement.name, tokens_.expect_identifier());
  FM_RETURN_IF_ERROR(parse_parameters(statement));
  return parse_macro_body(statement, "endmacro");
}

Status Parser::parse_call_block(Statement& statement) {
  statement.kind = Kind::kCallBlock;
  statement.name = "caller";
  if (tokens_.current().is_operator("(")) FM_RETURN_IF_ERROR(parse_parameters(statement));
  FM_ASSIGN_OR_RETURN(statement.expression, expressions_.parse_postfixed());
  if (statement.expression->kind != Expression::Kind::kCall) return tokens_.expected("a call");
  return parse_macro_body(statement, "endcall");
}

Status Parser::parse_filter_block(Statement& statement) {
  statement.kind = Kind::kFilterBlock;
  FM_ASSIGN_OR_RETURN(statement.filters, expressions_.parse_filter_chain(true));
  FM_ASSIGN_OR_RETURN(statement.body, parse_block("endfilter"));
  return Status();
}

Status Parser::parse_loop_control(Statement& statement) {
  if (loop_depth_ == 0) {
    return tokens_.fail("'{}' outside a loop",
                        statement.kind == Kind::kBreak ? "break" : "continue");
  }
  return expect_block_end();
}

}  // namespace

Result<Body> parse_template(std::string_view source) {
  FM_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).parse();
}

}  // namespace flashmoe::jinja
