#ifndef FLASHMOE_CHAT_REGULAR_LANGUAGE_H_
#define FLASHMOE_CHAT_REGULAR_LANGUAGE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chat/decimal.h"
#include "chat/text_lengths.h"

namespace flashmoe {

/// Sets of texts, as terms whose derivatives are computed when a text needs them. A term is a
/// number; equal terms are the same number, so that it is also the state of an automaton: what may
/// follow. Counted repetitions cost nothing until they are walked. Texts are of Unicode characters.
/// Source: J. Brzozowski, Derivatives of Regular Expressions (1964). One thread at a time.
class RegularLanguage {
 public:
  using Term = std::uint32_t;
  static constexpr Term kNothing = 0;       // no text
  static constexpr Term kEmpty = 1;         // the empty text
  static constexpr Term kAnyCharacter = 2;  // each text of one character
  static constexpr Term kAnything = 3;      // all texts
  static constexpr std::uint32_t kUnlimited = 0xFFFFFFFFu;
  static constexpr char32_t kLastCharacter = 0x10FFFF;

  struct Range {
    char32_t first = 0;
    char32_t last = 0;
  };
  /// Where a text goes from a term with characters from `first` on, up to the next step's.
  struct Step {
    char32_t first = 0;
    Term to = kNothing;
  };
  using Row = std::vector<Step>;  // the first step begins at 0
  enum class Relation : std::uint8_t { kAtLeast, kMoreThan, kAtMost, kLessThan };

  RegularLanguage();

  Term characters(std::vector<Range> ranges);
  Term literal(std::u32string_view text);
  Term one_of(std::vector<std::u32string> texts);
  Term sequence(Term first, Term then);
  Term either(std::vector<Term> terms);
  Term repeat(Term term, std::uint32_t count_min, std::uint32_t count_max);
  Term both(std::vector<Term> terms);
  Term complement(Term term);
  /// The empty text, at the end of the whole text only.
  Term end();
  /// Numbers without exponent that are so to the bound; and what is a multiple of m / 10^scale.
  Term compared(Relation relation, const Decimal& bound);
  Term multiple_of(std::uint32_t m, std::uint32_t scale);

  /// Whether the text may end here.
  bool accepts(Term term) const { return nodes_[term].accepts_end; }
  bool accepts(Term term, std::u32string_view text);
  /// Whether the empty text is in it, whatever follows.
  bool accepts_empty(Term term) const { return nodes_[term].accepts_empty; }
  /// Steps that no text of the language takes lead to kNothing.
  const Row& row(Term term);
  Term next(Term term, char32_t c);
  /// Whether a text goes on with a character of this range; and where, if with all of them to one
  /// term.
  bool goes_on(Term term, char32_t first, char32_t last);
  std::optional<Term> common_next(Term term, char32_t first, char32_t last);
  /// How many characters may follow, whatever they are; kUnlimited: any number.
  std::uint32_t free_characters(Term term) const;

  /// Whether it has any text at all. What a bounded search does not tell stays open, and steps to
  /// it are not taken: a text that goes on can be completed.
  enum class Texts : std::uint8_t { kUnasked, kSome, kNone, kOpen };
  Texts texts_of(Term term);
  /// How large terms may still become in such searches, all together.
  void allow_searches(std::size_t size) { search_size_end_ = size_ + size; }

  /// All its texts; none, if there are more than so many, or longer ones.
  std::optional<std::vector<std::u32string>> few_texts(Term term, std::size_t most,
                                                       std::size_t length_max);

  /// Some of the texts of `term`, with few terms where `term` may have a great many: what goes
  /// round in a loop, without what was begun on the way. It has texts if `term` has.
  Term core_of(Term term);

  /// Terms, and the members of those that have many: what takes memory.
  std::size_t size() const { return size_; }
  /// `terms` of `from`, which was a copy of this language and has grown since.
  std::vector<Term> taken_from(const RegularLanguage& from, std::span<const Term> terms);

 private:
  enum class Kind : std::uint8_t {
    kNothing,
    kEmpty,
    kEnd,
    kCharacters,  // a: of ranges_
    kLiteral,     // characters a to b of characters_
    kSequence,    // a, then b
    kEither,      // a: of lists_
    kRepeat,      // a; b to c times
    kBoth,        // a: of lists_
    kComplement,  // of a
    kCompared,    // a: of bounds_, b: state
    kMultiple,    // a: of multiples_, b: remainder, c: digits after the point, plus 1
  };
  struct Node {
    Kind kind = Kind::kNothing;
    bool accepts_end = false;    // the empty text, if the whole text ends here
    bool accepts_empty = false;  // the empty text, whatever follows
    bool needs_proof = false;    // that it has a text
    bool has_end = false;        // kEnd is in it
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t c = 0;
  };
  struct Bound {
    Relation relation;
    Decimal value;
  };
  struct Multiple {
    std::uint32_t m = 1;
    std::uint32_t scale = 0;
  };
  /// What is known of a term from what it is made of.
  struct Shape {
    static constexpr std::uint32_t kNever = 0xFFFFFFFFu;

    TextLengths lengths;
    // The least length of texts that stay in the language whatever follows them; and, too, whatever
    // comes before them.
    std::uint32_t lasting_least = kNever;
    std::uint32_t found_least = kNever;
  };

  Term add(const Node& node, std::uint64_t key);
  Shape shape_of(const Node& node) const;
  Shape shape_of_both(const std::vector<Term>& terms) const;
  bool is_length(Term term) const;
  Term fitting(Term term, std::uint32_t length_max);
  Term intern(Node node);
  Term combine_terms(Kind kind, Term neutral, Term absorbing, std::vector<Term> terms);
  Term intern_list(Kind kind, std::vector<Term> terms);
  Term trie(std::span<std::u32string> sorted, std::size_t depth);
  Term literal_part(std::uint32_t begin, std::uint32_t end);
  Term compared_state(std::uint32_t bound, const DecimalComparison& state);
  Term multiple_state(std::uint32_t multiple, std::uint32_t remainder, std::uint32_t digits);
  /// By value: computing a row adds others.
  Row raw_row(Term term);
  Row compute_row(Term term);
  Row merged_rows(std::span<const Term> terms, Kind kind);
  template <typename Combine>
  static Row combined(const Row& x, const Row& y, const Combine& combine);
  static void append(Row& row, char32_t first, Term to);

  std::vector<Node> nodes_;
  std::unordered_multimap<std::uint64_t, Term> by_hash_;
  std::vector<std::vector<Range>> ranges_;
  std::vector<std::vector<Term>> lists_;
  std::u32string characters_;
  std::vector<Bound> bounds_;
  std::vector<Multiple> multiples_;
  std::vector<Row> rows_;        // by term; empty: not computed
  std::vector<bool> is_pruned_;  // the row, of steps that lead nowhere
  std::vector<Shape> shapes_;    // by term
  std::vector<Texts> texts_;     // by term
  std::vector<Term> ways_;       // by term: where a text was found to go on; kNothing: no search
  std::size_t search_size_end_ = std::numeric_limits<std::size_t>::max();
  std::size_t size_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_CHAT_REGULAR_LANGUAGE_H_
