// Interpreter: expressions.
#include <string>
#include <utility>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"

namespace flashmoe::jinja {

using Kind = Expression::Kind;

Status Interpreter::enter() {
  if (++depth_ > runtime_.heap.limits().depth) {
    return fail("nested more than {} deep (a macro that calls itself without end?)",
                runtime_.heap.limits().depth);
  }
  return runtime_.heap.spend();
}

Result<Value> Interpreter::evaluate(const Expression& expression) {
  if (expression.kind == Kind::kLiteral) return expression.value;
  const Status entered = enter();
  Result<Value> result = entered.ok() ? dispatch(expression) : Result<Value>(entered);
  leave();
  if (!result.ok()) note_error(expression.line);
  return result;
}

Result<Value> Interpreter::dispatch(const Expression& expression) {
  const auto& operands = expression.operands;
  switch (expression.kind) {
    case Kind::kLiteral:
      return expression.value;
    case Kind::kName:
      return evaluate_name(expression);
    case Kind::kList:
    case Kind::kTuple:
      return evaluate_list(expression);
    case Kind::kDict:
      return evaluate_dict(expression);
    case Kind::kAttribute: {
      FM_ASSIGN_OR_RETURN(const Value object, evaluate(*operands[0]));
      return get_attribute(runtime_, object, expression.value);
    }
    case Kind::kItem: {
      FM_ASSIGN_OR_RETURN(const Value object, evaluate(*operands[0]));
      FM_ASSIGN_OR_RETURN(const Value key, evaluate(*operands[1]));
      return get_item(runtime_, object, key);
    }
    case Kind::kSlice:
      return evaluate_slice(expression);
    case Kind::kCall:
      return evaluate_call(expression);
    case Kind::kFilter: {
      FM_ASSIGN_OR_RETURN(const Value filtered, evaluate(*operands[0]));
      return evaluate_filter(expression, filtered);
    }
    case Kind::kTest:
      return evaluate_test(expression);
    case Kind::kNot: {
      FM_ASSIGN_OR_RETURN(const Value value, evaluate(*operands[0]));
      return Value::boolean(!value.truthy());
    }
    case Kind::kNegate:
    case Kind::kPlus:
      return evaluate_sign(expression);
    case Kind::kArithmetic: {
      FM_ASSIGN_OR_RETURN(const Value left, evaluate(*operands[0]));
      FM_ASSIGN_OR_RETURN(const Value right, evaluate(*operands[1]));
      return arithmetic(expression.operators[0], left, right, runtime_.heap);
    }
    case Kind::kComparison:
      return evaluate_comparison(expression);
    case Kind::kAnd:
    case Kind::kOr: {
      FM_ASSIGN_OR_RETURN(Value left, evaluate(*operands[0]));
      if (left.truthy() == (expression.kind == Kind::kOr)) return left;
      return evaluate(*operands[1]);
    }
    case Kind::kConcat:
      return evaluate_concat(expression);
    case Kind::kConditional: {
      FM_ASSIGN_OR_RETURN(const Value condition, evaluate(*operands[0]));
      if (condition.truthy()) return evaluate(*operands[1]);
      return operands[2] == nullptr ? Value() : evaluate(*operands[2]);
    }
  }
  return Value();
}

const Value* Interpreter::find_variable(std::string_view name) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return &found->second;
  }
  return nullptr;
}

Result<Value> Interpreter::evaluate_name(const Expression& expression) {
  const std::string& name = expression.value.as_text();
  if (const Value* found = find_variable(name)) return *found;
  if (const Builtin builtin = find_global(name)) {
    return Value::object(runtime_.heap.callable({.builtin = builtin}));
  }
  return Value::undefined(expression.value.shared_text());
}

Result<Value> Interpreter::evaluate_list(const Expression& expression) {
  std::vector<Value> items;
  items.reserve(expression.operands.size());
  for (const ExpressionPtr& operand : expression.operands) {
    FM_ASSIGN_OR_RETURN(Value item, evaluate(*operand));
    items.push_back(std::move(item));
  }
  return runtime_.heap.list(std::move(items), expression.kind == Kind::kTuple);
}

Result<Value> Interpreter::evaluate_dict(const Expression& expression) {
  Dict* dict = runtime_.heap.dict();
  for (std::size_t i = 0; i < expression.operands.size(); i += 2) {
    FM_ASSIGN_OR_RETURN(const Value key, evaluate(*expression.operands[i]));
    if (!Dict::is_key(key)) return wrong_type("a dict key must be a str or number", key);
    FM_ASSIGN_OR_RETURN(Value value, evaluate(*expression.operands[i + 1]));
    FM_RETURN_IF_ERROR(runtime_.heap.spend_on_key(key));
    runtime_.heap.add_bytes(4 * sizeof(Value));
    dict->set(key, std::move(value));
  }
  return Value::object(dict);
}

