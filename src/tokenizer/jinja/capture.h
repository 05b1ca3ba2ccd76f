#ifndef FLASHMOE_TOKENIZER_JINJA_CAPTURE_H_
#define FLASHMOE_TOKENIZER_JINJA_CAPTURE_H_

#include <string>
#include <utility>

#include "tokenizer/jinja/interpreter.h"

namespace flashmoe::jinja {

/// Makes a new scope below `parent` (by default the current one) current while alive.
class ScopeGuard {
 public:
  ScopeGuard(Heap& heap, Scope*& current) : ScopeGuard(heap, current, current) {}
  ScopeGuard(Heap& heap, Scope*& current, Scope* parent)
      : heap_(heap), current_(current), outer_(current), inner_(heap.scope(parent)) {
    current_ = inner_;
  }
  ~ScopeGuard() {
    current_ = outer_;
    heap_.release(inner_);
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Heap& heap_;
  Scope*& current_;
  Scope* outer_;
  Scope* inner_;
};

template <typename Run>
Result<Value> Interpreter::capture(Run run) {
  MarkedText outer = std::exchange(out_, MarkedText());
  const Status status = run();
  MarkedText inner = std::exchange(out_, std::move(outer));
  runtime_.heap.release_bytes(inner.heap_bytes());
  FM_RETURN_IF_ERROR(status);
  return runtime_.heap.text(std::move(inner));
}

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_CAPTURE_H_
