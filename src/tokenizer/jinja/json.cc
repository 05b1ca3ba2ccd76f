#include "tokenizer/jinja/json.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {
namespace {

using Json = nlohmann::ordered_json;

struct Conversion {
  Heap& heap;
  const OriginMap& exceptions;
};

Result<Value> convert(const Json& json, const Conversion& conversion, Origin origin, int depth) {
  Heap& heap = conversion.heap;
  if (depth > kMaxValueDepth) return fail("value nested more than {} deep", kMaxValueDepth);
  FM_RETURN_IF_ERROR(heap.reserve(0));
  if (!conversion.exceptions.empty()) {
    const auto exception = conversion.exceptions.find(&json);
    if (exception != conversion.exceptions.end()) origin = exception->second;
  }
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::integer(json.get<std::int64_t>());
    case Json::value_t::number_unsigned: {
      const auto value = json.get<std::uint64_t>();
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return Value::real(static_cast<double>(value));
      }
      return Value::integer(static_cast<std::int64_t>(value));
    }
    case Json::value_t::number_float:
      return Value::real(json.get<double>());
    case Json::value_t::string:
      return heap.text(json.get_ref<const std::string&>(), origin);
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) {
        FM_ASSIGN_OR_RETURN(Value value, convert(item, conversion, origin, depth + 1));
        items.push_back(std::move(value));
      }
      return heap.list(std::move(items));
    }
    case Json::value_t::object: {
      Dict* dict = heap.dict();
      for (const auto& [key, item] : json.items()) {
        FM_ASSIGN_OR_RETURN(Value value, convert(item, conversion, origin, depth + 1));
        dict->set(heap.text(key, origin), std::move(value));
      }
      return Value::object(dict);
    }
    case Json::value_t::null:
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return Value::none();
}

}  // namespace

Result<Value> from_json(const Json& json, Heap& heap, Origin origin, const OriginMap& exceptions) {
  return convert(json, {heap, exceptions}, origin, 0);
}

}  // namespace flashmoe::jinja
