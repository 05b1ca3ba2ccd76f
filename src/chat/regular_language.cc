#include "chat/regular_language.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/check.h"

namespace flashmoe {
namespace {

/// Terms looked at to find out whether a language has a text, and what they may take.
constexpr std::size_t kProofMax = 20'000;
constexpr std::size_t kProofSizeMax = 200'000;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash * 0xbf58476d1ce4e5b9u;
}

std::uint32_t one_less(std::uint32_t count) {
  return count == 0 || count == RegularLanguage::kUnlimited ? count : count - 1;
}

}  // namespace

RegularLanguage::RegularLanguage() {
  nodes_.push_back({.kind = Kind::kNothing});
  nodes_.push_back({.kind = Kind::kEmpty, .accepts_end = true, .accepts_empty = true});
  shapes_ = {Shape(), Shape{.lengths = TextLengths::of(0, 0)}};
  rows_.resize(2);
  texts_ = {Texts::kNone, Texts::kSome};
  ways_.resize(2);
  is_pruned_.resize(2);
  FM_CHECK(characters({{0, kLastCharacter}}) == kAnyCharacter);
  FM_CHECK(repeat(kAnyCharacter, 0, kUnlimited) == kAnything);
}

RegularLanguage::Term RegularLanguage::add(const Node& node, std::uint64_t key) {
  const auto term = static_cast<Term>(nodes_.size());
  nodes_.push_back(node);
  shapes_.push_back(shape_of(node));
  rows_.emplace_back();
  ways_.push_back(kNothing);
  const TextLengths& lengths = shapes_.back().lengths;
  Texts texts = Texts::kUnasked;
  if (!node.needs_proof || lengths.has_certain()) {
    texts = Texts::kSome;
  } else if (lengths.is_nothing()) {
    texts = Texts::kNone;
  }
  texts_.push_back(texts);
  is_pruned_.push_back(!node.needs_proof);
  by_hash_.emplace(key, term);
  ++size_;
  return term;
}

RegularLanguage::Shape RegularLanguage::shape_of(const Node& node) const {
  Shape shape;
  switch (node.kind) {
    case Kind::kNothing:
      break;
    case Kind::kEmpty:
    case Kind::kEnd:
      shape.lengths = TextLengths::of(0, 0);
      break;
    case Kind::kCharacters:
      shape.lengths = TextLengths::of(1, 1);
      break;
    case Kind::kLiteral:
      shape.lengths = TextLengths::of(node.b - node.a, node.b - node.a);
      break;
    case Kind::kSequence: {
      const Shape& x = shapes_[node.a];
      const Shape& y = shapes_[node.b];
      shape.lengths = TextLengths::sequence(x.lengths, y.lengths);
      if (nodes_[node.a].has_end) {
        // Texts of the first may end with the whole text: nothing can follow those.
        shape.lengths = shape.lengths.uncertain();
        break;
      }
      if (x.lengths.has_certain() && y.lasting_least != Shape::kNever) {
        shape.lasting_least = TextLengths::sum(x.lengths.certain_least(), y.lasting_least);
      }
      if (node.a == kAnything) shape.found_least = y.lasting_least;
      break;
    }
    case Kind::kEither:
      for (const Term term : lists_[node.a]) {
        const Shape& member = shapes_[term];
        shape.lengths = TextLengths::either(shape.lengths, member.lengths);
        shape.lasting_least = std::min(shape.lasting_least, member.lasting_least);
        shape.found_least = std::min(shape.found_least, member.found_least);
      }
      break;
    case Kind::kRepeat:
      shape.lengths = TextLengths::repeated(shapes_[node.a].lengths, node.b, node.c);
      if (node.has_end) shape.lengths = shape.lengths.uncertain();
      if (node.a == kAnyCharacter && node.c == kUnlimited) {
        shape.lasting_least = shape.found_least = node.b;
      }
      break;
    case Kind::kBoth:
      shape = shape_of_both(lists_[node.a]);
      break;
    case Kind::kComplement: {
      shape.lengths = TextLengths::unknown();
      // Of what is longer than all that is left out, everything is there.
      const std::uint32_t most = shapes_[node.a].lengths.most();
      if (most == kUnlimited) break;
      shape.lengths.add_certain(most + 1, kUnlimited);
      shape.lasting_least = shape.found_least = most + 1;
      break;
    }
    case Kind::kCompared:
    case Kind::kMultiple:
      shape.lengths = TextLengths::unknown();
      break;
  }
  if (node.accepts_end) shape.lengths.add_certain(0, 0);
  return shape;
}

