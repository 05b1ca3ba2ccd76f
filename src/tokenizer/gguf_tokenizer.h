#ifndef FLASHMOE_TOKENIZER_GGUF_TOKENIZER_H_
#define FLASHMOE_TOKENIZER_GGUF_TOKENIZER_H_

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "format/embedded_tokenizer.h"
#include "tokenizer/tokenizer_file.h"

namespace flashmoe {

/// What tokenizer.json says of the tokenizer that a GGUF file has: byte-level BPE ("gpt2"), or
/// SentencePiece's BPE ("llama"), whose merges follow from its scores. Pattern and normaliser are
/// those of the published tokenizer.json of each pre-tokenizer's name (docs/tokenizer.md). Errors
/// name the key: kNotFound without a tokenizer; kUnsupported for a kind or a pre-tokenizer that is
/// not known, naming those that are; kCorrupt.
Result<TokenizerFile> tokenizer_file_of(const EmbeddedTokenizer& tokenizer);

/// Likewise tokenizer_config.json: bos_token, eos_token, and whether they are added.
nlohmann::json tokenizer_config_of(const EmbeddedTokenizer& tokenizer);

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_GGUF_TOKENIZER_H_
