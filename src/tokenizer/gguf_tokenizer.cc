#include "tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/vocabulary.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// llama.cpp's types of tokens; 1 is normal, 6 spells a byte.
constexpr std::uint64_t kUnknown = 2;
constexpr std::uint64_t kControl = 3;
constexpr std::uint64_t kUserDefined = 4;
constexpr std::uint64_t kUnused = 5;

constexpr const char* kGpt2Split = "";  // ByteLevel's own pattern
constexpr const char* kQwen2Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4oSplit =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kThreeDigits = R"(\p{N}{1,3})";
constexpr const char* kOneDigit = R"(\p{N})";
constexpr const char* kCjkRun = "[一-龥぀-ゟ゠-ヿ]+";
constexpr const char* kDeepseekV3Split =
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

/// What tokenizer.json of the models with this name of a pre-tokenizer says.
struct PreTokenizerRow {
  std::string_view name;
  std::array<const char*, 3> splits = {};  // one after the other; kGpt2Split stands last
  bool has_nfc = false;
  bool ignore_merges = false;  // a piece that is a token is that token
  bool add_bos = false;        // where the file does not say
};

constexpr PreTokenizerRow kPreTokenizers[] = {
    {.name = "qwen2", .splits = {kQwen2Split}, .has_nfc = true},
    {.name = "deepseek-r1-qwen", .splits = {kQwen2Split}, .has_nfc = true},
    {.name = "qwen35", .splits = {kQwen35Split}, .has_nfc = true},
    {.name = "gpt-4o", .splits = {kGpt4oSplit}, .ignore_merges = true},
    {.name = "minimax-m2", .splits = {kGpt4oSplit}},
    {.name = "deepseek-v3", .splits = {kThreeDigits, kCjkRun, kDeepseekV3Split}},
    {.name = "glm4", .splits = {kLlama3Split}},
    {.name = "chatglm-bpe", .splits = {kLlama3Split}},
    {.name = "llama-bpe", .splits = {kLlama3Split}, .ignore_merges = true, .add_bos = true},
    {.name = "smollm", .splits = {kOneDigit, kGpt2Split}},
    {.name = "gpt-2", .splits = {kGpt2Split}},
    {.name = "olmo", .splits = {kGpt2Split}, .has_nfc = true},
};

/// A tokenizer.ggml.model with a rule of its own.
constexpr std::string_view kGemma = "gemma4";

const PreTokenizerRow* find_pre_tokenizer(std::string_view name) {
  const auto row = std::find_if(std::begin(kPreTokenizers), std::end(kPreTokenizers),
                                [&](const PreTokenizerRow& r) { return r.name == name; });
  return row == std::end(kPreTokenizers) ? nullptr : row;
}

bool is_text(std::string_view token) { return find_invalid_utf8(token) == token.npos; }

json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
}

/// Puts a GGUF file's tokenizer together as tokenizer.json has it.
class FileMaker {
 public:
  explicit FileMaker(const EmbeddedTokenizer& source) : source_(source) {}

  Result<TokenizerFile> make() {
    if (source_.model.empty() || source_.tokens.empty()) {
      return Status(StatusCode::kNotFound, "tokenizer.ggml.tokens: the file has no tokenizer");
    }
    if (source_.tokens.size() > static_cast<std::size_t>(Vocabulary::kIdEnd)) {
      return error(StatusCode::kCorrupt, "tokenizer.ggml.tokens: has {} tokens; {} are the most",
                   source_.tokens.size(), Vocabulary::kIdEnd);
    }
    if (!source_.token_types.empty() && source_.token_types.size() != source_.tokens.size()) {
      return error(StatusCode::kCorrupt, "tokenizer.ggml.token_type: has {} values for {} tokens",
                   source_.token_types.size(), source_.tokens.size());
    }
    file_.has_merges = true;
    if (source_.model == "gpt2") {
      FM_RETURN_IF_ERROR(make_byte_level());
    } else if (source_.model == "llama") {
      FM_RETURN_IF_ERROR(make_sentence_piece());
    } else if (source_.model == kGemma) {
      FM_RETURN_IF_ERROR(make_gemma());
    } else {
      return error(StatusCode::kUnsupported,
                   "tokenizer.ggml.model: {} is not supported; known are gpt2, llama and gemma4",
                   quote_bytes(source_.model));
    }
    return std::move(file_);
  }

