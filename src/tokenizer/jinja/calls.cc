// Interpreter: loops, macros and calls.
#include <algorithm>
#include <string>
#include <utility>

#include "tokenizer/jinja/capture.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/operations.h"

namespace flashmoe::jinja {

Result<std::vector<Value>> Interpreter::filter_loop_items(const Statement& statement, Scope* scope,
                                                          std::vector<Value> items) {
  if (statement.condition == nullptr) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    const ScopeGuard inner(runtime_.heap, scope_, scope);
    FM_RETURN_IF_ERROR(assign(statement.target, item));
    FM_ASSIGN_OR_RETURN(const Value condition, evaluate(*statement.condition));
    if (condition.truthy()) kept.push_back(std::move(item));
  }
  return kept;
}

// `scope` is the one around the loop, which for a recursive call is not the current one.
Result<Interpreter::Flow> Interpreter::run_loop(const Statement& statement, Scope* scope,
                                                const Value& iterable, int depth0) {
  FM_ASSIGN_OR_RETURN(std::vector<Value> all, items_of(iterable, runtime_.heap));
  FM_ASSIGN_OR_RETURN(std::vector<Value> items,
                      filter_loop_items(statement, scope, std::move(all)));
  if (items.empty()) {
    const ScopeGuard inner(runtime_.heap, scope_, scope);
    return execute(statement.otherwise);
  }
  Loop* loop = runtime_.heap.loop(
      {.statement = &statement, .scope = scope, .items = std::move(items), .depth0 = depth0});
  if (statement.is_recursive) {
    for (Scope* outer = scope; outer != nullptr; outer = outer->parent) outer->captured = true;
  }
  for (loop->index0 = 0; loop->index0 < loop->items.size(); ++loop->index0) {
    const ScopeGuard inner(runtime_.heap, scope_, scope);
    runtime_.heap.set_variable(*scope_, "loop", Value::object(loop));
    FM_RETURN_IF_ERROR(runtime_.heap.spend());
    FM_RETURN_IF_ERROR(assign(statement.target, loop->items[loop->index0]));
    FM_ASSIGN_OR_RETURN(const Flow flow, execute(statement.body));
    if (flow == Flow::kBreak) break;
  }
  runtime_.heap.release_bytes(loop->items.size() * sizeof(Value));
  loop->items = {};  // a template may keep the loop variable, but not its items
  return Flow::kNormal;
}

Result<Value> Interpreter::call(const Value& callee, Arguments arguments) {
  if (const Loop* loop = callee.loop()) return call_loop(*loop, arguments);
  const Callable* callable = callee.callable();
  if (callable == nullptr) {
    if (callee.is_undefined()) return wrong_type("", callee);
    return fail("{} cannot be called", callee.type_name());
  }
  if (callable->builtin != nullptr) return callable->builtin(runtime_, callable->self, arguments);
  return call_macro(*callable, std::move(arguments));
}

// loop(items) inside a recursive loop renders the loop again over `items`.
Result<Value> Interpreter::call_loop(const Loop& loop, const Arguments& arguments) {
  if (!loop.statement->is_recursive) return fail("loop() outside a recursive loop");
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("loop", arguments, {"iterable"}));
  FM_ASSIGN_OR_RETURN(const Value iterable, args.required(0));
  return capture([&]() -> Status {
    FM_RETURN_IF_ERROR(enter());
    const auto flow = run_loop(*loop.statement, loop.scope, iterable, loop.depth0 + 1);
    leave();
    return flow.status();
  });
}

Callable* Interpreter::make_macro(const Statement& statement) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) scope->captured = true;
  return runtime_.heap.callable({.macro = &statement, .scope = scope_});
}

// Positional, then named arguments; surplus ones become varargs and kwargs if the body names them.
Status Interpreter::bind_parameters(const Callable& callable, Arguments arguments, Scope* scope) {
  const Statement& macro = *callable.macro;
  const auto set = [&](std::string_view name, Value value) {
    runtime_.heap.set_variable(*scope, name, std::move(value));
  };
  const std::size_t parameter_count = macro.parameters.size();
  std::vector<Value>& positional = arguments.positional;
  std::vector<Value> surplus;
  if (positional.size() > parameter_count) {
    if (!macro.takes_varargs) {
      return fail("macro '{}' takes at most {} arguments, got {}", macro.name, parameter_count,
                  positional.size());
    }
    const auto end_of_named = positional.begin() + static_cast<std::ptrdiff_t>(parameter_count);
    surplus.assign(end_of_named, positional.end());
    positional.erase(end_of_named, positional.end());
  }
  for (std::size_t i = 0; i < positional.size(); ++i) {
    set(macro.parameters[i].name, std::move(positional[i]));
  }
  Dict* surplus_named = macro.takes_kwargs ? runtime_.heap.dict() : nullptr;
  if (macro.takes_caller) set("caller", Value());
  for (auto& [name, value] : arguments.named) {
    const auto parameter =
        std::find_if(macro.parameters.begin(), macro.parameters.end(),
                     [&name = name](const Parameter& p) { return p.name == name.bytes(); });
    if (parameter != macro.parameters.end()) {
      if (scope->variables.contains(parameter->name)) {
        return fail("macro '{}' got the argument '{}' twice", macro.name, name.bytes());
      }
      set(parameter->name, value);
    } else if (name.bytes() == "caller" && macro.takes_caller) {
      set("caller", value);
    } else if (macro.takes_kwargs) {
      surplus_named->set(runtime_.heap.text(name), value);
    } else {
      return fail("macro '{}' takes no argument '{}'", macro.name, name.bytes());
    }
  }
  if (macro.takes_varargs) set("varargs", runtime_.heap.tuple(std::move(surplus)));
  if (macro.takes_kwargs) set("kwargs", Value::object(surplus_named));
  for (const Parameter& parameter : macro.parameters) {
    if (scope->variables.contains(parameter.name)) continue;
    Value fallback = Value::undefined(Value::constant(parameter.name).shared_text());
    if (parameter.fallback != nullptr) {
      FM_ASSIGN_OR_RETURN(fallback, evaluate(*parameter.fallback));
    }
    set(parameter.name, std::move(fallback));
  }
  return Status();
}

Result<Value> Interpreter::call_macro(const Callable& callable, Arguments arguments) {
  return capture([&]() -> Status {
    const ScopeGuard inner(runtime_.heap, scope_, callable.scope);
    FM_RETURN_IF_ERROR(bind_parameters(callable, std::move(arguments), scope_));
    return execute(callable.macro->body).status();
  });
}

Status Interpreter::execute_call_block(const Statement& statement) {
  const Expression& expression = *statement.expression;
  FM_ASSIGN_OR_RETURN(const Value callee, evaluate(*expression.operands[0]));
  FM_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(expression.arguments));
  arguments.named.emplace_back(MarkedText("caller", Origin::kTemplate),
                               Value::object(make_macro(statement)));
  FM_ASSIGN_OR_RETURN(const Value text, call(callee, std::move(arguments)));
  if (!text.is_text()) return Status();
  return write(text.marked_text());
}

}  // namespace flashmoe::jinja
