#include "tokenizer/bpe_model.h"

#include <algorithm>

#include "base/units.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"

namespace flashmoe {
namespace {

// Pieces of up to this many symbols are merged by scanning for the lowest rank, which beats the
// heap there.
constexpr std::size_t kScanSymbolsMax = 48;

}  // namespace

Result<BpeModel> BpeModel::build(const TokenizerFile& file, const JsonNode& model,
                                 bool byte_level) {
  if (!model.is_object()) return model.corrupt("is missing; expected an object");
  BpeModel result;
  result.byte_level_ = byte_level;
  FM_RETURN_IF_ERROR(result.read_options(model));
  FM_RETURN_IF_ERROR(result.build_vocabulary(file));
  FM_RETURN_IF_ERROR(result.build_merges(file));
  FM_RETURN_IF_ERROR(result.find_single_tokens(model));
  return result;
}

Status BpeModel::read_options(const JsonNode& model) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> type, model.optional_string("type"));
  if (type.value_or("BPE") != "BPE") {
    return model.unsupported(fmt::format("model type {} is not supported; only BPE is", *type));
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    FM_ASSIGN_OR_RETURN(const std::optional<std::string> affix, model.optional_string(name));
    if (!affix.value_or("").empty()) return model.field(name).unsupported("is not supported");
  }
  const JsonNode dropout = model.field("dropout");
  if (!dropout.is_null() && dropout.value() != 0) {
    return dropout.unsupported("is set: it makes token ids random, for training only");
  }
  FM_ASSIGN_OR_RETURN(byte_fallback_, model.boolean("byte_fallback", false));
  FM_ASSIGN_OR_RETURN(fuse_unk_, model.boolean("fuse_unk", false));
  FM_ASSIGN_OR_RETURN(ignore_merges_, model.boolean("ignore_merges", false));
  return Status();
}

Status BpeModel::build_vocabulary(const TokenizerFile& file) {
  if (file.vocab.empty()) {
    return Status(StatusCode::kCorrupt, "model.vocab: is missing or empty");
  }
  // Tokens that spell bytes are kept as those bytes. The others (control tokens that some files
  // list here, too) never match text.
  std::string bytes;
  bytes.reserve(file.vocab_text.size());
  std::vector<Vocabulary::Token> tokens;
  tokens.reserve(file.vocab.size());
  for (const TokenizerFile::VocabEntry& entry : file.vocab) {
    const std::string_view spelling = file.token(entry);
    if (entry.id < 0 || entry.id >= Vocabulary::kIdEnd) {
      return error(StatusCode::kCorrupt, "model.vocab: the id of {} is not in [0, {})",
                   quote_bytes(spelling), Vocabulary::kIdEnd);
    }
    const std::size_t begin = bytes.size();
    bool matches_text = true;
    if (byte_level_) matches_text = append_byte_level(spelling, bytes);
    if (!byte_level_ || !matches_text) bytes += spelling;
    // `bytes` is never longer than the spellings, so it does not move.
    tokens.push_back({.bytes = std::string_view(bytes).substr(begin),
                      .id = static_cast<TokenId>(entry.id),
                      .matches_text = matches_text});
  }
  Result<Vocabulary> vocabulary = Vocabulary::build(tokens);
  if (!vocabulary.ok()) return vocabulary.status().with_prefix("model.vocab");
  vocabulary_ = std::move(vocabulary).value();
  for (const Vocabulary::Token& token : tokens) {
    token_size_max_ = std::max(token_size_max_, token.bytes.size());
  }
  return Status();
}

Status BpeModel::build_merges(const TokenizerFile& file) {
  if (!file.has_merges) {
    return Status(StatusCode::kCorrupt, "model.merges: is missing; expected an array");
  }
  merges_ = MergeTable(file.merges.size());
  std::string pair;
  for (std::size_t rank = 0; rank < file.merges.size(); ++rank) {
    const TokenizerFile::MergeEntry& entry = file.merges[rank];
    const auto unknown = [&](std::string_view token) {
      return error(StatusCode::kCorrupt, "model.merges[{}]: {} is not in model.vocab", rank,
                   quote_bytes(token));
    };
    pair.clear();
    std::size_t left_size = entry.left_size;
    if (byte_level_) {
      if (!append_byte_level(file.left(entry), pair)) return unknown(file.left(entry));
      left_size = pair.size();
      if (!append_byte_level(file.right(entry), pair)) return unknown(file.right(entry));
    } else {
      pair += file.left(entry);
      pair += file.right(entry);
    }
    const auto left = vocabulary_.find(std::string_view(pair).substr(0, left_size));
    if (!left.has_value()) return unknown(file.left(entry));
    const auto right = vocabulary_.find(std::string_view(pair).substr(left_size));
    if (!right.has_value()) return unknown(file.right(entry));
    const auto result = vocabulary_.find(pair);
    if (!result.has_value()) return unknown(pair);
    merges_.insert(*left, *right, {.rank = static_cast<std::uint32_t>(rank), .result = *result});
  }
  return Status();
}

Status BpeModel::find_single_tokens(const JsonNode& model) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text =
        byte_level_ ? std::string(1, static_cast<char>(byte)) : fmt::format("<0x{:02X}>", byte);
    byte_tokens_[static_cast<std::size_t>(byte)] = vocabulary_.find(text).value_or(kNoToken);
  }
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> unk, model.optional_string("unk_token"));
  if (unk.has_value() && !byte_level_) {
    unk_ = vocabulary_.find(*unk).value_or(kNoToken);
    if (unk_ == kNoToken) {
      return model.field("unk_token").corrupt(quote_bytes(*unk) + " is not in model.vocab");
    }
    // One such token stands for any text that has no other.
    token_size_max_ = ~std::size_t{0};
  }
  return Status();
}