bool RegularLanguage::is_length(Term term) const {
  return term == kAnyCharacter ||
         (nodes_[term].kind == Kind::kRepeat && nodes_[term].a == kAnyCharacter);
}

/// A language and bounds of its length; or several languages whose texts can stand one behind the
/// other: all but one are found wherever they begin, and stay found.
RegularLanguage::Shape RegularLanguage::shape_of_both(const std::vector<Term>& terms) const {
  Shape shape{.lengths = TextLengths::unknown()};
  std::uint32_t least = 0;
  std::uint32_t most = kUnlimited;
  const Shape* only = nullptr;
  std::size_t others = 0;
  // Of those behind each other; and what it spares that one of them need not be found anywhere.
  std::uint32_t found_least = 0;
  std::uint32_t spared = 0;
  std::size_t not_found = 0;
  for (const Term term : terms) {
    const Shape& member = shapes_[term];
    shape.lengths = TextLengths::both(shape.lengths, member.lengths);
    if (is_length(term)) {
      const Node& node = nodes_[term];
      least = std::max(least, term == kAnyCharacter ? 1 : node.b);
      most = std::min(most, term == kAnyCharacter ? 1 : node.c);
      continue;
    }
    ++others;
    only = &member;
    if (member.found_least == Shape::kNever) {
      ++not_found;
      if (member.lasting_least == Shape::kNever) not_found = terms.size();
      found_least = TextLengths::sum(found_least, member.lasting_least);
      spared = 0;
    } else {
      found_least = TextLengths::sum(found_least, member.found_least);
      if (not_found == 0 && member.lasting_least < member.found_least) {
        spared = std::max(spared, member.found_least - member.lasting_least);
      }
    }
  }
  if (others == 0) {
    shape.lengths = TextLengths::of(least, most);
    if (most == kUnlimited) shape.lasting_least = shape.found_least = least;
    return shape;
  }
  if (others == 1) shape.lengths = only->lengths.within(least, most);
  if (not_found > 1 || found_least == Shape::kNever) return shape;
  const std::uint32_t lasting_least = std::max(least, found_least - spared);
  if (others > 1 && lasting_least <= most) shape.lengths.add_certain(lasting_least, most);
  if (most == kUnlimited) {
    shape.lasting_least = lasting_least;
    if (not_found == 0) shape.found_least = std::max(least, found_least);
  }
  return shape;
}

RegularLanguage::Term RegularLanguage::intern(Node node) {
  std::uint64_t key = mixed(static_cast<std::uint64_t>(node.kind), node.a);
  key = mixed(mixed(key, node.b), node.c);
  const auto [begin, end] = by_hash_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    const Node& other = nodes_[at->second];
    if (other.kind == node.kind && other.a == node.a && other.b == node.b && other.c == node.c) {
      return at->second;
    }
  }
  return add(node, key);
}

/// `terms` are sorted, and no two of them the same.
RegularLanguage::Term RegularLanguage::intern_list(Kind kind, std::vector<Term> terms) {
  std::uint64_t key = static_cast<std::uint64_t>(kind) + 100;
  for (const Term term : terms) key = mixed(key, term);
  const auto [begin, end] = by_hash_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    const Node& other = nodes_[at->second];
    if (other.kind == kind && lists_[other.a] == terms) return at->second;
  }
  Node node{.kind = kind, .a = static_cast<std::uint32_t>(lists_.size())};
  const bool needs_all = kind == Kind::kBoth;
  node.accepts_end = node.accepts_empty = needs_all;
  node.needs_proof = needs_all;
  for (const Term term : terms) {
    const Node& member = nodes_[term];
    node.has_end |= member.has_end;
    if (needs_all) {
      node.accepts_end &= member.accepts_end;
      node.accepts_empty &= member.accepts_empty;
    } else {
      node.accepts_end |= member.accepts_end;
      node.accepts_empty |= member.accepts_empty;
      node.needs_proof |= member.needs_proof;
    }
  }
  size_ += terms.size();
  lists_.push_back(std::move(terms));
  return add(node, key);
}

