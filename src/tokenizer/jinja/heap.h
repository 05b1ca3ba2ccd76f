#ifndef FLASHMOE_TOKENIZER_JINJA_HEAP_H_
#define FLASHMOE_TOKENIZER_JINJA_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "tokenizer/jinja/value.h"

namespace flashmoe::jinja {

struct Statement;
struct Scope;
struct Runtime;

/// What one render may use. A template comes with a downloaded model and is not trusted.
struct Limits {
  std::uint64_t step_count = 20'000'000;   // evaluated nodes, plus work in proportion to bytes
  std::size_t memory_bytes = 256U << 20U;  // strings, containers and output alive at once
  int depth = 400;                         // nested statements, expressions and macro calls
};

/// How deep lists and dicts may nest wherever they are walked (conversion, printing, comparing).
inline constexpr int kMaxValueDepth = 100;

/// What a call passes: `f(1, b=2)` has one positional and one named argument. A name may come from
/// outside (`f(**d)`) and be printed (`kwargs`).
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<MarkedText, Value>> named;
};

/// A filter, method or global function. `self` is the filtered value, or the method's object.
using Builtin = Result<Value> (*)(Runtime& runtime, const Value& self, const Arguments& arguments);

/// Something a template can call: a builtin bound to its object, or a macro with its scope.
struct Callable {
  Builtin builtin = nullptr;
  Value self{};
  const Statement* macro = nullptr;
  Scope* scope = nullptr;
};

/// The variables of one block. Names point into the parsed template or the render's context.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  // a macro refers to it, so it must outlive its block
  std::unordered_map<std::string_view, Value> variables;
};

/// The state behind the variable `loop`.
struct Loop {
  const Statement* statement = nullptr;
  Scope* scope = nullptr;  // around the loop; a recursive call runs there
  std::vector<Value> items{};
  std::size_t index0 = 0;
  int depth0 = 0;
  bool has_changed_before = false;
  Value last_changed{};
};

/// Owns every object of one render until it ends, so that cyclic structures cannot leak, and counts
/// time and memory against the limits. Strings are counted and freed as they come and go; making
/// one costs steps, too. An allocation itself never fails: the next spend() reports the excess, so
/// an operation whose result can be far larger than its operands asks reserve() first.
class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  const Limits& limits() const { return limits_; }

  Value text(MarkedText value);
  Value text(std::string_view value, Origin origin) {
    return text(MarkedText(std::string(value), origin));
  }
  /// A stretch of `whole`, in which `part` lies.
  Value part_of(const MarkedText& whole, std::string_view part);
  Value list(std::vector<Value> items, bool is_tuple = false);
  Value tuple(std::vector<Value> items) { return list(std::move(items), true); }
  Dict* dict();
  Namespace* name_space();
  Callable* callable(Callable callable);
  Loop* loop(Loop loop);
  Scope* scope(Scope* parent);
  /// Sets a variable of `scope`. `name` must outlive the rendering.
  void set_variable(Scope& scope, std::string_view name, Value value);
  /// Gives a scope back for reuse at the end of its block, unless a macro captured it.
  void release(Scope* scope);

  /// Counts `bytes` more (or, by release_bytes, fewer) as alive.
  void add_bytes(std::size_t bytes) { live_bytes_ += bytes; }
  void release_bytes(std::size_t bytes) { live_bytes_ -= bytes; }
  /// Fails if `bytes` more would exceed the memory limit.
  Status reserve(std::size_t bytes) const;
  /// Uses up steps; fails when the steps or the memory are exhausted.
  Status spend(std::uint64_t steps = 1);
  /// spend() for work in proportion to `bytes` of text.
  Status spend_bytes(std::size_t bytes) { return spend(1 + bytes / kBytesPerStep); }
  /// spend() for a search in `text` that compares all of `part` at each place, at worst.
  Status spend_on_search(std::string_view text, std::string_view part) {
    return spend_bytes(text.size() * (1 + part.size() / kBytesPerStep));
  }
  /// spend() for finding or setting `key` in a dict, which hashes and compares all of it.
  Status spend_on_key(const Value& key) {
    return spend_bytes(key.is_text() ? key.as_text().size() : 0);
  }

 private:
  static constexpr std::size_t kBytesPerStep = 64;

  Limits limits_;
  std::uint64_t steps_ = 0;
  std::size_t live_bytes_ = 0;  // before the objects: destroyed strings still count down
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Namespace> name_spaces_;
  std::deque<Callable> callables_;
  std::deque<Loop> loops_;
  std::deque<Scope> scopes_;
  std::vector<Scope*> free_scopes_;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_HEAP_H_
