#include <algorithm>
#include <utility>
#include <vector>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"

namespace flashmoe::jinja {
namespace {

Result<Value> no_value() { return Value::none(); }

// --- lists. Python's tuples lack the methods that change them; here they report it.

Result<std::vector<Value>*> items_to_change(const Value& self) {
  Value copy = self;
  if (copy.list()->is_tuple) return fail("a tuple cannot be changed");
  return &copy.list()->items;
}

Result<Value> append(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("append", arguments, {"object"}));
  FM_ASSIGN_OR_RETURN(Value item, args.required(0));
  FM_ASSIGN_OR_RETURN(auto* items, items_to_change(self));
  runtime.heap.add_bytes(sizeof(Value) * 2);
  items->push_back(std::move(item));
  return no_value();
}

Result<Value> extend(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("extend", arguments, {"iterable"}));
  FM_ASSIGN_OR_RETURN(const Value iterable, args.required(0));
  FM_ASSIGN_OR_RETURN(const auto added, items_of(iterable, runtime.heap));
  FM_ASSIGN_OR_RETURN(auto* items, items_to_change(self));
  FM_RETURN_IF_ERROR(runtime.heap.reserve(added.size() * sizeof(Value) * 2));
  runtime.heap.add_bytes(added.size() * sizeof(Value) * 2);
  items->insert(items->end(), added.begin(), added.end());
  return no_value();
}

// The position `index` of a list of `size`, counted from the end when negative, clamped.
std::size_t clamped_index(std::int64_t index, std::size_t size) {
  const auto length = static_cast<std::int64_t>(size);
  const std::int64_t at = std::clamp<std::int64_t>(index, -length, length);
  return static_cast<std::size_t>(at < 0 ? at + length : at);
}

Result<Value> insert(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("insert", arguments, {"i", "object"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t index, args.integer_or(0, 0));
  FM_ASSIGN_OR_RETURN(Value item, args.required(1));
  FM_ASSIGN_OR_RETURN(auto* items, items_to_change(self));
  runtime.heap.add_bytes(sizeof(Value) * 2);
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(items->size() * sizeof(Value)));
  const std::size_t at = clamped_index(index, items->size());
  items->insert(items->begin() + static_cast<std::ptrdiff_t>(at), std::move(item));
  return no_value();
}

Result<Value> pop(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("pop", arguments, {"index"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t index, args.integer_or(0, -1));
  FM_ASSIGN_OR_RETURN(auto* items, items_to_change(self));
  const auto length = static_cast<std::int64_t>(items->size());
  if (index < -length || index >= length) return fail("pop index out of range");
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(items->size() * sizeof(Value)));
  const auto at = items->begin() + (index < 0 ? index + length : index);
  Value item = std::move(*at);
  items->erase(at);
  return item;
}

Result<Value> reverse(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(auto* items, items_to_change(self));
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(items->size() * sizeof(Value)));
  std::reverse(items->begin(), items->end());
  return no_value();
}

Result<Value> list_copy(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(auto items, items_of(self, runtime.heap));
  return runtime.heap.list(std::move(items));
}

// list.index and list.count
template <bool kCount>
Result<Value> find_item(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("index", arguments, {"value"}));
  FM_ASSIGN_OR_RETURN(const Value wanted, args.required(0));
  std::int64_t found_count = 0;
  const std::vector<Value>& items = self.list()->items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const bool same, equal(items[i], wanted, runtime.heap));
    if (same && !kCount) return Value::integer(static_cast<std::int64_t>(i));
    found_count += same ? 1 : 0;
  }
  if (kCount) return Value::integer(found_count);
  return fail("the value is not in the list");
}

// --- dicts

Result<Value> items_method(Runtime& runtime, const Value& self, const Arguments&) {
  const auto& entries = self.dict()->entries;
  FM_RETURN_IF_ERROR(runtime.heap.reserve(entries.size() * 256));
  FM_RETURN_IF_ERROR(runtime.heap.spend(entries.size()));
  std::vector<Value> items;
  items.reserve(entries.size());
  for (const auto& [key, value] : entries) items.push_back(runtime.heap.tuple({key, value}));
  return runtime.heap.list(std::move(items));
}

Result<Value> keys(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(auto items, items_of(self, runtime.heap));
  return runtime.heap.list(std::move(items));
}

