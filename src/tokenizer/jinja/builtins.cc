#include "tokenizer/jinja/builtins.h"

#include "tokenizer/jinja/operations.h"

namespace flashmoe::jinja {
namespace {

Builtin find_in(const BuiltinTable& table, std::string_view name) {
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

Value loop_attribute(const Loop& loop, std::string_view name) {
  const std::size_t length = loop.items.size();
  const auto integer = [](std::size_t n) { return Value::integer(static_cast<std::int64_t>(n)); };
  if (name == "index") return integer(loop.index0 + 1);
  if (name == "index0") return integer(loop.index0);
  if (name == "revindex") return integer(length - loop.index0);
  if (name == "revindex0") return integer(length - loop.index0 - 1);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop.index0 + 1 == length);
  if (name == "length") return integer(length);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "previtem" && loop.index0 > 0) return loop.items[loop.index0 - 1];
  if (name == "nextitem" && loop.index0 + 1 < length) return loop.items[loop.index0 + 1];
  return Value();
}

// A method bound to its object, or an attribute other than a dict's item. Undefined if absent.
Value own_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (const Builtin method = find_method(object, name)) {
    return Value::object(runtime.heap.callable({.builtin = method, .self = object}));
  }
  if (object.loop() != nullptr) return loop_attribute(*object.loop(), name);
  return Value();
}

}  // namespace

Builtin find_filter(std::string_view name) {
  for (const BuiltinTable* table :
       {&text_filters(), &sequence_filters(), &selection_filters(), &number_filters()}) {
    if (const Builtin filter = find_in(*table, name)) return filter;
  }
  return nullptr;
}

Builtin find_method(const Value& object, std::string_view name) {
  if (object.is_text()) return find_in(text_methods(), name);
  if (object.list() != nullptr) return find_in(list_methods(), name);
  if (object.dict() != nullptr) return find_in(dict_methods(), name);
  if (object.loop() != nullptr) return find_in(loop_methods(), name);
  return nullptr;
}

Result<Value> apply_filter(Runtime& runtime, std::string_view name, const Value& value,
                           const Arguments& arguments) {
  const Builtin filter = find_filter(name);
  if (filter == nullptr) return fail("no filter named '{}'", name);
  return filter(runtime, value, arguments);
}

Result<bool> apply_test(Runtime& runtime, std::string_view name, const Value& value,
                        const Arguments& arguments) {
  const TestFunction test = find_test(name);
  if (test == nullptr) return fail("no test named '{}'", name);
  return test(runtime, value, arguments);
}

Result<Value> get_attribute(Runtime& runtime, const Value& object, const Value& name) {
  if (object.is_undefined()) return wrong_type("", object);
  if (const Namespace* space = object.name_space()) {
    const Value* found = space->attributes.find(name);
    return found == nullptr ? Value::undefined(name.shared_text()) : *found;
  }
  Value own = own_attribute(runtime, object, name.as_text());
  if (!own.is_undefined()) return own;
  return subscript(object, name, runtime.heap);
}

Result<Value> get_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.name_space() != nullptr && key.is_text()) return get_attribute(runtime, object, key);
  FM_ASSIGN_OR_RETURN(Value item, subscript(object, key, runtime.heap));
  const bool is_present = object.dict() != nullptr && object.dict()->find(key) != nullptr;
  if (!item.is_undefined() || is_present || !key.is_text()) return item;
  Value own = own_attribute(runtime, object, key.as_text());
  return own.is_undefined() ? item : own;
}

}  // namespace flashmoe::jinja