RegularLanguage::Term RegularLanguage::characters(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& x, const Range& y) { return x.first < y.first; });
  std::vector<Range> joined;
  for (const Range& range : ranges) {
    if (!joined.empty() && range.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  if (joined.empty()) return kNothing;
  std::uint64_t key = 99;
  for (const Range& range : joined) key = mixed(mixed(key, range.first), range.last);
  const auto is_same = [](const Range& x, const Range& y) {
    return x.first == y.first && x.last == y.last;
  };
  const auto [begin, end] = by_hash_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    const Node& other = nodes_[at->second];
    if (other.kind == Kind::kCharacters &&
        std::equal(joined.begin(), joined.end(), ranges_[other.a].begin(), ranges_[other.a].end(),
                   is_same)) {
      return at->second;
    }
  }
  size_ += joined.size();
  const Node node{.kind = Kind::kCharacters, .a = static_cast<std::uint32_t>(ranges_.size())};
  ranges_.push_back(std::move(joined));
  return add(node, key);
}

RegularLanguage::Term RegularLanguage::literal_part(std::uint32_t begin, std::uint32_t end) {
  return begin == end ? kEmpty : intern({.kind = Kind::kLiteral, .a = begin, .b = end});
}

RegularLanguage::Term RegularLanguage::literal(std::u32string_view text) {
  const auto begin = static_cast<std::uint32_t>(characters_.size());
  characters_ += text;
  return literal_part(begin, static_cast<std::uint32_t>(characters_.size()));
}

/// What begins alike is one term, so that a step need not look at all texts.
RegularLanguage::Term RegularLanguage::trie(std::span<std::u32string> sorted, std::size_t depth) {
  if (sorted.size() == 1) return literal(std::u32string_view(sorted[0]).substr(depth));
  std::size_t common = depth;
  const std::u32string& first = sorted.front();
  const std::u32string& last = sorted.back();
  while (common < first.size() && common < last.size() && first[common] == last[common]) ++common;
  const Term prefix = literal(std::u32string_view(first).substr(depth, common - depth));
  std::vector<Term> branches;
  std::size_t begin = 0;
  if (first.size() == common) {
    branches.push_back(kEmpty);
    begin = 1;
  }
  while (begin < sorted.size()) {
    std::size_t end = begin;
    while (end < sorted.size() && sorted[end][common] == sorted[begin][common]) ++end;
    branches.push_back(trie(sorted.subspan(begin, end - begin), common));
    begin = end;
  }
  return sequence(prefix, either(std::move(branches)));
}

RegularLanguage::Term RegularLanguage::one_of(std::vector<std::u32string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return texts.empty() ? kNothing : trie(texts, 0);
}

RegularLanguage::Term RegularLanguage::sequence(Term first, Term then) {
  if (first == kNothing || then == kNothing) return kNothing;
  if (first == kEmpty) return then;
  if (then == kEmpty) return first;
  const Node x = nodes_[first];
  // Nothing follows the end.
  if (x.kind == Kind::kEnd) return nodes_[then].accepts_end ? first : kNothing;
  if (x.kind == Kind::kSequence) return sequence(x.a, sequence(x.b, then));
  const Node& y = nodes_[then];
  return intern({.kind = Kind::kSequence,
                 .accepts_end = x.accepts_end && y.accepts_end,
                 .accepts_empty = x.accepts_empty && y.accepts_empty,
                 .needs_proof = x.needs_proof || y.needs_proof,
                 .has_end = x.has_end || y.has_end,
                 .a = first,
                 .b = then});
}