Result<Value> Interpreter::evaluate_slice(const Expression& expression) {
  FM_ASSIGN_OR_RETURN(const Value object, evaluate(*expression.operands[0]));
  Value bounds[3] = {Value::none(), Value::none(), Value::none()};
  for (std::size_t i = 0; i < 3; ++i) {
    if (expression.operands[i + 1] == nullptr) continue;
    FM_ASSIGN_OR_RETURN(bounds[i], evaluate(*expression.operands[i + 1]));
  }
  return slice(object, bounds[0], bounds[1], bounds[2], runtime_.heap);
}

Result<Arguments> Interpreter::evaluate_arguments(const std::vector<Argument>& arguments) {
  Arguments evaluated;
  for (const Argument& argument : arguments) {
    FM_ASSIGN_OR_RETURN(Value value, evaluate(*argument.value));
    switch (argument.kind) {
      case Argument::Kind::kPositional:
        evaluated.positional.push_back(std::move(value));
        break;
      case Argument::Kind::kNamed:
        evaluated.named.emplace_back(MarkedText(argument.name, Origin::kTemplate),
                                     std::move(value));
        break;
      case Argument::Kind::kSpreadList: {
        FM_ASSIGN_OR_RETURN(const auto items, items_of(value, runtime_.heap));
        evaluated.positional.insert(evaluated.positional.end(), items.begin(), items.end());
        break;
      }
      case Argument::Kind::kSpreadDict: {
        if (value.dict() == nullptr) return wrong_type("** needs a dict", value);
        for (const auto& [key, item] : value.dict()->entries) {
          if (!key.is_text()) return wrong_type("** needs str keys", key);
          FM_RETURN_IF_ERROR(runtime_.heap.spend());
          evaluated.named.emplace_back(key.marked_text(), item);
        }
        break;
      }
    }
  }
  return evaluated;
}

// A method or global function is called directly; other callees are evaluated to a value first.
Result<Value> Interpreter::evaluate_call(const Expression& expression) {
  const Expression& callee = *expression.operands[0];
  if (callee.kind == Kind::kName && find_variable(callee.value.as_text()) == nullptr) {
    if (const Builtin global = find_global(callee.value.as_text())) {
      FM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(expression.arguments));
      return global(runtime_, Value(), arguments);
    }
  }
  if (callee.kind == Kind::kAttribute) {
    FM_ASSIGN_OR_RETURN(const Value object, evaluate(*callee.operands[0]));
    if (const Builtin method = find_method(object, callee.value.as_text())) {
      FM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(expression.arguments));
      return method(runtime_, object, arguments);
    }
    FM_ASSIGN_OR_RETURN(const Value attribute, get_attribute(runtime_, object, callee.value));
    if (attribute.is_undefined()) {
      return fail("{} has no method '{}'", object.type_name(), callee.value.as_text());
    }
    FM_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(expression.arguments));
    return call(attribute, std::move(arguments));
  }
  FM_ASSIGN_OR_RETURN(const Value function, evaluate(callee));
  FM_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(expression.arguments));
  return call(function, std::move(arguments));
}

Result<Value> Interpreter::evaluate_filter(const Expression& expression, const Value& value) {
  FM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(expression.arguments));
  return apply_filter(runtime_, expression.value.as_text(), value, arguments);
}

Result<Value> Interpreter::apply_filters(const std::vector<ExpressionPtr>& filters, Value value) {
  for (const ExpressionPtr& filter : filters) {
    FM_ASSIGN_OR_RETURN(value, evaluate_filter(*filter, value));
  }
  return value;
}

Result<Value> Interpreter::evaluate_test(const Expression& expression) {
  FM_ASSIGN_OR_RETURN(const Value value, evaluate(*expression.operands[0]));
  FM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(expression.arguments));
  FM_ASSIGN_OR_RETURN(const bool passes,
                      apply_test(runtime_, expression.value.as_text(), value, arguments));
  return Value::boolean(passes);
}

Result<Value> Interpreter::evaluate_sign(const Expression& expression) {
  FM_ASSIGN_OR_RETURN(const Value value, evaluate(*expression.operands[0]));
  if (!value.is_number()) return wrong_type("a sign needs a number", value);
  const bool is_plus = expression.kind == Kind::kPlus;
  if (value.is_real()) return Value::real(is_plus ? value.as_real() : -value.as_real());
  const Operator op = is_plus ? Operator::kAdd : Operator::kSubtract;
  return arithmetic(op, Value::integer(0), value, runtime_.heap);
}

// a < b < c: each operand is evaluated once, and those behind a failed comparison not at all.
Result<Value> Interpreter::evaluate_comparison(const Expression& expression) {
  FM_ASSIGN_OR_RETURN(Value left, evaluate(*expression.operands[0]));
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    FM_ASSIGN_OR_RETURN(Value right, evaluate(*expression.operands[i + 1]));
    FM_ASSIGN_OR_RETURN(const bool holds,
                        compare(expression.operators[i], left, right, runtime_.heap));
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::evaluate_concat(const Expression& expression) {
  MarkedText text;
  for (const ExpressionPtr& operand : expression.operands) {
    FM_ASSIGN_OR_RETURN(const Value part, evaluate(*operand));
    FM_RETURN_IF_ERROR(append_str(part, runtime_.heap, text));
  }
  return runtime_.heap.text(std::move(text));
}

}  // namespace flashmoe::jinja
