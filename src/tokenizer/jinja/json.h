#ifndef FLASHMOE_TOKENIZER_JINJA_JSON_H_
#define FLASHMOE_TOKENIZER_JINJA_JSON_H_

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "tokenizer/jinja/heap.h"
#include "tokenizer/jinja/value.h"

namespace flashmoe::jinja {

/// Copies JSON into the heap, keys in their order. Integers beyond int64 become floats. Error: more
/// than kMaxValueDepth levels, or the memory limit.
Result<Value> from_json(const nlohmann::ordered_json& json, Heap& heap);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_JSON_H_