/// Terms of which the order does not matter: one that decides alone, `absorbing`, is all of them,
/// and `neutral` ones say nothing.
RegularLanguage::Term RegularLanguage::combine_terms(Kind kind, Term neutral, Term absorbing,
                                                     std::vector<Term> terms) {
  std::vector<Term> flat;
  for (const Term term : terms) {
    if (term == absorbing) return absorbing;
    if (nodes_[term].kind == kind) {
      const std::vector<Term>& inner = lists_[nodes_[term].a];
      flat.insert(flat.end(), inner.begin(), inner.end());
    } else if (term != neutral) {
      flat.push_back(term);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  if (flat.empty()) return neutral;
  return flat.size() == 1 ? flat.front() : intern_list(kind, std::move(flat));
}

RegularLanguage::Term RegularLanguage::either(std::vector<Term> terms) {
  return combine_terms(Kind::kEither, kNothing, kAnything, std::move(terms));
}

RegularLanguage::Term RegularLanguage::repeat(Term term, std::uint32_t count_min,
                                              std::uint32_t count_max) {
  if (count_max == 0 || term == kEmpty) return kEmpty;
  if (term == kNothing) return count_min == 0 ? kEmpty : kNothing;
  const Node node = nodes_[term];
  if (node.accepts_empty) count_min = 0;
  if (count_min == 1 && count_max == 1) return term;
  // (x*)* and the like are x*.
  if (node.kind == Kind::kRepeat && node.b == 0 && node.c == kUnlimited) return term;
  return intern({.kind = Kind::kRepeat,
                 .accepts_end = count_min == 0 || node.accepts_end,
                 .accepts_empty = count_min == 0,
                 .needs_proof = node.needs_proof,
                 .has_end = node.has_end,
                 .a = term,
                 .b = count_min,
                 .c = count_max});
}

RegularLanguage::Term RegularLanguage::both(std::vector<Term> terms) {
  std::vector<Term> flat;
  std::uint32_t length_max = kUnlimited;
  for (const Term term : terms) {
    const bool is_list = nodes_[term].kind == Kind::kBoth;
    const std::vector<Term> inner = is_list ? lists_[nodes_[term].a] : std::vector<Term>{term};
    for (const Term each : inner) {
      if (is_length(each)) length_max = std::min(length_max, nodes_[each].c);
      flat.push_back(each);
    }
  }
  if (length_max != kUnlimited) {
    for (Term& term : flat) term = fitting(term, length_max);
  }
  return combine_terms(Kind::kBoth, kAnything, kNothing, std::move(flat));
}

/// Without alternatives that are too long.
RegularLanguage::Term RegularLanguage::fitting(Term term, std::uint32_t length_max) {
  if (nodes_[term].kind != Kind::kEither) return term;
  std::vector<Term> kept = lists_[nodes_[term].a];
  const auto is_too_long = [&](Term each) { return shapes_[each].lengths.least() > length_max; };
  return std::erase_if(kept, is_too_long) == 0 ? term : either(std::move(kept));
}

RegularLanguage::Term RegularLanguage::core_of(Term term) {
  const Node node = nodes_[term];
  Term core = term;
  if (node.kind == Kind::kEither) {
    bool has_loop = false;
    std::vector<Term> kept = lists_[node.a];
    std::erase_if(kept, [&](Term each) {
      const Node& member = nodes_[each];
      const Node& first = member.kind == Kind::kSequence ? nodes_[member.a] : member;
      const bool is_loop = first.kind == Kind::kRepeat && first.c == kUnlimited;
      has_loop |= is_loop;
      // Ends stay: they make no terms.
      return !is_loop && member.kind != Kind::kEmpty && member.kind != Kind::kEnd;
    });
    if (has_loop) core = either(std::move(kept));
  } else if (node.kind == Kind::kBoth) {
    std::vector<Term> cores = lists_[node.a];
    for (Term& each : cores) each = core_of(each);
    core = both(std::move(cores));
  } else if (node.kind == Kind::kSequence && nodes_[node.a].kind == Kind::kEither) {
    core = sequence(core_of(node.a), node.b);
  }
  return texts_of(core) == Texts::kSome ? core : term;
}

std::vector<RegularLanguage::Term> RegularLanguage::taken_from(const RegularLanguage& from,
                                                               std::span<const Term> terms) {
  const auto own_count = static_cast<Term>(nodes_.size());
  const std::size_t own_characters = characters_.size();
  std::vector<bool> is_taken(from.nodes_.size());
  std::vector<Term> open(terms.begin(), terms.end());
  // What they are made of, and the ways on which their texts were found.
  while (!open.empty()) {
    const Term term = open.back();
    open.pop_back();
    if (term < own_count || is_taken[term]) continue;
    is_taken[term] = true;
    open.push_back(from.ways_[term]);
    const Node& node = from.nodes_[term];
    if (node.kind == Kind::kEither || node.kind == Kind::kBoth) {
      open.insert(open.end(), from.lists_[node.a].begin(), from.lists_[node.a].end());
    } else if (node.kind == Kind::kSequence) {
      open.insert(open.end(), {node.a, node.b});
    } else if (node.kind == Kind::kRepeat || node.kind == Kind::kComplement) {
      open.push_back(node.a);
    }
  }
  // A term is made of earlier ones; and as their order stays, lists stay sorted.
  std::unordered_map<Term, Term> own;
  const auto own_of = [&](Term term) { return term < own_count ? term : own.at(term); };
  for (Term term = own_count; term < is_taken.size(); ++term) {
    if (!is_taken[term]) continue;
    Node node = from.nodes_[term];
    Term added = kNothing;
    if (node.kind == Kind::kEither || node.kind == Kind::kBoth) {
      std::vector<Term> list = from.lists_[node.a];
      for (Term& each : list) each = own_of(each);
      added = intern_list(node.kind, std::move(list));
    } else if (node.kind == Kind::kLiteral && node.b > own_characters) {
      added = literal(std::u32string_view(from.characters_).substr(node.a, node.b - node.a));
    } else {
      if (node.kind == Kind::kSequence) node.b = own_of(node.b);
      const bool is_of_term = node.kind == Kind::kSequence || node.kind == Kind::kRepeat ||
                              node.kind == Kind::kComplement;
      if (is_of_term) node.a = own_of(node.a);
      added = intern(node);
    }
    own.emplace(term, added);
    texts_[added] = from.texts_[term];
  }
  for (const auto& [term, added] : own) ways_[added] = own_of(from.ways_[term]);
  std::vector<Term> out;
  for (const Term term : terms) out.push_back(own_of(term));
  return out;
}

RegularLanguage::Term RegularLanguage::complement(Term term) {
  if (term == kNothing) return kAnything;
  if (term == kAnything) return kNothing;
  const Node& node = nodes_[term];
  if (node.kind == Kind::kComplement) return node.a;
  return intern({.kind = Kind::kComplement,
                 .accepts_end = !node.accepts_end,
                 .accepts_empty = !node.accepts_empty,
                 .needs_proof = true,
                 .has_end = node.has_end,
                 .a = term});
}

RegularLanguage::Term RegularLanguage::end() {
  return intern({.kind = Kind::kEnd, .accepts_end = true, .has_end = true});
}

RegularLanguage::Term RegularLanguage::compared(Relation relation, const Decimal& bound) {
  bounds_.push_back({relation, bound});
  return compared_state(static_cast<std::uint32_t>(bounds_.size() - 1), DecimalComparison());
}

RegularLanguage::Term RegularLanguage::compared_state(std::uint32_t bound,
                                                      const DecimalComparison& state) {
  bool accepts = false;
  if (const std::optional<int> order = state.order_to(bounds_[bound].value)) {
    switch (bounds_[bound].relation) {
      case Relation::kAtLeast:
        accepts = *order >= 0;
        break;
      case Relation::kMoreThan:
        accepts = *order > 0;
        break;
      case Relation::kAtMost:
        accepts = *order <= 0;
        break;
      case Relation::kLessThan:
        accepts = *order < 0;
        break;
    }
  }
  return intern({.kind = Kind::kCompared,
                 .accepts_end = accepts,
                 .accepts_empty = accepts,
                 .needs_proof = true,
                 .a = bound,
                 .b = state.packed()});
}

RegularLanguage::Term RegularLanguage::multiple_of(std::uint32_t m, std::uint32_t scale) {
  FM_CHECK(m > 0);
  multiples_.push_back({m, scale});
  return multiple_state(static_cast<std::uint32_t>(multiples_.size() - 1), 0, 0);
}

RegularLanguage::Term RegularLanguage::multiple_state(std::uint32_t multiple,
                                                      std::uint32_t remainder,
                                                      std::uint32_t digits) {
  const Multiple& of = multiples_[multiple];
  // What is not written after the point are zeros.
  std::uint64_t rest = remainder;
  for (std::uint32_t i = digits == 0 ? 0 : digits - 1; i < of.scale; ++i) rest = rest * 10 % of.m;
  return intern({.kind = Kind::kMultiple,
                 .accepts_end = rest == 0,
                 .accepts_empty = rest == 0,
                 .needs_proof = true,
                 .a = multiple,
                 .b = remainder,
                 .c = digits});
}

void RegularLanguage::append(Row& row, char32_t first, Term to) {
  if (row.empty() || row.back().to != to) row.push_back({first, to});
}

template <typename Combine>
RegularLanguage::Row RegularLanguage::combined(const Row& x, const Row& y, const Combine& combine) {
  Row out;
  std::size_t i = 0;
  std::size_t k = 0;
  char32_t first = 0;
  while (true) {
    append(out, first, combine(x[i].to, y[k].to));
    const char32_t next_x = i + 1 < x.size() ? x[i + 1].first : kLastCharacter + 1;
    const char32_t next_y = k + 1 < y.size() ? y[k + 1].first : kLastCharacter + 1;
    first = std::min(next_x, next_y);
    if (first > kLastCharacter) return out;
    if (next_x == first) ++i;
    if (next_y == first) ++k;
  }
}

/// By halves: of many terms that begin differently, no step looks at all.
RegularLanguage::Row RegularLanguage::merged_rows(std::span<const Term> terms, Kind kind) {
  if (terms.size() == 1) return raw_row(terms.front());
  const std::size_t half = terms.size() / 2;
  const Row x = merged_rows(terms.first(half), kind);
  const Row y = merged_rows(terms.subspan(half), kind);
  return combined(x, y, [&](Term a, Term b) {
    return kind == Kind::kEither ? either({a, b}) : both({a, b});
  });
}

RegularLanguage::Row RegularLanguage::raw_row(Term term) {
  if (rows_[term].empty()) {
    Row row = compute_row(term);
    size_ += row.size();
    rows_[term] = std::move(row);
  }
  return rows_[term];
}

RegularLanguage::Row RegularLanguage::compute_row(Term term) {
  const Node node = nodes_[term];
  Row row;
  switch (node.kind) {
    case Kind::kNothing:
    case Kind::kEmpty:
    case Kind::kEnd:
      append(row, 0, kNothing);
      return row;
    case Kind::kCharacters:
      if (ranges_[node.a].front().first > 0) append(row, 0, kNothing);
      for (const Range& range : ranges_[node.a]) {
        append(row, range.first, kEmpty);
        if (range.last < kLastCharacter) append(row, range.last + 1, kNothing);
      }
      return row;
    case Kind::kLiteral: {
      const char32_t c = characters_[node.a];
      if (c > 0) append(row, 0, kNothing);
      append(row, c, literal_part(node.a + 1, node.b));
      if (c < kLastCharacter) append(row, c + 1, kNothing);
      return row;
    }
    case Kind::kSequence: {
      for (const Step& step : raw_row(node.a)) append(row, step.first, sequence(step.to, node.b));
      if (!nodes_[node.a].accepts_empty) return row;
      return combined(row, raw_row(node.b), [&](Term a, Term b) { return either({a, b}); });
    }
    case Kind::kEither:
    case Kind::kBoth: {
      const std::vector<Term> terms = lists_[node.a];
      return merged_rows(terms, node.kind);
    }
    case Kind::kRepeat: {
      const Term rest = repeat(node.a, one_less(node.b), one_less(node.c));
      for (const Step& step : raw_row(node.a)) append(row, step.first, sequence(step.to, rest));
      return row;
    }
    case Kind::kComplement:
      for (const Step& step : raw_row(node.a)) append(row, step.first, complement(step.to));
      return row;
    case Kind::kCompared:
      append(row, 0, kNothing);
      for (const char c : std::string_view("-.0123456789")) {
        DecimalComparison state = DecimalComparison::unpacked(node.b);
        const bool goes = state.push(c, bounds_[node.a].value);
        const auto character = static_cast<char32_t>(c);
        append(row, character, goes ? compared_state(node.a, state) : kNothing);
        append(row, character + 1, kNothing);
      }
      break;
    case Kind::kMultiple: {
      const Multiple of = multiples_[node.a];
      append(row, 0, kNothing);
      append(row, U'-', node.c == 0 ? term : kNothing);
      append(row, U'.', node.c == 0 ? multiple_state(node.a, node.b, 1) : kNothing);
      append(row, U'/', kNothing);
      for (std::uint32_t digit = 0; digit < 10; ++digit) {
        const auto character = static_cast<char32_t>(U'0' + digit);
        const bool is_beyond = node.c == of.scale + 1;
        if (is_beyond) {
          append(row, character, digit == 0 ? term : kNothing);
          continue;
        }
        const auto remainder =
            static_cast<std::uint32_t>((std::uint64_t{node.b} * 10 + digit) % of.m);
        append(row, character, multiple_state(node.a, remainder, node.c == 0 ? 0 : node.c + 1));
      }
      append(row, U':', kNothing);
      break;
    }
  }
  // A digit's step may have begun where the one before it ended.
  Row tidy;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i + 1 < row.size() && row[i + 1].first == row[i].first) continue;
    append(tidy, row[i].first, row[i].to);
  }
  return tidy;
}

