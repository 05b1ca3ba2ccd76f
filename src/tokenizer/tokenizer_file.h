#ifndef FLASHMOE_TOKENIZER_TOKENIZER_FILE_H_
#define FLASHMOE_TOKENIZER_TOKENIZER_FILE_H_

#include <cstdint>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// The content of a tokenizer.json. Vocabulary and merges, which are nearly all of it (gpt-oss: 28
/// MB), are kept as text and spans; a JSON document of them would take ten times the memory.
// The check suspects json's move constructor, which only asserts.
struct TokenizerFile {  // NOLINT(bugprone-exception-escape)
  struct VocabEntry {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
    std::int64_t id = 0;
  };
  struct MergeEntry {
    std::uint32_t begin = 0;
    std::uint32_t left_size = 0;
    std::uint32_t right_size = 0;
  };

  /// Everything but model.vocab and model.merges.
  nlohmann::json document;

  std::string vocab_text;
  std::vector<VocabEntry> vocab;
  std::string merge_text;
  std::vector<MergeEntry> merges;  // in order of rank; left and right lie side by side
  bool has_merges = false;         // the file has the array, if only an empty one

  std::string_view token(const VocabEntry& entry) const {
    return std::string_view(vocab_text).substr(entry.begin, entry.size);
  }
  std::string_view left(const MergeEntry& entry) const {
    return std::string_view(merge_text).substr(entry.begin, entry.left_size);
  }
  std::string_view right(const MergeEntry& entry) const {
    return std::string_view(merge_text).substr(entry.begin + entry.left_size, entry.right_size);
  }

  /// Reads JSON. Errors: kCorrupt for what is no JSON, nests deeper than 32 levels, or has a vocab
  /// or merges of another shape than tokenizer.json's.
  static Result<TokenizerFile> parse(std::istream& json);
  static Result<TokenizerFile> parse(std::string_view json);
};

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_TOKENIZER_FILE_H_
