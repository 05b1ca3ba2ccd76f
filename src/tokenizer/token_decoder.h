#ifndef FLASHMOE_TOKENIZER_TOKEN_DECODER_H_
#define FLASHMOE_TOKENIZER_TOKEN_DECODER_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "tokenizer/json_node.h"

namespace flashmoe {

/// The "decoder" of tokenizer.json: ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip and
/// Sequence. Works token by token, so that text can stream. Immutable.
class TokenDecoder {
 public:
  /// Errors: kUnsupported names the type; kCorrupt if there is none.
  static Result<TokenDecoder> from_json(const JsonNode& node);

  /// True if tokens spell bytes (byte_level.h).
  bool byte_level() const { return byte_level_; }

  /// Appends the bytes that `token`, as the vocabulary keeps it, stands for.
  void append_bytes(std::string_view token, std::string& out) const;

  /// The whole output loses up to `leading_count()` repetitions of `leading()` at its beginning:
  /// the space that SentencePiece puts before the first word.
  std::string_view leading() const { return leading_; }
  std::size_t leading_count() const { return leading_count_; }

 private:
  struct Replace {
    std::string from;
    std::string to;
  };
  struct ByteFallback {};
  struct Strip {
    std::string content;
    std::size_t start = 0;
    std::size_t stop = 0;
  };
  using Step = std::variant<Replace, ByteFallback, Strip>;

  Status add_steps(const JsonNode& node);
  Status add_replace(const JsonNode& node);
  Status add_strip(const JsonNode& node);
  static void apply(const Step& step, std::string& token);

  std::vector<Step> steps_;
  bool byte_level_ = false;
  bool fused_ = false;  // steps from here on see the whole text
  std::string leading_;
  std::size_t leading_count_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_TOKEN_DECODER_H_
