#ifndef FLASHMOE_TOKENIZER_BPE_MODEL_H_
#define FLASHMOE_TOKENIZER_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/json_node.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/token_id.h"
#include "tokenizer/tokenizer_file.h"
#include "tokenizer/vocabulary.h"

namespace flashmoe {

/// The work space of one thread that encodes; it grows to the longest piece seen.
struct BpeScratch {
  struct Node {
    TokenId id = 0;
    std::uint32_t previous = 0;
    std::uint32_t next = 0;
  };
  struct Candidate {
    std::uint32_t rank = 0;
    std::uint32_t position = 0;  // of the left node
    TokenId left = 0;
    TokenId right = 0;
    TokenId result = 0;
  };
  std::vector<TokenId> symbols;
  std::vector<MergeTable::Merge> merges;
  std::vector<Node> nodes;
  std::vector<Candidate> heap;
};

/// Byte-pair encoding: a piece starts as its single bytes (or code points); then, again and again,
/// the adjacent pair with the lowest rank, leftmost on ties, becomes one token. Immutable.
class BpeModel {
 public:
  /// `model` is the "model" node of `file`. `byte_level`: tokens spell bytes. Errors: kCorrupt,
  /// kUnsupported, naming the field.
  static Result<BpeModel> build(const TokenizerFile& file, const JsonNode& model, bool byte_level);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  /// The most bytes of text that a token stands for.
  std::size_t token_size_max() const { return token_size_max_; }
  /// Longer pieces are kInvalidArgument. Before threads share this.
  void set_word_size_max(std::size_t size) { word_size_max_ = size; }

  /// Appends the ids of `piece` to `out`. Error: kInvalidArgument for text the vocabulary has no
  /// token for.
  Status encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const;

 private:
  static constexpr TokenId kNoToken = -1;

  Status read_options(const JsonNode& model);
  Status build_vocabulary(const TokenizerFile& file);
  Status build_merges(const TokenizerFile& file);
  Status find_single_tokens(const JsonNode& model);

  Status start_symbols(std::string_view piece, std::vector<TokenId>& symbols) const;
  Status start_code_points(std::string_view piece, std::vector<TokenId>& symbols) const;
  void merge_by_scanning(BpeScratch& scratch) const;
  void merge_by_heap(BpeScratch& scratch) const;

  bool byte_level_ = false;
  bool byte_fallback_ = false;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
  TokenId unk_ = kNoToken;
  std::size_t token_size_max_ = 1;
  std::size_t word_size_max_ = ~std::size_t{0};
  Vocabulary vocabulary_;
  MergeTable merges_;
  // Of each byte: the token that is this byte or, without byte_level_, spells it as <0xNN>.
  std::array<TokenId, 256> byte_tokens_{};
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_BPE_MODEL_H_
