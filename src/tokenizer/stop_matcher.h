#ifndef FLASHMOE_TOKENIZER_STOP_MATCHER_H_
#define FLASHMOE_TOKENIZER_STOP_MATCHER_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// Looks for stop strings in text that arrives in parts, and holds back the end of it while it may
/// still become one. The first stop string to be complete counts (of two that end together, the
/// longer), so the outcome does not depend on how the text was cut. One thread at a time.
class StopMatcher {
 public:
  /// From `open` to `close`, both included, no stop string is looked for.
  struct Passage {
    std::string open;
    std::string close;
  };

  /// Error: kInvalidArgument for an empty stop string.
  static Result<StopMatcher> create(std::vector<std::string> stops,
                                    std::vector<Passage> passages = {});

  /// Appends to `out` the text that can no longer be part of a stop string. After a match nothing
  /// more is appended.
  void push(std::string_view text, std::string& out);

  /// The same for text that is part of what stop strings are looked for in, but is not shown: that
  /// of control tokens.
  void push_hidden(std::string_view text, std::string& out);

  /// No more text comes: appends what is held back. Appends nothing after a match.
  void finish(std::string& out);

  /// The stop string that ended the text, as an index into `stops`.
  std::optional<std::size_t> match() const { return match_; }

 private:
  struct Sought {
    std::string text;
    // Knuth-Morris-Pratt: [i] is the length of the longest proper prefix of `text` that ends at i.
    std::vector<std::size_t> prefix_sizes;
    std::size_t matched = 0;  // how much of `text` the end of what was pushed is
  };
  struct SoughtPassage {
    Sought open;
    Sought close;
  };
  /// A stop string that is complete, unless it lies in the mark of a passage that is not.
  struct Candidate {
    std::size_t stop = 0;
    std::size_t end = 0;  // in held_
  };

  StopMatcher() = default;

  static Sought sought(std::string text);
  /// Whether the text is complete with `c`.
  static bool advance(Sought& sought, char c);
  void take(char c);
  void take_stops(char c);
  void end_at(const Candidate& candidate, std::string& out);
  void push(std::string_view text, bool is_hidden, std::string& out);
  /// Moves the first `size` bytes that are held back to `out`, those that are shown.
  void release(std::size_t size, std::string& out);

  std::vector<Sought> stops_;
  std::vector<SoughtPassage> passages_;
  std::optional<std::size_t> passage_;  // that is open
  std::optional<Candidate> candidate_;
  std::string held_;
  std::vector<bool> is_hidden_;  // [i]: held_[i] is not shown
  std::optional<std::size_t> match_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_STOP_MATCHER_H_
