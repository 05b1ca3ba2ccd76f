// Interpreter: statements.
#include <string>
#include <utility>

#include "tokenizer/jinja/capture.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"

namespace flashmoe::jinja {

using Kind = Statement::Kind;

void Interpreter::define(std::string_view name, Value value) {
  if (scope_ == nullptr) scope_ = runtime_.heap.scope(nullptr);
  runtime_.heap.set_variable(*scope_, name, std::move(value));
}

Result<MarkedText> Interpreter::render(const Body& body) {
  if (scope_ == nullptr) scope_ = runtime_.heap.scope(nullptr);
  const Result<Flow> flow = execute(body);
  if (flow.ok()) return std::move(out_);
  return flow.status().with_prefix(fmt::format("line {}", error_line_));
}

Status Interpreter::write(const MarkedText& text) {
  FM_RETURN_IF_ERROR(runtime_.heap.spend_bytes(text.size()));
  FM_RETURN_IF_ERROR(runtime_.heap.reserve(text.heap_bytes()));
  const std::size_t bytes_before = out_.heap_bytes();
  out_.append(text);
  runtime_.heap.add_bytes(out_.heap_bytes() - bytes_before);
  return Status();
}

Result<Interpreter::Flow> Interpreter::execute(const Body& body) {
  for (const auto& statement : body) {
    FM_ASSIGN_OR_RETURN(const Flow flow, execute(*statement));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Result<Interpreter::Flow> Interpreter::execute(const Statement& statement) {
  const Status entered = enter();
  Result<Flow> flow = entered.ok() ? dispatch(statement) : Result<Flow>(entered);
  leave();
  if (!flow.ok()) note_error(statement.line);
  return flow;
}

Result<Interpreter::Flow> Interpreter::dispatch(const Statement& statement) {
  switch (statement.kind) {
    case Kind::kText:
      FM_RETURN_IF_ERROR(write(statement.text));
      break;
    case Kind::kOutput: {
      FM_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
      FM_ASSIGN_OR_RETURN(const Value text, to_str(value, runtime_.heap));
      FM_RETURN_IF_ERROR(write(text.marked_text()));
      break;
    }
    case Kind::kIf:
      return execute_if(statement);
    case Kind::kFor: {
      FM_ASSIGN_OR_RETURN(const Value iterable, evaluate(*statement.expression));
      return run_loop(statement, scope_, iterable, 0);
    }
    case Kind::kSet: {
      FM_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
      FM_RETURN_IF_ERROR(assign(statement.target, value));
      break;
    }
    case Kind::kSetBlock:
    case Kind::kFilterBlock:
      return execute_captured(statement);
    case Kind::kMacro:
      runtime_.heap.set_variable(*scope_, statement.name, Value::object(make_macro(statement)));
      break;
    case Kind::kCallBlock:
      FM_RETURN_IF_ERROR(execute_call_block(statement));
      break;
    case Kind::kScopedBlock:
      return execute_scoped(statement);
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

Result<Interpreter::Flow> Interpreter::execute_if(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition != nullptr) {
      FM_ASSIGN_OR_RETURN(const Value condition, evaluate(*branch.condition));
      if (!condition.truthy()) continue;
    }
    return execute(branch.body);
  }
  return Flow::kNormal;
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}: the body's output as a value.
Result<Interpreter::Flow> Interpreter::execute_captured(const Statement& statement) {
  Flow flow = Flow::kNormal;
  FM_ASSIGN_OR_RETURN(Value text, capture([&]() -> Status {
                        const ScopeGuard inner(runtime_.heap, scope_);
                        FM_ASSIGN_OR_RETURN(flow, execute(statement.body));
                        return Status();
                      }));
  if (flow != Flow::kNormal) return flow;
  FM_ASSIGN_OR_RETURN(const Value value, apply_filters(statement.filters, std::move(text)));
  if (statement.kind == Kind::kSetBlock) {
    FM_RETURN_IF_ERROR(assign(statement.target, value));
    return flow;
  }
  FM_ASSIGN_OR_RETURN(const Value filtered, to_str(value, runtime_.heap));
  FM_RETURN_IF_ERROR(write(filtered.marked_text()));
  return flow;
}

// {% with %} and {% generation %}. The values of `with` are those of the scope around it.
Result<Interpreter::Flow> Interpreter::execute_scoped(const Statement& statement) {
  std::vector<Value> values;
  for (const ExpressionPtr& expression : statement.values) {
    FM_ASSIGN_OR_RETURN(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  const ScopeGuard inner(runtime_.heap, scope_);
  for (std::size_t i = 0; i < values.size(); ++i) {
    FM_RETURN_IF_ERROR(assign(statement.targets[i], values[i]));
  }
  return execute(statement.body);
}

Status Interpreter::assign(const Target& target, const Value& value) {
  switch (target.kind) {
    case Target::Kind::kName:
      runtime_.heap.set_variable(*scope_, target.name.as_text(), value);
      return Status();
    case Target::Kind::kAttribute: {
      const Value* found = find_variable(target.name.as_text());
      if (found == nullptr || found->name_space() == nullptr) {
        return fail("cannot set an attribute of '{}': it is not a namespace",
                    target.name.as_text());
      }
      found->name_space()->attributes.set(target.attribute, value);
      return Status();
    }
    case Target::Kind::kTuple:
      break;
  }
  FM_ASSIGN_OR_RETURN(const auto items, items_of(value, runtime_.heap));
  if (items.size() != target.items.size()) {
    return fail("cannot unpack {} values into {} names", items.size(), target.items.size());
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    FM_RETURN_IF_ERROR(assign(target.items[i], items[i]));
  }
  return Status();
}

}  // namespace flashmoe::jinja