std::optional<std::vector<std::u32string>> RegularLanguage::few_texts(Term term, std::size_t most,
                                                                      std::size_t length_max) {
  std::vector<std::u32string> texts;
  std::vector<std::pair<Term, std::u32string>> open = {{term, {}}};
  while (!open.empty()) {
    const auto [at, text] = std::move(open.back());
    open.pop_back();
    if (accepts(at)) texts.push_back(text);
    const Row steps = row(at);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].to == kNothing) continue;
      const char32_t end = i + 1 < steps.size() ? steps[i + 1].first : kLastCharacter + 1;
      // Each of these leads to another text.
      if (texts.size() + open.size() + (end - steps[i].first) > most) return std::nullopt;
      if (text.size() == length_max) return std::nullopt;
      for (char32_t c = steps[i].first; c < end; ++c) open.emplace_back(steps[i].to, text + c);
    }
  }
  return texts;
}

const RegularLanguage::Row& RegularLanguage::row(Term term) {
  Row row = raw_row(term);
  if (!is_pruned_[term]) {
    Row pruned;
    for (const Step& step : row) {
      append(pruned, step.first, texts_of(step.to) == Texts::kSome ? step.to : kNothing);
    }
    rows_[term] = std::move(pruned);
    is_pruned_[term] = true;
  }
  return rows_[term];
}

