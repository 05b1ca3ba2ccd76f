#ifndef FLASHMOE_TOKENIZER_TOKENIZER_H_
#define FLASHMOE_TOKENIZER_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flashmoe/chat_prompt.h"
#include "tokenizer/token_id.h"

namespace flashmoe {

/// How text becomes ids.
struct EncodeOptions {
  enum class AddedTokens : std::uint8_t {
    kAll,         // "<|im_end|>" in the text is that token, as in a rendered chat template
    kNotSpecial,  // only added tokens that are not special are recognised
    kNone,        // all text is plain text: for input that must not forge control tokens
  };
  AddedTokens added_tokens = AddedTokens::kAll;
  /// Spans of the text, in order and apart, in which no control token is read, nor across an edge.
  /// All else is as without them.
  std::span<const TextSpan> quoted;
  /// Adds what the checkpoint puts around a text (often a BOS). Chat templates write it themselves.
  bool add_special_tokens = false;
  /// More tokens are kOutOfBudget, found before they and what leads to them take memory.
  std::size_t token_max = ~std::size_t{0};
};

/// How ids become text.
struct DecodeOptions {
  /// Leaves out special tokens. Added tokens that are not special (<think>, <tool_call>) stay.
  bool skip_special_tokens = false;
  /// Special tokens that stay all the same.
  std::vector<TokenId> kept;
};

/// Text to token ids and back, as the checkpoint's tokenizer.json says (docs/tokenizer.md).
/// Immutable after loading; threads may share it and call everything at once.
class Tokenizer {
 public:
  /// Reads tokenizer.json and, where they are there, tokenizer_config.json and
  /// special_tokens_map.json of a model's folder, or of what find_model_folder() makes of it.
  /// Errors name file, field and remedy: kNotFound, kIo, kCorrupt, kUnsupported.
  static Result<std::unique_ptr<Tokenizer>> load(const std::filesystem::path& model_folder);

  /// The same from the files' contents; `config_json` may be empty.
  static Result<std::unique_ptr<Tokenizer>> from_json(std::string_view tokenizer_json,
                                                      std::string_view config_json);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  /// Errors: kInvalidArgument for invalid UTF-8 (names the byte offset), for text the vocabulary
  /// cannot spell, for a word beyond set_word_size_max(), and where a split pattern needs too much
  /// work; kOutOfBudget beyond EncodeOptions::token_max.
  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options = {}) const;

  /// The ids of a text that begins a sequence: behind what the checkpoint puts before one (a BOS),
  /// unless the text begins with that itself. Errors: the same.
  Result<std::vector<TokenId>> encode_raw(std::string_view text,
                                          std::size_t token_max = ~std::size_t{0}) const;

  /// The ids of a rendered chat from byte `begin` on. Errors: the same.
  Result<std::vector<TokenId>> encode(const ChatPrompt& prompt, std::size_t begin = 0) const;
  /// The longest piece of text, in bytes, that merges may make tokens of: while they do, it takes
  /// some fifty times as much memory. Before threads share this.
  void set_word_size_max(std::size_t size);

  /// Always valid UTF-8: bytes that are none become U+FFFD. Error: kInvalidArgument for an id that
  /// is no token. Detokenizer (detokenizer.h) does
  /// the same id by id.
  Result<std::string> decode(std::span<const TokenId> ids, const DecodeOptions& options = {}) const;

  /// One more than the highest id. The model's own vocab_size may be larger (padding rows) and ids
  /// below may be unused: is_token() tells.
  std::size_t vocab_size() const;
  bool is_token(TokenId id) const;
  bool is_special(TokenId id) const;
  /// Whether text gives this token by its mark alone (<|im_end|>, <think>), special or not: an
  /// added token that is more than white space.
  bool is_control(TokenId id) const;
  std::vector<TokenId> control_tokens() const;

  /// The token that stands for exactly `text`: an added token, else one of the model's.
  std::optional<TokenId> token_to_id(std::string_view text) const;

  /// The bytes of one token, which need not be valid UTF-8. Error: kInvalidArgument.
  Result<std::string> id_to_bytes(TokenId id) const;

  /// bos_token and eos_token, text and id, of tokenizer_config.json, else of
  /// special_tokens_map.json.
  const std::optional<std::string>& bos_token() const;
  const std::optional<std::string>& eos_token() const;
  std::optional<TokenId> bos_id() const;
  std::optional<TokenId> eos_id() const;
  /// What ends a text by either file. Generation also stops at generation_config.json's ids.
  std::vector<TokenId> end_ids() const;

 private:
  friend class Detokenizer;
  struct State;

  explicit Tokenizer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_TOKENIZER_H_
