#ifndef FLASHMOE_TOKENIZER_JINJA_RUNTIME_H_
#define FLASHMOE_TOKENIZER_JINJA_RUNTIME_H_

#include <ctime>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tokenizer/jinja/heap.h"
#include "tokenizer/jinja/value.h"

namespace flashmoe::jinja {

/// Local time for strftime_now.
using Clock = std::function<std::tm()>;

/// What builtins may touch during one render.
struct Runtime {
  Heap heap;
  Clock clock;
};

template <typename... Args>
Status fail(fmt::format_string<Args...> format, Args&&... args) {
  return error(StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

/// "'name' is undefined", or a complaint about a value of the wrong type.
Status wrong_type(std::string_view what, const Value& value);

/// The arguments of one call, matched to parameter names in order. Absent ones are nullopt.
class BoundArguments {
 public:
  /// Errors: too many arguments, an unknown name, or one given twice.
  static Result<BoundArguments> bind(std::string_view callee, const Arguments& arguments,
                                     std::initializer_list<std::string_view> parameters);

  const std::optional<Value>& operator[](std::size_t i) const { return values_[i]; }
  bool has(std::size_t i) const { return values_[i].has_value(); }
  Value value_or(std::size_t i, Value fallback) const {
    if (has(i)) return *values_[i];
    return fallback;
  }
  bool flag(std::size_t i, bool fallback) const { return has(i) ? values_[i]->truthy() : fallback; }
  Result<std::int64_t> integer_or(std::size_t i, std::int64_t fallback) const;
  /// The argument, which must be a string. Absent: "".
  Result<std::string_view> text(std::size_t i) const;
  /// The argument, or an error that names the missing parameter.
  Result<Value> required(std::size_t i) const;

 private:
  std::string_view callee_;
  std::vector<std::string_view> parameters_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_RUNTIME_H_
