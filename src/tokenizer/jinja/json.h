#ifndef FLASHMOE_TOKENIZER_JINJA_JSON_H_
#define FLASHMOE_TOKENIZER_JINJA_JSON_H_

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/result.h"
#include "tokenizer/jinja/heap.h"
#include "tokenizer/jinja/value.h"

namespace flashmoe::jinja {

/// Values whose strings, all below them included, have another origin than what is around them.
using OriginMap = std::unordered_map<const nlohmann::ordered_json*, Origin>;

/// Copies JSON into the heap, keys in their order; strings are of `origin`, save for `exceptions`.
/// Integers beyond int64 become floats. Error: more than kMaxValueDepth levels, or the memory
/// limit.
Result<Value> from_json(const nlohmann::ordered_json& json, Heap& heap, Origin origin,
                        const OriginMap& exceptions = {});

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_JSON_H_