Result<Value> values(Runtime& runtime, const Value& self, const Arguments&) {
  std::vector<Value> items;
  FM_RETURN_IF_ERROR(runtime.heap.spend(self.dict()->entries.size()));
  for (const auto& entry : self.dict()->entries) items.push_back(entry.second);
  return runtime.heap.list(std::move(items));
}

Result<Value> get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("get", arguments, {"key", "default"}));
  FM_ASSIGN_OR_RETURN(const Value key, args.required(0));
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(key));
  const Value* found = self.dict()->find(key);
  return found != nullptr ? *found : args.value_or(1, Value::none());
}

Status set_entry(Runtime& runtime, Dict& dict, const Value& key, const Value& value) {
  if (!Dict::is_key(key)) return wrong_type("a dict key must be a str or number", key);
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(key));
  runtime.heap.add_bytes(4 * sizeof(Value) + sizeof(void*) * 4);
  dict.set(key, value);
  return Status();
}

Result<Value> setdefault(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("setdefault", arguments, {"key", "default"}));
  FM_ASSIGN_OR_RETURN(const Value key, args.required(0));
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(key));
  if (const Value* found = self.dict()->find(key)) return *found;
  Value dict = self;
  const Value value = args.value_or(1, Value::none());
  FM_RETURN_IF_ERROR(set_entry(runtime, *dict.dict(), key, value));
  return value;
}

Result<Value> update(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Value dict = self;
  for (const Value& other : arguments.positional) {
    if (other.dict() == nullptr) return wrong_type("update needs a dict", other);
    const auto entries = other.dict()->entries;  // a copy: `other` may be this very dict
    FM_RETURN_IF_ERROR(runtime.heap.spend(entries.size()));
    for (const auto& [key, value] : entries) {
      FM_RETURN_IF_ERROR(set_entry(runtime, *dict.dict(), key, value));
    }
  }
  for (const auto& [name, value] : arguments.named) {
    FM_RETURN_IF_ERROR(set_entry(runtime, *dict.dict(), runtime.heap.text(name), value));
  }
  return no_value();
}

Result<Value> dict_pop(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("pop", arguments, {"key", "default"}));
  FM_ASSIGN_OR_RETURN(const Value key, args.required(0));
  Value dict = self;
  FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(key));
  const Value* found = self.dict()->find(key);
  if (found == nullptr && !args.has(1)) return fail("pop: the key is not in the dict");
  if (found == nullptr) return *args[1];
  Value value = *found;
  FM_RETURN_IF_ERROR(runtime.heap.spend(dict.dict()->entries.size()));
  dict.dict()->erase(key);
  return value;
}

Result<Value> dict_copy(Runtime& runtime, const Value& self, const Arguments&) {
  Dict* copy = runtime.heap.dict();
  FM_RETURN_IF_ERROR(runtime.heap.spend(self.dict()->entries.size()));
  for (const auto& [key, value] : self.dict()->entries) {
    FM_RETURN_IF_ERROR(set_entry(runtime, *copy, key, value));
  }
  return Value::object(copy);
}

// --- the loop variable

Result<Value> cycle(Runtime&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return fail("cycle needs values");
  return arguments.positional[self.loop()->index0 % arguments.positional.size()];
}

Result<Value> changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Loop& loop = *self.loop();
  const Value now = runtime.heap.tuple(arguments.positional);
  if (loop.has_changed_before) {
    FM_ASSIGN_OR_RETURN(const bool same, equal(loop.last_changed, now, runtime.heap));
    if (same) return Value::boolean(false);
  }
  loop.has_changed_before = true;
  loop.last_changed = now;
  return Value::boolean(true);
}

}  // namespace

const BuiltinTable& list_methods() {
  static const BuiltinTable kTable = {
      {"append", append}, {"copy", list_copy},         {"count", find_item<true>},
      {"extend", extend}, {"index", find_item<false>}, {"insert", insert},
      {"pop", pop},       {"reverse", reverse},
  };
  return kTable;
}

const BuiltinTable& dict_methods() {
  static const BuiltinTable kTable = {
      {"copy", dict_copy}, {"get", get},       {"items", items_method},
      {"keys", keys},      {"pop", dict_pop},  {"setdefault", setdefault},
      {"update", update},  {"values", values},
  };
  return kTable;
}

const BuiltinTable& loop_methods() {
  static const BuiltinTable kTable = {{"changed", changed}, {"cycle", cycle}};
  return kTable;
}

}  // namespace flashmoe::jinja
