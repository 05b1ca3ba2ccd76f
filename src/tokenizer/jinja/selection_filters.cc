#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/attribute_path.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/text.h"

namespace flashmoe::jinja {
namespace {

// Falsy values that cannot be iterated, such as none and 0, count as empty here, as in jinja2.
Result<std::vector<Value>> items_to_select(const Value& value, Heap& heap) {
  return value.truthy() ? items_of(value, heap) : std::vector<Value>();
}

// The arguments behind the first `count` positional ones.
Arguments rest_of(const Arguments& arguments, std::size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// select, reject, selectattr and rejectattr: keeps items whose value (or attribute) passes the test
// named by the next argument, or is true if no test is given.
template <bool kKeep, bool kByAttribute>
Result<Value> filter_items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const std::size_t test_at = kByAttribute ? 1 : 0;
  if (arguments.positional.size() < test_at) return fail("selectattr needs an attribute");
  const bool has_test = arguments.positional.size() > test_at;
  if (has_test && !arguments.positional[test_at].is_text()) {
    return wrong_type("the name of a test must be a str", arguments.positional[test_at]);
  }
  const Arguments test_arguments = has_test ? rest_of(arguments, test_at + 1) : Arguments{};
  FM_ASSIGN_OR_RETURN(const auto items, items_to_select(self, runtime.heap));
  std::vector<Value> kept;
  for (const Value& item : items) {
    FM_RETURN_IF_ERROR(runtime.heap.spend());
    Value tested = item;
    if (kByAttribute) {
      FM_ASSIGN_OR_RETURN(tested, attribute_at_path(runtime, item, arguments.positional[0]));
    }
    bool passes = tested.truthy();
    if (has_test) {
      FM_ASSIGN_OR_RETURN(passes, apply_test(runtime, arguments.positional[test_at].as_text(),
                                             tested, test_arguments));
    }
    if (passes == kKeep) kept.push_back(item);
  }
  return runtime.heap.list(std::move(kept));
}

// map(attribute='a.b', default=x), or map('filter', arguments...).
Result<Value> map_filter(Runtime& runtime, const Value& self, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(auto items, items_to_select(self, runtime.heap));
  if (arguments.positional.empty()) {
    FM_ASSIGN_OR_RETURN(const auto args,
                        BoundArguments::bind("map", arguments, {"attribute", "default"}));
    FM_ASSIGN_OR_RETURN(const Value path, args.required(0));
    for (Value& item : items) {
      FM_ASSIGN_OR_RETURN(item, attribute_at_path(runtime, item, path));
      if (item.is_undefined()) item = args.value_or(1, item);
    }
    return runtime.heap.list(std::move(items));
  }
  const Value& name = arguments.positional[0];
  if (!name.is_text()) return wrong_type("the name of a filter must be a str", name);
  if (name.as_text() == "map") return fail("map cannot apply itself");
  const Arguments filter_arguments = rest_of(arguments, 1);
  for (Value& item : items) {
    FM_RETURN_IF_ERROR(runtime.heap.spend());
    FM_ASSIGN_OR_RETURN(item, apply_filter(runtime, name.as_text(), item, filter_arguments));
  }
  return runtime.heap.list(std::move(items));
}

}  // namespace

Result<Value> attribute_at_path(Runtime& runtime, const Value& item, const Value& path) {
  if (!path.is_text()) return get_item(runtime, item, path);
  Value value = item;
  std::string_view rest = path.as_text();
  for (bool has_more = true; has_more;) {
    const std::size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    has_more = dot != std::string_view::npos;
    if (has_more) rest.remove_prefix(dot + 1);
    std::int64_t index = 0;
    const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = failure == std::errc() && end == part.data() + part.size();
    const Value key =
        is_index ? Value::integer(index) : runtime.heap.part_of(path.marked_text(), part);
    FM_RETURN_IF_ERROR(runtime.heap.spend());
    FM_ASSIGN_OR_RETURN(value, get_item(runtime, value, key));
  }
  return value;
}

const BuiltinTable& selection_filters() {
  static const BuiltinTable kTable = {
      {"map", map_filter},
      {"reject", filter_items<false, false>},
      {"rejectattr", filter_items<false, true>},
      {"select", filter_items<true, false>},
      {"selectattr", filter_items<true, true>},
  };
  return kTable;
}

}  // namespace flashmoe::jinja
