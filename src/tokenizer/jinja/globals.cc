#include <array>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/printing.h"

namespace flashmoe::jinja {
namespace {

// As in Jinja2's sandbox, in which Hugging Face renders.
constexpr std::uint64_t kMaxRange = 100'000;

Result<Value> raise_exception(Runtime& runtime, const Value&, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args,
                      BoundArguments::bind("raise_exception", arguments, {"message"}));
  FM_ASSIGN_OR_RETURN(const Value message, to_str(args.value_or(0, Value()), runtime.heap));
  return fail("{}", message.as_text());
}

Result<Value> range(Runtime& runtime, const Value&, const Arguments& arguments) {
  const std::size_t count = arguments.positional.size();
  if (count == 0) return fail("range needs an end");
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("range", arguments, {"a", "b", "c"}));
  for (std::size_t i = 0; i < count; ++i) {
    if (!arguments.positional[i].to_integer()) {
      return wrong_type("range needs ints", arguments.positional[i]);
    }
  }
  FM_ASSIGN_OR_RETURN(const std::int64_t first, args.integer_or(0, 0));
  FM_ASSIGN_OR_RETURN(const std::int64_t second, args.integer_or(1, 0));
  FM_ASSIGN_OR_RETURN(const std::int64_t step, args.integer_or(2, 1));
  const std::int64_t start = count == 1 ? 0 : first;
  const std::int64_t stop = count == 1 ? first : second;
  if (step == 0) return fail("range step cannot be zero");
  // Unsigned differences hold for any two integers.
  const auto distance = [](std::int64_t a, std::int64_t b) {
    return static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a);
  };
  const bool is_empty = step > 0 ? start >= stop : start <= stop;
  const std::uint64_t span = step > 0 ? distance(start, stop) : distance(stop, start);
  const std::uint64_t stride =
      step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  const std::uint64_t size = is_empty ? 0 : (span - 1) / stride + 1;
  if (size > kMaxRange) return fail("range of more than {} items", kMaxRange);
  FM_RETURN_IF_ERROR(runtime.heap.spend(size));
  std::vector<Value> items;
  items.reserve(size);
  for (std::uint64_t i = 0; i < size; ++i) {
    items.push_back(Value::integer(start + static_cast<std::int64_t>(i) * step));
  }
  return runtime.heap.list(std::move(items));
}

// dict(other, a=1) and namespace(other, a=1): `other` is a dict or a list of pairs.
Status fill(Runtime& runtime, const Arguments& arguments, Dict& dict) {
  if (arguments.positional.size() > 1)
    return fail("dict and namespace take one positional argument");
  for (const Value& other : arguments.positional) {
    FM_ASSIGN_OR_RETURN(const auto keys, items_of(other, runtime.heap));
    for (const Value& key : keys) {
      if (other.dict() != nullptr) {
        FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(key));
        dict.set(key, *other.dict()->find(key));
        continue;
      }
      FM_ASSIGN_OR_RETURN(const auto pair, items_of(key, runtime.heap));
      if (pair.size() != 2 || !Dict::is_key(pair[0])) return fail("dict needs (key, value) pairs");
      FM_RETURN_IF_ERROR(runtime.heap.spend_on_key(pair[0]));
      dict.set(pair[0], pair[1]);
    }
    runtime.heap.add_bytes(keys.size() * 4 * sizeof(Value));
  }
  for (const auto& [name, value] : arguments.named) dict.set(runtime.heap.text(name), value);
  return Status();
}

Result<Value> dict(Runtime& runtime, const Value&, const Arguments& arguments) {
  Dict* dict = runtime.heap.dict();
  FM_RETURN_IF_ERROR(fill(runtime, arguments, *dict));
  return Value::object(dict);
}

Result<Value> name_space(Runtime& runtime, const Value&, const Arguments& arguments) {
  Namespace* space = runtime.heap.name_space();
  FM_RETURN_IF_ERROR(fill(runtime, arguments, space->attributes));
  return Value::object(space);
}

Result<Value> strftime_now(Runtime& runtime, const Value&, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("strftime_now", arguments, {"format"}));
  FM_RETURN_IF_ERROR(args.required(0).status());
  FM_ASSIGN_OR_RETURN(const std::string_view format, args.text(0));
  std::array<char, 4096> buffer;
  const std::tm now = runtime.clock();
  // The extra space tells an empty result from one that did not fit.
  const std::string padded = std::string(format) + " ";
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), padded.c_str(), &now);
  if (size == 0) return fail("strftime_now: result longer than {} bytes", buffer.size());
  return runtime.heap.text(std::string_view(buffer.data(), size - 1),
                           args[0]->marked_text().least_trusted());
}

// joiner(sep): its calls give "" first, then the separator. `self` is [separator, was called].
Result<Value> call_joiner(Runtime& runtime, const Value& self, const Arguments&) {
  Value state = self;
  auto& items = state.list()->items;
  if (items[1].truthy()) return items[0];
  items[1] = Value::boolean(true);
  return runtime.heap.text("", Origin::kTemplate);
}

Result<Value> joiner(Runtime& runtime, const Value&, const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto args, BoundArguments::bind("joiner", arguments, {"sep"}));
  const Value separator = args.value_or(0, runtime.heap.text(", ", Origin::kTemplate));
  const Value state = runtime.heap.list({separator, Value::boolean(false)});
  return Value::object(runtime.heap.callable({.builtin = call_joiner, .self = state}));
}

const Value& items_key() {
  static const Value kKey = Value::constant("items");
  return kKey;
}

const Value& current_key() {
  static const Value kKey = Value::constant("current");
  return kKey;
}

// cycler(a, b): a namespace whose items rotate; current is always items[0].
Result<Value> next_of_cycler(Runtime& runtime, const Value& self, const Arguments&) {
  Dict& attributes = self.name_space()->attributes;
  const Value* items = attributes.find(items_key());
  if (items == nullptr || items->list() == nullptr || items->list()->items.empty()) {
    return fail("cycler without items");
  }
  std::vector<Value> rotated = items->list()->items;
  FM_RETURN_IF_ERROR(runtime.heap.spend_bytes(rotated.size() * sizeof(Value)));
  Value current = rotated.front();
  rotated.erase(rotated.begin());
  rotated.push_back(current);
  attributes.set(current_key(), rotated.front());
  attributes.set(items_key(), runtime.heap.tuple(std::move(rotated)));
  return current;
}

Result<Value> cycler(Runtime& runtime, const Value&, const Arguments& arguments) {
  if (arguments.positional.empty()) return fail("cycler needs items");
  Namespace* space = runtime.heap.name_space();
  space->attributes.set(items_key(), runtime.heap.tuple(arguments.positional));
  space->attributes.set(current_key(), arguments.positional.front());
  space->attributes.set(Value::constant("next"),
                        Value::object(runtime.heap.callable(
                            {.builtin = next_of_cycler, .self = Value::object(space)})));
  return Value::object(space);
}

}  // namespace

Builtin find_global(std::string_view name) {
  static const BuiltinTable kTable = {
      {"cycler", cycler},
      {"dict", dict},
      {"joiner", joiner},
      {"namespace", name_space},
      {"raise_exception", raise_exception},
      {"range", range},
      {"strftime_now", strftime_now},
  };
  const auto found = kTable.find(name);
  return found == kTable.end() ? nullptr : found->second;
}

}  // namespace flashmoe::jinja
