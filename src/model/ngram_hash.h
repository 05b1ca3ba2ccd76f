#ifndef FLASHMOE_MODEL_NGRAM_HASH_H_
#define FLASHMOE_MODEL_NGRAM_HASH_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace flashmoe {

/// How n-grams of tokens become rows of a table. N-grams of 2 to ngram_size tokens have
/// `heads_per_ngram` heads each; a head is a hash of its own with a run of rows of its own.
struct NgramSpec {
  std::size_t ngram_size = 0;
  std::size_t heads_per_ngram = 0;
  std::uint64_t vocab_size_base = 0;  // no head has fewer rows
  std::uint64_t divisor = 1;          // of the table's rows
  std::uint64_t seed = 0;
  std::size_t table_index = 0;    // among the model's tables
  std::int32_t eos_token_id = 0;  // stands for tokens of another text, and before the first
  std::uint64_t vocab_size = 0;   // of tokens

  std::size_t heads() const { return (ngram_size - 1) * heads_per_ngram; }

  friend bool operator==(const NgramSpec&, const NgramSpec&) = default;
};

/// The numbers of the hashes.
struct NgramHashes {
  std::vector<std::int64_t> multipliers;  // [ngram_size]
  std::vector<std::int64_t> sizes;        // [heads]: rows of each
  std::vector<std::int64_t> offsets;      // [heads]: its first row
};

/// Those that a model of this specification is made with; checkpoints hold them, too. Source:
/// transformers modeling_qwen4_exp.py.
NgramHashes make_ngram_hashes(const NgramSpec& spec);

/// Rows of a table that such hashes are for.
std::uint64_t ngram_table_rows(const NgramSpec& spec);

/// The table's rows of one position, by head.
///   id_n = XOR over i < n of token_{t-i} multiplier_i;  row = id_n mod size_h + offset_h
/// in 64 bits that wrap around. tokens: [ngram_size], that of the position first, then those before
/// it. Sizes are at least 1.
void ngram_rows(const NgramSpec& spec, const NgramHashes& hashes,
                std::span<const std::int32_t> tokens, std::span<std::uint64_t> rows);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_NGRAM_HASH_H_