Status BpeModel::start_symbols(std::string_view piece, std::vector<TokenId>& symbols) const {
  symbols.clear();
  if (!byte_level_) return start_code_points(piece, symbols);
  for (const char c : piece) {
    const TokenId id = byte_tokens_[static_cast<unsigned char>(c)];
    if (id == kNoToken) {
      return error(StatusCode::kInvalidArgument, "the vocabulary has no token for byte 0x{:02X}",
                   static_cast<unsigned char>(c));
    }
    symbols.push_back(id);
  }
  return Status();
}

Status BpeModel::start_code_points(std::string_view piece, std::vector<TokenId>& symbols) const {
  bool after_unk = false;
  for (std::size_t offset = 0; offset < piece.size();) {
    const std::size_t begin = offset;
    next_code_point(piece, offset);
    const std::string_view spelling = piece.substr(begin, offset - begin);
    if (const auto id = vocabulary_.find(spelling)) {
      symbols.push_back(*id);
      after_unk = false;
      continue;
    }
    const auto byte_token = [this](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
    if (byte_fallback_ && std::all_of(spelling.begin(), spelling.end(),
                                      [&](char c) { return byte_token(c) != kNoToken; })) {
      for (const char c : spelling) symbols.push_back(byte_token(c));
      after_unk = false;
    } else if (unk_ != kNoToken) {
      if (!after_unk || !fuse_unk_) symbols.push_back(unk_);
      after_unk = true;
    } else {
      return error(StatusCode::kInvalidArgument, "the vocabulary has no token for {}",
                   quote_bytes(spelling));
    }
  }
  return Status();
}

void BpeModel::merge_by_scanning(BpeScratch& scratch) const {
  std::vector<TokenId>& symbols = scratch.symbols;
  std::vector<MergeTable::Merge>& merges = scratch.merges;  // [i] joins symbols i and i + 1
  merges.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    merges.push_back(merges_.find(symbols[i], symbols[i + 1]));
  }
  while (!merges.empty()) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < merges.size(); ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == MergeTable::kNoRank) break;
    symbols[best] = merges[best].result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    merges.erase(merges.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) merges[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
    if (best < merges.size()) merges[best] = merges_.find(symbols[best], symbols[best + 1]);
  }
}

void BpeModel::merge_by_heap(BpeScratch& scratch) const {
  constexpr std::uint32_t kEnd = UINT32_MAX;
  constexpr TokenId kMergedAway = -1;
  std::vector<BpeScratch::Node>& nodes = scratch.nodes;
  std::vector<BpeScratch::Candidate>& heap = scratch.heap;
  const auto later = [](const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto candidate_at = [&](std::uint32_t position) {
    const TokenId left = nodes[position].id;
    const TokenId right = nodes[nodes[position].next].id;
    const MergeTable::Merge merge = merges_.find(left, right);
    return BpeScratch::Candidate{.rank = merge.rank,
                                 .position = position,
                                 .left = left,
                                 .right = right,
                                 .result = merge.result};
  };
  const auto count = static_cast<std::uint32_t>(scratch.symbols.size());
  nodes.clear();
  nodes.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    nodes.push_back({.id = scratch.symbols[i],
                     .previous = i == 0 ? kEnd : i - 1,
                     .next = i + 1 == count ? kEnd : i + 1});
  }
  heap.clear();
  heap.reserve(count);
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    const auto candidate = candidate_at(i);
    if (candidate.rank != MergeTable::kNoRank) heap.push_back(candidate);
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto push = [&](std::uint32_t position) {
    const auto candidate = candidate_at(position);
    if (candidate.rank == MergeTable::kNoRank) return;
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const BpeScratch::Candidate best = heap.back();
    heap.pop_back();
    BpeScratch::Node& node = nodes[best.position];
    // Symbols only grow, so equal ids mean that nothing happened here since the candidate was
    // found.
    if (node.id != best.left || node.next == kEnd || nodes[node.next].id != best.right) continue;
    BpeScratch::Node& gone = nodes[node.next];
    node.id = best.result;
    gone.id = kMergedAway;
    node.next = gone.next;
    if (node.next != kEnd) {
      nodes[node.next].previous = best.position;
      push(best.position);
    }
    if (node.previous != kEnd) push(node.previous);
  }
  scratch.symbols.clear();
  for (std::uint32_t i = 0; i != kEnd; i = nodes[i].next) scratch.symbols.push_back(nodes[i].id);
}

Status BpeModel::encode(std::string_view piece, BpeScratch& scratch,
                        std::vector<TokenId>& out) const {
  if (ignore_merges_) {
    if (const auto id = vocabulary_.find(piece)) {
      out.push_back(*id);
      return Status();
    }
  }
  if (piece.size() > word_size_max_) {
    return error(StatusCode::kInvalidArgument,
                 "the text has a word of {}, and the memory for requests is for words of {}; "
                 "put blanks into it, or give more --memory",
                 format_size(piece.size()), format_size(word_size_max_));
  }
  FM_RETURN_IF_ERROR(start_symbols(piece, scratch.symbols));
  if (scratch.symbols.size() <= kScanSymbolsMax) {
    merge_by_scanning(scratch);
  } else {
    merge_by_heap(scratch);
  }
  out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
  return Status();
}

}  // namespace flashmoe
