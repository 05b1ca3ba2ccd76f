#ifndef FLASHMOE_TOKENIZER_POST_PROCESSOR_H_
#define FLASHMOE_TOKENIZER_POST_PROCESSOR_H_

#include <vector>

#include "base/result.h"
#include "tokenizer/json_node.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// The ids that surround a text when special tokens are asked for: the "post_processor" of
/// tokenizer.json, where TemplateProcessing counts and ByteLevel changes nothing.
struct SpecialTokenFrame {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;

  /// Null gives an empty frame. Errors: kUnsupported names the type.
  static Result<SpecialTokenFrame> from_json(const JsonNode& node);
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_POST_PROCESSOR_H_
