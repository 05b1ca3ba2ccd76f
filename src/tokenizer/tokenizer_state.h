#ifndef FLASHMOE_TOKENIZER_TOKENIZER_STATE_H_
#define FLASHMOE_TOKENIZER_TOKENIZER_STATE_H_

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/encode_workspace.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/tokenizer.h"

namespace flashmoe {

/// The stages of a tokenizer, in the order text passes them. Private to this room.
struct Tokenizer::State {
  std::vector<AddedToken> added_tokens;  // by id
  AddedTokenFinder raw_finder;           // of those matched before normalisation
  AddedTokenFinder normalized_finder;    // and after it
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  SpecialTokenFrame frame;
  TokenDecoder decoder;

  std::size_t vocab_size = 0;
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::vector<std::string> end_tokens;  // what either file calls eos_token

  mutable EncodeWorkspacePool workspaces;

  /// kInvalidArgument unless `id` is a token.
  Status check_id(TokenId id) const;
  const AddedToken* find_added(TokenId id) const;

  static Result<std::unique_ptr<State>> build(const TokenizerFile& file);
  /// bos_token and eos_token of a file that may have both.
  Status read_special_tokens(const nlohmann::json& config);
  Status read_config(const nlohmann::json& config);

  Status encode_text(std::string_view text, const EncodeOptions& options,
                     EncodeWorkspace& workspace, std::vector<TokenId>& ids) const;
  Status encode_normalized(std::string_view text, bool is_text_start, std::size_t token_max,
                           EncodeWorkspace& workspace, std::vector<TokenId>& ids) const;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_TOKENIZER_STATE_H_
