#ifndef FLASHMOE_TOKENIZER_CHAT_MESSAGES_H_
#define FLASHMOE_TOKENIZER_CHAT_MESSAGES_H_

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "tokenizer/chat_template.h"

namespace flashmoe {

/// The messages in a form that a template with `traits` understands. Errors name the message by its
/// index: not a list of objects, or content parts other than text for a template that takes none.
Result<nlohmann::ordered_json> adapt_messages(const nlohmann::ordered_json& messages,
                                              const ChatTemplateTraits& traits);

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_CHAT_MESSAGES_H_
