#ifndef FLASHMOE_TOKENIZER_TESTING_TINY_TOKENIZER_H_
#define FLASHMOE_TOKENIZER_TESTING_TINY_TOKENIZER_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace flashmoe::testing {

/// `bytes` as a byte-level vocabulary spells them: " the" is "Ġthe".
std::string spell_bytes(std::string_view bytes);

/// A byte-level tokenizer.json: byte b is id b, the result of merges[i] is id 256 + i, then come
/// <|end|> (special), <think> (not special). Merges are pairs of byte strings.
nlohmann::json tiny_byte_level(const std::vector<std::pair<std::string, std::string>>& merges = {});

/// A SentencePiece-style tokenizer.json: <unk>, <s>, </s>, <0x00>..<0xFF>, then some code points
/// and merges, with byte fallback, "▁" for spaces and <s> before a text.
nlohmann::json tiny_sentence_piece();

/// Loads `json` or fails the test.
std::unique_ptr<Tokenizer> load_tiny(const nlohmann::json& json, std::string_view config = "");

}  // namespace flashmoe::testing

#endif  // FLASHMOE_TOKENIZER_TESTING_TINY_TOKENIZER_H_
