#ifndef FLASHMOE_TOKENIZER_JINJA_ATTRIBUTE_PATH_H_
#define FLASHMOE_TOKENIZER_JINJA_ATTRIBUTE_PATH_H_

#include "base/result.h"
#include "tokenizer/jinja/runtime.h"

namespace flashmoe::jinja {

/// The attribute argument of map, selectattr, sort, ...: "function.name" or "0.text" goes down the
/// parts, items before attributes; an int is a subscript.
Result<Value> attribute_at_path(Runtime& runtime, const Value& item, const Value& path);

}  // namespace flashmoe::jinja

#endif  // FLASHMOE_TOKENIZER_JINJA_ATTRIBUTE_PATH_H_