RegularLanguage::Term RegularLanguage::next(Term term, char32_t c) {
  const Row& steps = row(term);
  const auto after = std::upper_bound(steps.begin(), steps.end(), c,
                                      [](char32_t x, const Step& step) { return x < step.first; });
  return std::prev(after)->to;
}

bool RegularLanguage::accepts(Term term, std::u32string_view text) {
  for (const char32_t c : text) term = next(term, c);
  return accepts(term);
}

bool RegularLanguage::goes_on(Term term, char32_t first, char32_t last) {
  const Row& steps = row(term);
  auto step = std::upper_bound(steps.begin(), steps.end(), first,
                               [](char32_t x, const Step& s) { return x < s.first; });
  for (--step; step != steps.end() && step->first <= last; ++step) {
    if (step->to != kNothing) return true;
  }
  return false;
}

std::optional<RegularLanguage::Term> RegularLanguage::common_next(Term term, char32_t first,
                                                                  char32_t last) {
  const Row& steps = row(term);
  const auto after = std::upper_bound(steps.begin(), steps.end(), first,
                                      [](char32_t x, const Step& s) { return x < s.first; });
  if (after != steps.end() && after->first <= last) return std::nullopt;
  return std::prev(after)->to;
}

std::uint32_t RegularLanguage::free_characters(Term term) const {
  const Node& node = nodes_[term];
  if (term == kAnyCharacter) return 1;
  if (shapes_[term].found_least != Shape::kNever) return kUnlimited;
  return node.kind == Kind::kRepeat && node.a == kAnyCharacter ? node.c : 0;
}

