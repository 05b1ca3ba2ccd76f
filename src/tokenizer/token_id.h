#ifndef FLASHMOE_TOKENIZER_TOKEN_ID_H_
#define FLASHMOE_TOKENIZER_TOKEN_ID_H_

#include <cstdint>

namespace flashmoe {

/// A row of the embedding table; never negative in a valid sequence.
using TokenId = std::int32_t;

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_TOKEN_ID_H_
