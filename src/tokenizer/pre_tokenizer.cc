#include "tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "base/units.h"
#include "tokenizer/normalizer.h"

namespace flashmoe {
namespace {

// The pattern of GPT-2, which ByteLevel applies itself unless use_regex is false.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Pieces are counted in 32 bits.
constexpr std::size_t kSectionSizeMax = std::size_t{1} << 31;

}  // namespace

Result<PreTokenizer> PreTokenizer::from_json(const JsonNode& node) {
  PreTokenizer pre_tokenizer;
  if (!node.is_null()) FM_RETURN_IF_ERROR(pre_tokenizer.add_steps(node));
  return pre_tokenizer;
}

Status PreTokenizer::add_steps(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::string type, node.type());
  if (type == "Sequence") {
    FM_ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.array("pretokenizers"));
    for (const JsonNode& part : parts) FM_RETURN_IF_ERROR(add_steps(part));
    return Status();
  }
  return add_step(type, node);
}

Status PreTokenizer::add_step(std::string_view type, const JsonNode& node) {
  if (byte_level_) {
    return node.unsupported(fmt::format("{} after ByteLevel, which must come last", type));
  }
  if (type == "Split") {
    FM_ASSIGN_OR_RETURN(SplitPattern pattern, pattern_from_json(node.field("pattern")));
    FM_ASSIGN_OR_RETURN(const Behavior behavior, read_behavior(node));
    FM_ASSIGN_OR_RETURN(const bool invert, node.boolean("invert", false));
    steps_.emplace_back(Split{std::move(pattern), behavior, invert});
    return Status();
  }
  if (type == "Digits") {
    FM_ASSIGN_OR_RETURN(const bool individual, node.boolean("individual_digits", false));
    FM_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::regex(R"(\p{N})"));
    steps_.emplace_back(
        Split{std::move(pattern), individual ? Behavior::kIsolated : Behavior::kContiguous, false});
    return Status();
  }
  if (type == "ByteLevel") return add_byte_level(node);
  if (type == "Metaspace") return add_metaspace(node);
  return node.unsupported(
      fmt::format("pre_tokenizer type {} is not supported; known are Split, ByteLevel, Metaspace, "
                  "Digits and Sequence",
                  type));
}

Result<PreTokenizer::Behavior> PreTokenizer::read_behavior(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const std::string name, node.string("behavior"));
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  return node.unsupported(fmt::format("behavior {} is not supported", name));
}

Status PreTokenizer::add_byte_level(const JsonNode& node) {
  FM_ASSIGN_OR_RETURN(const bool prefix_space, node.boolean("add_prefix_space", true));
  FM_ASSIGN_OR_RETURN(const bool use_regex, node.boolean("use_regex", true));
  if (prefix_space) steps_.emplace_back(PrefixSpace{});
  if (use_regex) {
    FM_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::regex(kGpt2Pattern));
    steps_.emplace_back(Split{std::move(pattern), Behavior::kIsolated, false});
  }
  byte_level_ = true;
  return Status();
}

Status PreTokenizer::add_metaspace(const JsonNode& node) {
  Metaspace step;
  FM_ASSIGN_OR_RETURN(step.replacement, node.string("replacement"));
  if (step.replacement.empty()) return node.corrupt("replacement is empty");
  FM_ASSIGN_OR_RETURN(const bool prefix_space, node.boolean("add_prefix_space", true));
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> scheme,
                      node.optional_string("prepend_scheme"));
  const std::string name = scheme.value_or(prefix_space ? "always" : "never");
  if (name == "always") {
    step.prepend = PrependScheme::kAlways;
  } else if (name == "first") {
    step.prepend = PrependScheme::kFirst;
  } else if (name == "never") {
    step.prepend = PrependScheme::kNever;
  } else {
    return node.unsupported(fmt::format("prepend_scheme {} is not supported", name));
  }
  FM_ASSIGN_OR_RETURN(const bool cuts, node.boolean("split", true));
  SplitPattern pattern = SplitPattern::literal(step.replacement);
  steps_.emplace_back(std::move(step));
  if (cuts) steps_.emplace_back(Split{std::move(pattern), Behavior::kMergedWithNext, false});
  return Status();
}

