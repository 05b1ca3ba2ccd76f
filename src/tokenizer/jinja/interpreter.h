#ifndef FLASHMOE_TOKENIZER_JINJA_INTERPRETER_H_
#define FLASHMOE_TOKENIZER_JINJA_INTERPRETER_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

/// One rendering of one template: walks the tree, with Python's and Jinja2's scoping. A `for` body
/// runs in a scope that is fresh for every item, a macro in one below the scope that defined it; an
/// `if` has none of its own.
class Interpreter {
 public:
  Interpreter(const Limits& limits, Clock clock)
      : runtime_{.heap = Heap(limits), .clock = std::move(clock)} {}

  Heap& heap() { return runtime_.heap; }
  /// Defines a variable of the outermost scope. `name` must outlive the rendering.
  void define(std::string_view name, Value value);
  /// Renders `body`. Errors start with "line N: ".
  Result<MarkedText> render(const Body& body);

 private:
  enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };

  // Statements, in statements.cc.
  Result<Flow> execute(const Body& body);
  Result<Flow> execute(const Statement& statement);
  Result<Flow> dispatch(const Statement& statement);
  Result<Flow> execute_if(const Statement& statement);
  Status execute_set(const Statement& statement);
  Result<Flow> execute_captured(const Statement& statement);
  Result<Flow> execute_scoped(const Statement& statement);
  Status execute_call_block(const Statement& statement);
  Status write(const MarkedText& text);
  Status assign(const Target& target, const Value& value);

  // Loops and calls, in calls.cc.
  Result<Flow> run_loop(const Statement& statement, Scope* scope, const Value& iterable,
                        int depth0);
  Result<std::vector<Value>> filter_loop_items(const Statement& statement, Scope* scope,
                                               std::vector<Value> items);
  Result<Value> call(const Value& callee, Arguments arguments);
  Result<Value> call_macro(const Callable& callable, Arguments arguments);
  Result<Value> call_loop(const Loop& loop, const Arguments& arguments);
  Status bind_parameters(const Callable& callable, Arguments arguments, Scope* scope);
  Callable* make_macro(const Statement& statement);
  // What `run` writes, as a string. Leaves the flow of control in *flow.
  template <typename Run>
  Result<Value> capture(Run run);

  // Expressions, in expressions.cc.
  Result<Value> evaluate(const Expression& expression);
  Result<Value> dispatch(const Expression& expression);
  Result<Value> evaluate_name(const Expression& expression);
  Result<Value> evaluate_list(const Expression& expression);
  Result<Value> evaluate_dict(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_call(const Expression& expression);
  Result<Value> evaluate_test(const Expression& expression);
  Result<Value> evaluate_sign(const Expression& expression);
  Result<Value> evaluate_comparison(const Expression& expression);
  Result<Value> evaluate_concat(const Expression& expression);
  Result<Value> evaluate_filter(const Expression& expression, const Value& value);
  Result<Value> apply_filters(const std::vector<ExpressionPtr>& filters, Value value);
  Result<Arguments> evaluate_arguments(const std::vector<Argument>& arguments);
  const Value* find_variable(std::string_view name) const;

  // Remembers the line of the innermost failing node.
  void note_error(int line) {
    if (error_line_ == 0) error_line_ = line;
  }
  Status enter();
  void leave() { --depth_; }

  Runtime runtime_;
  Scope* scope_ = nullptr;
  MarkedText out_;
  int depth_ = 0;
  int error_line_ = 0;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_INTERPRETER_H_
