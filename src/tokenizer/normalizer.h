#ifndef FLASHMOE_TOKENIZER_NORMALIZER_H_
#define FLASHMOE_TOKENIZER_NORMALIZER_H_

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "flashmoe/chat_prompt.h"
#include "tokenizer/json_node.h"
#include "tokenizer/span_carrier.h"
#include "tokenizer/split_pattern.h"

namespace flashmoe {

/// Rewrites `text` (valid UTF-8) to Unicode normal form C. Stretches without characters that could
/// compose are copied, the others go through utf8proc.
Status normalize_nfc(std::string_view text, std::string& out);
Status normalize_nfc(std::string_view text, std::string& out, SpanCarrier& spans);

/// The "normalizer" of tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip and
/// Sequence. Immutable.
class Normalizer {
 public:
  /// Null means no normalisation. Errors: kUnsupported names the type.
  static Result<Normalizer> from_json(const JsonNode& node);

  /// `text` normalised. The result lies in `text` itself or in `buffer`. `spans` of the text, in
  /// order, become the spans of the result that they went into: where several characters became one
  /// that only some of them would cover, all of it.
  Result<std::string_view> apply(std::string_view text, std::string& buffer,
                                 PatternScratch& scratch, std::vector<TextSpan>& spans) const;

 private:
  enum class Form : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };
  struct Lowercase {};
  struct Prepend {
    std::string text;
  };
  struct Replace {
    SplitPattern pattern;
    std::string content;
  };
  struct Strip {
    bool left = true;
    bool right = true;
  };
  using Step = std::variant<Form, Lowercase, Prepend, Replace, Strip>;

  static Status add_steps(const JsonNode& node, std::vector<Step>& steps);
  static Result<std::string> apply_step(const Step& step, std::string_view text,
                                        std::size_t size_max, PatternScratch& scratch,
                                        SpanCarrier& spans);

  std::vector<Step> steps_;
};

/// The "pattern" object of a Split or Replace node: {"Regex": "..."} or {"String": "..."}.
Result<SplitPattern> pattern_from_json(const JsonNode& node);

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_NORMALIZER_H_
