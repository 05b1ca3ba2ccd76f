#ifndef FLASHMOE_TOKENIZER_JINJA_BUILTINS_H_
#define FLASHMOE_TOKENIZER_JINJA_BUILTINS_H_

#include <map>
#include <string_view>

#include "base/result.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

using BuiltinTable = std::map<std::string_view, Builtin>;
using TestFunction = Result<bool> (*)(Runtime& runtime, const Value& value,
                                      const Arguments& arguments);

/// The filter `name`, or null.
Builtin find_filter(std::string_view name);
/// The test `name`, or null.
TestFunction find_test(std::string_view name);
/// The method `name` of a value of object's type, or null.
Builtin find_method(const Value& object, std::string_view name);
/// The global function `name`, or null.
Builtin find_global(std::string_view name);

/// Applies filter or test `name`; an unknown name is an error.
Result<Value> apply_filter(Runtime& runtime, std::string_view name, const Value& value,
                           const Arguments& arguments);
Result<bool> apply_test(Runtime& runtime, std::string_view name, const Value& value,
                        const Arguments& arguments);

/// object.name as Jinja2 resolves it: a method or attribute first, then a dict's item.
Result<Value> get_attribute(Runtime& runtime, const Value& object, const Value& name);
/// object[key]: an item first, then a method or attribute.
Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key);

// The tables behind the functions above, one per file.
const BuiltinTable& text_filters();
const BuiltinTable& sequence_filters();
const BuiltinTable& selection_filters();
const BuiltinTable& number_filters();
const BuiltinTable& text_methods();
const BuiltinTable& list_methods();
const BuiltinTable& dict_methods();
const BuiltinTable& loop_methods();

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_BUILTINS_H_
