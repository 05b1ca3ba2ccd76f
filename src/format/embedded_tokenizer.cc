#include "format/embedded_tokenizer.h"

#include <utility>

namespace flashmoe {

Result<EmbeddedTokenizer> read_embedded_tokenizer(GgufFile gguf) {
  const GgufMetadata& metadata = gguf.header.metadata;
  EmbeddedTokenizer tokenizer;
  tokenizer.file = metadata.file();
  FM_ASSIGN_OR_RETURN(const auto model, metadata.string("tokenizer.ggml.model"));
  FM_ASSIGN_OR_RETURN(const auto pre, metadata.string("tokenizer.ggml.pre"));
  tokenizer.model = model.value_or("");
  tokenizer.pre = pre.value_or("");
  FM_ASSIGN_OR_RETURN(tokenizer.tokens, metadata.strings("tokenizer.ggml.tokens"));
  FM_ASSIGN_OR_RETURN(tokenizer.token_types, metadata.uints("tokenizer.ggml.token_type"));
  FM_ASSIGN_OR_RETURN(tokenizer.scores, metadata.numbers("tokenizer.ggml.scores"));
  FM_ASSIGN_OR_RETURN(tokenizer.merges, metadata.strings("tokenizer.ggml.merges"));
  FM_ASSIGN_OR_RETURN(tokenizer.bos_id, metadata.uint("tokenizer.ggml.bos_token_id"));
  FM_ASSIGN_OR_RETURN(tokenizer.eos_id, metadata.uint("tokenizer.ggml.eos_token_id"));
  FM_ASSIGN_OR_RETURN(tokenizer.end_ids, metadata.end_token_ids());
  FM_ASSIGN_OR_RETURN(tokenizer.add_bos, metadata.boolean("tokenizer.ggml.add_bos_token"));
  FM_ASSIGN_OR_RETURN(tokenizer.add_eos, metadata.boolean("tokenizer.ggml.add_eos_token"));
  FM_ASSIGN_OR_RETURN(tokenizer.add_space_prefix,
                      metadata.boolean("tokenizer.ggml.add_space_prefix"));
  FM_ASSIGN_OR_RETURN(tokenizer.chat_template, metadata.string("tokenizer.chat_template"));
  tokenizer.header = std::move(gguf.bytes);  // which moves no byte
  return tokenizer;
}

}  // namespace flashmoe
