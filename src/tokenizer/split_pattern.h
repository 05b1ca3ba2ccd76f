#ifndef FLASHMOE_TOKENIZER_SPLIT_PATTERN_H_
#define FLASHMOE_TOKENIZER_SPLIT_PATTERN_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace flashmoe {

/// What one thread needs to run split patterns: PCRE2's match state, limits and stack.
class PatternScratch {
 public:
  PatternScratch();
  PatternScratch(PatternScratch&&) noexcept;
  PatternScratch& operator=(PatternScratch&&) noexcept;
  ~PatternScratch();

 private:
  friend class SplitPattern;
  struct State;
  std::unique_ptr<State> state_;
};

/// The regular expression, or literal string, of a Split or Replace node. The files write regular
/// expressions for Oniguruma; they run on PCRE2 (JIT where it has one), so what the two read
/// differently is translated or refused. Immutable: threads share it, each with its own scratch.
class SplitPattern {
 public:
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  /// Errors: kUnsupported for what PCRE2 cannot say, kCorrupt for what is no regular expression.
  static Result<SplitPattern> regex(std::string_view pattern);
  static SplitPattern literal(std::string text);

  /// The leftmost non-empty match that begins at `from` or later in `text`, which is valid UTF-8
  /// and not longer than 2^31 bytes. Work and memory are limited: a pattern that backtracks without
  /// end is kInvalidArgument.
  Result<std::optional<Match>> find(std::string_view text, std::size_t from,
                                    PatternScratch& scratch) const;

  /// All of `text` as alternating stretches: `is_match` says which are matches. Appends to `out`.
  struct Stretch {
    std::size_t begin = 0;
    std::size_t end = 0;
    bool is_match = false;
  };
  /// More than `count_max` in `out` are kOutOfBudget.
  Status split(std::string_view text, PatternScratch& scratch, std::vector<Stretch>& out,
               std::size_t count_max = ~std::size_t{0}) const;

 private:
  SplitPattern() = default;

  std::shared_ptr<const pcre2_real_code_8> code_;  // null for a literal
  bool jit_ = false;
  std::string source_;  // as the file writes it, for messages; or the literal
};

/// `pattern` in PCRE2's dialect, to be compiled with UTF, UCP and MULTILINE. For tests.
Result<std::string> translate_pattern(std::string_view pattern);

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_SPLIT_PATTERN_H_
