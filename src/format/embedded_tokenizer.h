#ifndef FLASHMOE_FORMAT_EMBEDDED_TOKENIZER_H_
#define FLASHMOE_FORMAT_EMBEDDED_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/gguf.h"

namespace flashmoe {

/// A tokenizer as a GGUF file has it, unchecked but for types: what it means is for the tokenizer's
/// room to say. Move-only: texts refer to the header.
struct EmbeddedTokenizer {
  EmbeddedTokenizer() = default;
  EmbeddedTokenizer(EmbeddedTokenizer&&) = default;
  EmbeddedTokenizer& operator=(EmbeddedTokenizer&&) = default;

  std::string file;                        // for messages
  std::string model;                       // "gpt2", "llama", ...; empty: there is none
  std::string pre;                         // the pre-tokenizer's name: files leave out its pattern
  std::vector<std::string_view> tokens;    // by id
  std::vector<std::uint64_t> token_types;  // of each; empty: all normal
  std::vector<double> scores;              // of each, in "llama"
  std::vector<std::string_view> merges;    // "left right", in order of rank, in "gpt2"
  std::optional<std::uint64_t> bos_id;
  std::optional<std::uint64_t> eos_id;
  std::vector<std::uint64_t> end_ids;  // eos_id and what else ends a text
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::optional<bool> add_space_prefix;
  std::optional<std::string> chat_template;

  std::vector<std::byte> header;
};

/// The tokenizer of the file whose header that is. Errors: kCorrupt for values of another type,
/// naming file and key.
Result<EmbeddedTokenizer> read_embedded_tokenizer(GgufFile gguf);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_EMBEDDED_TOKENIZER_H_
