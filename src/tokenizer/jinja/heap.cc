#include "tokenizer/jinja/heap.h"

#include <algorithm>
#include <utility>

namespace flashmoe::jinja {
namespace {

constexpr std::size_t kStringOverheadBytes = 128;  // control block and MarkedText
constexpr std::size_t kObjectOverheadBytes = 160;  // a Dict or Scope with its hash table
constexpr std::size_t kVariableBytes = 80;

}  // namespace

Value Heap::text(MarkedText value) {
  steps_ = std::min(limits_.step_count, steps_ + value.size() / kBytesPerStep);
  const std::size_t bytes = value.heap_bytes() + kStringOverheadBytes;
  live_bytes_ += bytes;
  std::size_t* const live_bytes = &live_bytes_;
  return Value::text(
      String(new MarkedText(std::move(value)), [live_bytes, bytes](const MarkedText* text) {
        *live_bytes -= bytes;
        delete text;
      }));
}

Value Heap::part_of(const MarkedText& whole, std::string_view part) {
  MarkedText copy;
  copy.append_part(whole, part);
  return text(std::move(copy));
}

Value Heap::list(std::vector<Value> items, bool is_tuple) {
  live_bytes_ += kObjectOverheadBytes + items.size() * sizeof(Value);
  lists_.push_back(List{std::move(items), is_tuple});
  return Value::object(&lists_.back());
}

Dict* Heap::dict() {
  live_bytes_ += kObjectOverheadBytes;
  return &dicts_.emplace_back();
}

Namespace* Heap::name_space() {
  live_bytes_ += kObjectOverheadBytes;
  return &name_spaces_.emplace_back();
}

Callable* Heap::callable(Callable callable) {
  live_bytes_ += sizeof(Callable);
  return &callables_.emplace_back(std::move(callable));
}

Loop* Heap::loop(Loop loop) {
  live_bytes_ += sizeof(Loop) + loop.items.size() * sizeof(Value);
  return &loops_.emplace_back(std::move(loop));
}

Scope* Heap::scope(Scope* parent) {
  if (!free_scopes_.empty()) {
    Scope* scope = free_scopes_.back();
    free_scopes_.pop_back();
    scope->parent = parent;
    return scope;
  }
  live_bytes_ += kObjectOverheadBytes;
  Scope& scope = scopes_.emplace_back();
  scope.parent = parent;
  return &scope;
}

void Heap::set_variable(Scope& scope, std::string_view name, Value value) {
  if (scope.variables.insert_or_assign(name, std::move(value)).second) {
    live_bytes_ += kVariableBytes;
  }
}

void Heap::release(Scope* scope) {
  if (scope->captured) return;
  live_bytes_ -= scope->variables.size() * kVariableBytes;
  scope->variables.clear();
  free_scopes_.push_back(scope);
}

Status Heap::reserve(std::size_t bytes) const {
  if (bytes > limits_.memory_bytes || live_bytes_ > limits_.memory_bytes - bytes) {
    return error(StatusCode::kInvalidArgument,
                 "needs more than {} MiB of memory, the limit for one rendering",
                 limits_.memory_bytes >> 20U);
  }
  return Status();
}

Status Heap::spend(std::uint64_t steps) {
  if (steps > limits_.step_count - steps_) {
    return error(StatusCode::kInvalidArgument,
                 "needs more than {} steps, the limit for one rendering", limits_.step_count);
  }
  steps_ += steps;
  return reserve(0);
}

}  // namespace flashmoe::jinja
