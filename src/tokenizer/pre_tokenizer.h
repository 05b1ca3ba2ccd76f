#ifndef FLASHMOE_TOKENIZER_PRE_TOKENIZER_H_
#define FLASHMOE_TOKENIZER_PRE_TOKENIZER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "tokenizer/json_node.h"
#include "tokenizer/split_pattern.h"

namespace flashmoe {

/// A section of text cut into pieces. Reused from section to section, so that its buffers settle.
struct PieceList {
  struct Piece {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };
  std::string_view text;  // the section, or `rewritten`
  std::vector<Piece> pieces;
  std::size_t count_max = ~std::size_t{0};  // more pieces are kOutOfBudget

  // Work space of the steps.
  std::string rewritten;
  std::string rewritten_next;
  std::vector<Piece> pieces_next;
  std::vector<SplitPattern::Stretch> stretches;
};

/// The "pre_tokenizer" of tokenizer.json: Split, ByteLevel, Metaspace, Digits and Sequence. Merges
/// never cross the pieces it cuts. Immutable.
class PreTokenizer {
 public:
  /// Null leaves a section in one piece. Errors: kUnsupported names the type.
  static Result<PreTokenizer> from_json(const JsonNode& node);

  /// True if the model's tokens spell bytes (byte_level.h) rather than code points.
  bool byte_level() const { return byte_level_; }

  /// Cuts list.text into list.pieces. `is_text_start`: the section begins the whole text.
  Status apply(PieceList& list, bool is_text_start, PatternScratch& scratch) const;

 private:
  enum class Behavior : std::uint8_t {
    kIsolated,
    kRemoved,
    kMergedWithPrevious,
    kMergedWithNext,
    kContiguous,
  };
  enum class PrependScheme : std::uint8_t { kAlways, kFirst, kNever };

  struct Split {
    SplitPattern pattern;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
  };
  struct PrefixSpace {};  // ByteLevel's add_prefix_space
  struct Metaspace {
    std::string replacement;
    PrependScheme prepend = PrependScheme::kAlways;
  };
  using Step = std::variant<Split, PrefixSpace, Metaspace>;

  Status add_steps(const JsonNode& node);
  Status add_step(std::string_view type, const JsonNode& node);
  Status add_byte_level(const JsonNode& node);
  Status add_metaspace(const JsonNode& node);
  static Result<Behavior> read_behavior(const JsonNode& node);
  static Status split(const Split& step, PieceList& list, PatternScratch& scratch);
  static void merge_stretches(Behavior behavior, std::vector<SplitPattern::Stretch>& stretches);
  static Status rewrite(const Step& step, PieceList& list, bool is_text_start);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_PRE_TOKENIZER_H_
