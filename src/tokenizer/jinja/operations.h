#ifndef FLASHMOE_TOKENIZER_JINJA_OPERATIONS_H_
#define FLASHMOE_TOKENIZER_JINJA_OPERATIONS_H_

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

// Python's operators on template values.

/// a == b. Numbers compare by value, containers item by item.
Result<bool> equal(const Value& a, const Value& b, Heap& heap);
/// a < b: numbers, strings by code point, lists item by item. Error: values without an order.
Result<bool> less(const Value& a, const Value& b, Heap& heap);
/// needle in haystack: substring, list item, or dict key.
Result<bool> contains(const Value& haystack, const Value& needle, Heap& heap);
/// `a op b` for any comparison.
Result<bool> compare(Operator op, const Value& a, const Value& b, Heap& heap);
/// `a op b` for + - * / // % **. Integers that leave 64 bits are an error.
Result<Value> arithmetic(Operator op, const Value& a, const Value& b, Heap& heap);

/// What a for loop over `value` visits: items, keys of a dict, characters of a string.
Result<std::vector<Value>> items_of(const Value& value, Heap& heap);
/// object[key] as Jinja does it, methods aside: absent keys and indices give undefined.
Result<Value> subscript(const Value& object, const Value& key, Heap& heap);
/// object[start:stop:step] of a string or list; bounds are ints or none.
Result<Value> slice(const Value& object, const Value& start, const Value& stop, const Value& step,
                    Heap& heap);
/// Python's `format % values`: %s %r %d %x %o %c %e %f %g and %(name)s, with flags and widths.
Result<Value> percent_format(const MarkedText& format, const Value& values, Heap& heap);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_OPERATIONS_H_
