#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/attribute_path.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/text_builtins.h"

namespace flashmoe::jinja {
namespace {

using Keyed = std::pair<Value, Value>;  // what to compare by, and the item

// Strings compare without case unless `case_sensitive`.
Value sort_key(const Value& value, bool case_sensitive, Heap& heap) {
  if (case_sensitive || !value.is_text()) return value;
  return heap.text(map_characters(value.marked_text(), lower_character));
}

// Stable. A comparison that fails makes the whole sort fail.
Status sort_keyed(std::vector<Keyed>& items, bool reverse, Heap& heap) {
  Status status;
  const auto before = [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const auto result = reverse ? less(b.first, a.first, heap) : less(a.first, b.first, heap);
    if (!result.ok()) {
      status = result.status();
      return false;
    }
    return *result;
  };
  std::stable_sort(items.begin(), items.end(), before);
  return status;
}

Result<Value> default_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("default", arguments, {"default_value", "boolean"}));
  const bool is_missing = self.is_undefined() || (args.flag(1, false) && !self.truthy());
  return is_missing ? args.value_or(0, runtime.heap.text("", Origin::kTemplate)) : self;
}

Result<Value> length(Runtime& runtime, const Value& self, const Arguments&) {
  std::size_t count = 0;
  if (self.is_text()) {
    FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(self.as_text().size()));
    count = count_code_points(self.as_text());
  } else if (self.list() != nullptr) {
    count = self.list()->items.size();
  } else if (self.dict() != nullptr) {
    count = self.dict()->entries.size();
  } else if (!self.is_undefined()) {
    return fail("{} has no length", self.type_name());
  }
  return Value::integer(static_cast<std::int64_t>(count));
}

Result<Value> list_filter(Runtime& runtime, const Value& self, const Arguments&) {
  FM_ASSIGN_OR_RETURN(auto items, items_of(self, runtime.heap));
  return runtime.heap.list(std::move(items));
}

Result<Value> items_filter(Runtime& runtime, const Value& self, const Arguments&) {
  if (self.is_undefined()) return runtime.heap.list({});
  if (self.dict() == nullptr) return fail("items needs a dict, got {}", self.type_name());
  return find_method(self, "items")(runtime, self, {});
}

Result<Value> join_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("join", arguments, {"d", "attribute"}));
  FM_ASSIGN_OR_RETURN(auto items, items_of(self, runtime.heap));
  if (args.has(1) && !args[1]->is_none()) {
    for (Value& item : items) {
      FM_ASSIGN_OR_RETURN(item, attribute_at_path(runtime, item, *args[1]));
    }
  }
  FM_ASSIGN_OR_RETURN(const Value separator, to_str(args.value_or(0, Value()), runtime.heap));
  return join_text(separator.marked_text(), items, runtime.heap);
}

Result<Value> first(Runtime& runtime, const Value& self, const Arguments&) {
  if (self.is_text() || self.list() != nullptr) {
    return subscript(self, Value::integer(0), runtime.heap);
  }
  FM_ASSIGN_OR_RETURN(const auto items, items_of(self, runtime.heap));
  return items.empty() ? Value() : items.front();
}

Result<Value> last(Runtime& runtime, const Value& self, const Arguments&) {
  if (self.is_text() || self.list() != nullptr) {
    return subscript(self, Value::integer(-1), runtime.heap);
  }
  FM_ASSIGN_OR_RETURN(const auto items, items_of(self, runtime.heap));
  return items.empty() ? Value() : items.back();
}

Result<Value> reverse_filter(Runtime& runtime, const Value& self, const Arguments&) {
  const Value all = Value::none();
  if (self.is_text()) return slice(self, all, all, Value::integer(-1), runtime.heap);
  FM_ASSIGN_OR_RETURN(auto items, items_of(self, runtime.heap));
  std::reverse(items.begin(), items.end());
  return runtime.heap.list(std::move(items));
}

Result<Value> sort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(
      const auto args,
      BoundArguments::bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  FM_ASSIGN_OR_RETURN(auto items, items_of(self, runtime.heap));
  std::vector<Keyed> keyed;
  for (Value& item : items) {
    Value key = item;
    if (args.has(2) && !args[2]->is_none()) {
      FM_ASSIGN_OR_RETURN(key, attribute_at_path(runtime, item, *args[2]));
    }
    keyed.emplace_back(sort_key(key, args.flag(1, false), runtime.heap), std::move(item));
  }
  FM_RETURN_IF_ERROR(sort_keyed(keyed, args.flag(0, false), runtime.heap));
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = std::move(keyed[i].second);
  return runtime.heap.list(std::move(items));
}

