#ifndef FLASHMOE_TOKENIZER_JINJA_PRINTING_H_
#define FLASHMOE_TOKENIZER_JINJA_PRINTING_H_

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tokenizer/jinja/heap.h"
#include "tokenizer/jinja/value.h"

namespace flashmoe::jinja {

/// Appends what Python's str() gives: strings as they are, None, True, 1.0, ['a', 1].
Status append_str(const Value& value, Heap& heap, MarkedText& out);
/// The same as a string value.
Result<Value> to_str(const Value& value, Heap& heap);

/// Appends Python's repr(): as str(), but strings are quoted.
Status append_repr(const Value& value, Heap& heap, MarkedText& out);

/// Python's repr() of a float: the shortest digits that read back, always with a point or exponent.
std::string float_repr(double value);

/// The arguments of json.dumps.
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent{};  // one level of indentation; none: everything on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

/// Appends json.dumps(value). Errors: undefined values, callables, and keys JSON cannot have.
Status append_json(const Value& value, const JsonStyle& style, Heap& heap, MarkedText& out);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_PRINTING_H_