 private:
  /// The type of a token. What begins and ends texts is control, whatever the file says.
  std::uint64_t type_of(std::size_t id) const {
    const auto is_end = [&](std::uint64_t end) { return end == id; };
    if (source_.bos_id == id || source_.eos_id == id ||
        std::any_of(source_.end_ids.begin(), source_.end_ids.end(), is_end)) {
      return kControl;
    }
    return source_.token_types.empty() ? 1 : source_.token_types[id];
  }

  void add_to_vocabulary(std::string_view token, std::size_t id) {
    file_.vocab.push_back({.begin = static_cast<std::uint32_t>(file_.vocab_text.size()),
                           .size = static_cast<std::uint32_t>(token.size()),
                           .id = static_cast<std::int64_t>(id)});
    file_.vocab_text += token;
  }

  void add_merge(std::string_view left, std::string_view right) {
    file_.merges.push_back({.begin = static_cast<std::uint32_t>(file_.merge_text.size()),
                            .left_size = static_cast<std::uint32_t>(left.size()),
                            .right_size = static_cast<std::uint32_t>(right.size())});
    file_.merge_text += left;
    file_.merge_text += right;
  }

  /// Sorts the tokens into those that text is merged to and those that only their mark gives.
  /// Unused ids are no tokens.
  Status add_tokens() {
    json added = json::array();
    for (std::size_t id = 0; id < source_.tokens.size(); ++id) {
      const std::string_view token = source_.tokens[id];
      const std::uint64_t type = type_of(id);
      if (type == kUnused) continue;
      if (type != kControl && type != kUserDefined) {
        add_to_vocabulary(token, id);
        continue;
      }
      if (!is_text(token)) {
        return error(StatusCode::kCorrupt, "tokenizer.ggml.tokens: token {} is not valid UTF-8",
                     id);
      }
      if (token.empty()) continue;
      added.push_back({{"id", id},
                       {"content", token},
                       {"special", type == kControl},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false}});
    }
    file_.document["added_tokens"] = std::move(added);
    return Status();
  }

  Status add_listed_merges() {
    for (std::size_t rank = 0; rank < source_.merges.size(); ++rank) {
      const std::string_view merge = source_.merges[rank];
      const std::size_t space = merge.find(' ', 1);
      if (merge.size() < 3 || space == std::string_view::npos || space + 1 == merge.size()) {
        return error(StatusCode::kCorrupt,
                     "tokenizer.ggml.merges: {} is not two tokens with a space between them",
                     quote_bytes(merge));
      }
      add_merge(merge.substr(0, space), merge.substr(space + 1));
    }
    return Status();
  }

  Status make_byte_level() {
    const PreTokenizerRow* const row = find_pre_tokenizer(source_.pre);
    if (row == nullptr) {
      std::vector<std::string_view> known;
      for (const PreTokenizerRow& candidate : kPreTokenizers) known.push_back(candidate.name);
      return error(
          StatusCode::kUnsupported, "tokenizer.ggml.pre: {} is not supported; known are {}",
          source_.pre.empty() ? "no name" : quote_bytes(source_.pre), fmt::join(known, ", "));
    }
    FM_RETURN_IF_ERROR(add_tokens());
    FM_RETURN_IF_ERROR(add_listed_merges());
    json steps = json::array();
    bool use_regex = false;
    for (const char* split : row->splits) {
      if (split == nullptr) break;
      use_regex = split == std::string_view(kGpt2Split);
      if (use_regex) break;
      steps.push_back(
          {{"type", "Split"}, {"pattern", {{"Regex", split}}}, {"behavior", "Isolated"}});
    }
    steps.push_back(byte_level(use_regex));
    json& document = file_.document;
    if (row->has_nfc) document["normalizer"] = {{"type", "NFC"}};
    document["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
    document["decoder"] = byte_level(true);
    document["model"] = {{"type", "BPE"}, {"ignore_merges", row->ignore_merges}};
    return Status();
  }

  Status make_sentence_piece() {
    if (source_.scores.size() != source_.tokens.size()) {
      return error(StatusCode::kCorrupt, "tokenizer.ggml.scores: has {} values for {} tokens",
                   source_.scores.size(), source_.tokens.size());
    }
    FM_RETURN_IF_ERROR(add_tokens());
    add_merges_of_scores();
    describe_pieces(source_.add_space_prefix.value_or(true));
    return Status();
  }

  /// The same pieces with merges of their own, and no space before the text.
  Status make_gemma() {
    FM_RETURN_IF_ERROR(add_tokens());
    FM_RETURN_IF_ERROR(add_listed_merges());
    describe_pieces(/*has_prefix=*/false);
    return Status();
  }

  /// As transformers converts SentencePiece's BPE: spaces become U+2581, one stands before the
  /// text if `has_prefix`, and what has no token falls back to bytes.
  void describe_pieces(bool has_prefix) {
    constexpr const char* kSpace = "\u2581";
    json& document = file_.document;
    json steps = json::array();
    if (has_prefix) {
      steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
    }
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
    document["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
    json decoders = {{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                     {{"type", "ByteFallback"}},
                     {{"type", "Fuse"}}};
    if (has_prefix) {
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    document["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    json model = {{"type", "BPE"}, {"byte_fallback", true}, {"fuse_unk", true}};
    for (std::size_t id = 0; id < source_.tokens.size(); ++id) {
      if (type_of(id) == kUnknown) model["unk_token"] = source_.tokens[id];
    }
    document["model"] = std::move(model);
  }

  /// Every way to make a token of two others is a merge; tokens of higher scores come first.
  void add_merges_of_scores() {
    // Long ones are runs of one character, which shorter ones make as well.
    constexpr std::size_t kTokenSizeMax = 256;
    std::unordered_map<std::string_view, std::size_t> ids;
    for (const TokenizerFile::VocabEntry& entry : file_.vocab) {
      ids.emplace(source_.tokens[static_cast<std::size_t>(entry.id)],
                  static_cast<std::size_t>(entry.id));
    }
    struct Merge {
      std::size_t id;
      std::size_t left_size;
    };
    std::vector<Merge> merges;
    for (const TokenizerFile::VocabEntry& entry : file_.vocab) {
      const auto id = static_cast<std::size_t>(entry.id);
      const std::string_view token = source_.tokens[id];
      if (token.size() > kTokenSizeMax) continue;
      for (std::size_t at = 1; at < token.size(); ++at) {
        if (ids.contains(token.substr(0, at)) && ids.contains(token.substr(at))) {
          merges.push_back({id, at});
        }
      }
    }
    std::stable_sort(merges.begin(), merges.end(), [&](const Merge& a, const Merge& b) {
      return source_.scores[a.id] > source_.scores[b.id];
    });
    for (const Merge& merge : merges) {
      const std::string_view token = source_.tokens[merge.id];
      add_merge(token.substr(0, merge.left_size), token.substr(merge.left_size));
    }
  }

  const EmbeddedTokenizer& source_;
  TokenizerFile file_{.document = json::object()};
};

}  // namespace

Result<TokenizerFile> tokenizer_file_of(const EmbeddedTokenizer& tokenizer) {
  return FileMaker(tokenizer).make();
}

json tokenizer_config_of(const EmbeddedTokenizer& tokenizer) {
  json config = json::object();
  const auto set = [&](const char* name, const std::optional<std::uint64_t>& id) {
    if (!id || *id >= tokenizer.tokens.size()) return;
    if (is_text(tokenizer.tokens[*id])) config[name] = tokenizer.tokens[*id];
  };
  set("bos_token", tokenizer.bos_id);
  set("eos_token", tokenizer.eos_id);
  const PreTokenizerRow* const row = find_pre_tokenizer(tokenizer.pre);
  const bool adds_bos =
      tokenizer.model == "llama" || tokenizer.model == kGemma || (row != nullptr && row->add_bos);
  config["add_bos_token"] = tokenizer.add_bos.value_or(adds_bos);
  config["add_eos_token"] = tokenizer.add_eos.value_or(false);
  return config;
}

}  // namespace flashmoe