Result<Value> dictsort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("dictsort", arguments,
                                                            {"case_sensitive", "by", "reverse"}));
  if (self.dict() == nullptr) return wrong_type("dictsort needs a dict", self);
  FM_ASSIGN_OR_RETURN(const std::string_view by, args.text(1));
  if (!by.empty() && by != "key" && by != "value") return fail("dictsort: by must be key or value");
  std::vector<Keyed> keyed;
  keyed.reserve(self.dict()->entries.size());
  for (const auto& [key, value] : self.dict()->entries) {
    keyed.emplace_back(sort_key(by == "value" ? value : key, args.flag(0, false), runtime.heap),
                       runtime.heap.tuple({key, value}));
  }
  FM_RETURN_IF_ERROR(sort_keyed(keyed, args.flag(2, false), runtime.heap));
  std::vector<Value> items;
  for (Keyed& entry : keyed) items.push_back(std::move(entry.second));
  return runtime.heap.list(std::move(items));
}

Result<Value> unique(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("unique", arguments, {"case_sensitive", "attribute"}));
  FM_ASSIGN_OR_RETURN(const auto items, items_of(self, runtime.heap));
  Dict seen;
  std::vector<Value> kept;
  for (const Value& item : items) {
    Value key = item;
    if (args.has(1) && !args[1]->is_none()) {
      FM_ASSIGN_OR_RETURN(key, attribute_at_path(runtime, item, *args[1]));
    }
    key = sort_key(key, args.flag(0, false), runtime.heap);
    if (!Dict::is_key(key)) return wrong_type("unique needs strings or numbers", key);
    FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(key));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, Value::none());
    kept.push_back(item);
  }
  return runtime.heap.list(std::move(kept));
}

// min and max: the first of the smallest, or largest, items.
template <bool kMax>
Result<Value> extreme(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind(kMax ? "max" : "min", arguments,
                                                            {"case_sensitive", "attribute"}));
  FM_ASSIGN_OR_RETURN(const auto items, items_of(self, runtime.heap));
  Value best;
  Value best_key;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Value key = items[i];
    if (args.has(1) && !args[1]->is_none()) {
      FM_ASSIGN_OR_RETURN(key, attribute_at_path(runtime, key, *args[1]));
    }
    key = sort_key(key, args.flag(0, false), runtime.heap);
    bool is_better = i == 0;
    if (!is_better) {
      FM_ASSIGN_OR_RETURN(
          is_better, kMax ? less(best_key, key, runtime.heap) : less(key, best_key, runtime.heap));
    }
    if (!is_better) continue;
    best = items[i];
    best_key = std::move(key);
  }
  return best;
}

Result<Value> sum(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("sum", arguments, {"attribute", "start"}));
  FM_ASSIGN_OR_RETURN(const auto items, items_of(self, runtime.heap));
  Value total = args.value_or(1, Value::integer(0));
  for (Value item : items) {
    if (args.has(0) && !args[0]->is_none()) {
      FM_ASSIGN_OR_RETURN(item, attribute_at_path(runtime, item, *args[0]));
    }
    FM_ASSIGN_OR_RETURN(total, arithmetic(Operator::kAdd, total, item, runtime.heap));
  }
  return total;
}

Result<Value> batch(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("batch", arguments, {"linecount", "fill_with"}));
  FM_ASSIGN_OR_RETURN(const std::int64_t size, args.integer_or(0, 0));
  if (size < 1) return fail("batch needs a positive size");
  FM_ASSIGN_OR_RETURN(const auto items, items_of(self, runtime.heap));
  const auto width = static_cast<std::size_t>(size);
  std::vector<Value> batches;
  for (std::size_t i = 0; i < items.size(); i += width) {
    const std::size_t count = std::min(width, items.size() - i);
    std::vector<Value> row(items.begin() + static_cast<std::ptrdiff_t>(i),
                           items.begin() + static_cast<std::ptrdiff_t>(i + count));
    if (args.has(1) && !args[1]->is_none()) {
      FM_RETURN_IF_ERROR(runtime.heap.reserve((width - count) * sizeof(Value)));
      row.resize(width, *args[1]);
    }
    batches.push_back(runtime.heap.list(std::move(row)));
    if (items.size() - i <= width) break;
  }
  return runtime.heap.list(std::move(batches));
}

}  // namespace

const BuiltinTable& sequence_filters() {
  static const BuiltinTable kTable = {
      {"batch", batch},        {"count", length},
      {"d", default_filter},   {"default", default_filter},
      {"dictsort", dictsort},  {"first", first},
      {"items", items_filter}, {"join", join_filter},
      {"last", last},          {"length", length},
      {"list", list_filter},   {"max", extreme<true>},
      {"min", extreme<false>}, {"reverse", reverse_filter},
      {"sort", sort},          {"sum", sum},
      {"unique", unique},
  };
  return kTable;
}

}  // namespace flashmoe::jinja