/// Depth first: a text is found without looking at all terms, and every term on the way to it has
/// one as well.
RegularLanguage::Texts RegularLanguage::texts_of(Term term) {
  if (texts_[term] != Texts::kUnasked) return texts_[term];
  struct Visit {
    Term term = kNothing;
    Row steps;
    std::size_t step = 0;
  };
  const std::size_t size_max = std::min(size_ + kProofSizeMax, search_size_end_);
  std::unordered_set<Term> seen = {term};
  std::vector<Visit> path = {{.term = term, .steps = raw_row(term)}};
  bool has_open = false;
  while (!path.empty()) {
    Visit& visit = path.back();
    if (visit.step == visit.steps.size()) {
      path.pop_back();
      continue;
    }
    const Term to = visit.steps[visit.step++].to;
    if (texts_[to] == Texts::kSome) {
      Term way = to;
      for (std::size_t i = path.size(); i-- > 0;) {
        texts_[path[i].term] = Texts::kSome;
        ways_[path[i].term] = std::exchange(way, path[i].term);
      }
      return Texts::kSome;
    }
    has_open |= texts_[to] == Texts::kOpen;
    const bool is_new = texts_[to] == Texts::kUnasked && seen.insert(to).second;
    if (is_new) path.push_back({.term = to, .steps = raw_row(to)});
    if (seen.size() > kProofMax || size_ > size_max) {
      has_open = true;
      break;
    }
  }
  if (has_open) return texts_[term] = Texts::kOpen;
  for (const Term each : seen) texts_[each] = Texts::kNone;
  return Texts::kNone;
}

}  // namespace flashmoe