void PreTokenizer::merge_stretches(Behavior behavior,
                                   std::vector<SplitPattern::Stretch>& stretches) {
  using Stretch = SplitPattern::Stretch;
  // Whether `right` joins the stretch to its left.
  const auto joins = [behavior](const Stretch& left, const Stretch& right) {
    switch (behavior) {
      case Behavior::kMergedWithPrevious:
        return right.is_match && !left.is_match;
      case Behavior::kMergedWithNext:
        return left.is_match && !right.is_match;
      case Behavior::kContiguous:
        return left.is_match == right.is_match;
      case Behavior::kIsolated:
      case Behavior::kRemoved:
        return false;
    }
    return false;
  };
  std::size_t kept = 0;
  Stretch previous;  // as it was before joining
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    const Stretch current = stretches[i];
    if (behavior == Behavior::kRemoved && current.is_match) continue;
    if (i > 0 && joins(previous, current)) {
      stretches[kept - 1].end = current.end;
    } else {
      stretches[kept++] = current;
    }
    previous = current;
  }
  stretches.resize(kept);
}

Status PreTokenizer::split(const Split& step, PieceList& list, PatternScratch& scratch) {
  // What is joined or removed afterwards may be more.
  constexpr std::size_t kJoinedMax = 8;
  const bool keeps_all = step.behavior == Behavior::kIsolated;
  const std::size_t count_max = keeps_all || list.count_max > ~std::size_t{0} / kJoinedMax
                                    ? list.count_max
                                    : kJoinedMax * list.count_max;
  list.pieces_next.clear();
  for (const PieceList::Piece piece : list.pieces) {
    list.stretches.clear();
    FM_RETURN_IF_ERROR(
        step.pattern.split(list.text.substr(piece.begin, piece.size), scratch, list.stretches,
                           count_max - std::min(count_max, list.pieces_next.size())));
    if (step.invert) {
      for (auto& stretch : list.stretches) stretch.is_match = !stretch.is_match;
    }
    if (step.behavior != Behavior::kIsolated) merge_stretches(step.behavior, list.stretches);
    for (const auto& stretch : list.stretches) {
      list.pieces_next.push_back({.begin = piece.begin + static_cast<std::uint32_t>(stretch.begin),
                                  .size = static_cast<std::uint32_t>(stretch.end - stretch.begin)});
    }
  }
  std::swap(list.pieces, list.pieces_next);
  return Status();
}

// The steps that change the text itself: each piece gets its new text in a new buffer.
Status PreTokenizer::rewrite(const Step& step, PieceList& list, bool is_text_start) {
  list.rewritten_next.clear();
  list.pieces_next.clear();
  for (const PieceList::Piece piece : list.pieces) {
    const std::string_view text = list.text.substr(piece.begin, piece.size);
    const std::size_t begin = list.rewritten_next.size();
    if (const Metaspace* metaspace = std::get_if<Metaspace>(&step)) {
      const bool prepend =
          metaspace->prepend == PrependScheme::kAlways ||
          (metaspace->prepend == PrependScheme::kFirst && is_text_start && piece.begin == 0);
      if (prepend && !text.starts_with(metaspace->replacement) && !text.starts_with(' ')) {
        list.rewritten_next += metaspace->replacement;
      }
      for (const char c : text) {
        if (c == ' ') {
          list.rewritten_next += metaspace->replacement;
        } else {
          list.rewritten_next.push_back(c);
        }
      }
    } else {
      if (!text.starts_with(' ')) list.rewritten_next.push_back(' ');
      list.rewritten_next += text;
    }
    if (list.rewritten_next.size() > kSectionSizeMax) {
      return error(StatusCode::kInvalidArgument, "the text grows beyond {}",
                   format_size(kSectionSizeMax));
    }
    list.pieces_next.push_back(
        {.begin = static_cast<std::uint32_t>(begin),
         .size = static_cast<std::uint32_t>(list.rewritten_next.size() - begin)});
  }
  std::swap(list.pieces, list.pieces_next);
  std::swap(list.rewritten, list.rewritten_next);
  list.text = list.rewritten;
  return Status();
}

Status PreTokenizer::apply(PieceList& list, bool is_text_start, PatternScratch& scratch) const {
  list.pieces.clear();
  if (list.text.empty()) return Status();
  if (list.text.size() > kSectionSizeMax) {
    return error(StatusCode::kInvalidArgument, "a text of {} is longer than {}",
                 format_size(list.text.size()), format_size(kSectionSizeMax));
  }
  list.pieces.push_back({.begin = 0, .size = static_cast<std::uint32_t>(list.text.size())});
  for (const Step& step : steps_) {
    if (const Split* split_step = std::get_if<Split>(&step)) {
      FM_RETURN_IF_ERROR(split(*split_step, list, scratch));
    } else {
      FM_RETURN_IF_ERROR(rewrite(step, list, is_text_start));
    }
  }
  return Status();
}

}  // namespace flashmoe
