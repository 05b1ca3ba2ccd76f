#include "model/ngram_hash.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

constexpr NgramSpec kSpec = {.ngram_size = 3,
                             .heads_per_ngram = 2,
                             .vocab_size_base = 50,
                             .divisor = 16,
                             .seed = 1234,
                             .eos_token_id = 2,
                             .vocab_size = 288};

TEST(NgramHash, HeadsHaveConsecutivePrimesOfRows) {
  const NgramHashes first = make_ngram_hashes(kSpec);
  EXPECT_EQ(first.sizes, (std::vector<std::int64_t>{53, 59, 61, 67}));
  EXPECT_EQ(first.offsets, (std::vector<std::int64_t>{0, 53, 112, 173}));
  EXPECT_EQ(ngram_table_rows(kSpec), 240u);  // a multiple of 16
  NgramSpec second = kSpec;
  second.table_index = 1;
  EXPECT_EQ(make_ngram_hashes(second).sizes, (std::vector<std::int64_t>{71, 73, 79, 83}));
  NgramSpec of_primes = kSpec;
  of_primes.vocab_size_base = 2;
  EXPECT_EQ(make_ngram_hashes(of_primes).sizes, (std::vector<std::int64_t>{2, 3, 5, 7}));
}

TEST(NgramHash, MultipliersAreOddAndKeepProductsPositive) {
  for (const std::uint64_t vocab : {1u, 288u, 248320u}) {
    NgramSpec spec = kSpec;
    spec.vocab_size = vocab;
    for (const std::int64_t multiplier : make_ngram_hashes(spec).multipliers) {
      EXPECT_GT(multiplier, 0);
      EXPECT_EQ(multiplier % 2, 1);
      std::int64_t product = 0;
      EXPECT_FALSE(
          __builtin_mul_overflow(multiplier, static_cast<std::int64_t>(vocab - 1), &product));
    }
  }
}

TEST(NgramHash, RowsAreOfTheTokensAndOfEachHeadsRun) {
  const NgramHashes hashes = {
      .multipliers = {1, 3, 5}, .sizes = {10, 7, 10, 7}, .offsets = {0, 10, 17, 27}};
  std::vector<std::uint64_t> rows(4);
  ngram_rows(kSpec, hashes, std::vector<std::int32_t>{8, 4, 2}, rows);
  const std::uint64_t two = 8 ^ 12, three = 8 ^ 12 ^ 10;
  EXPECT_EQ(rows,
            (std::vector<std::uint64_t>{two % 10, 10 + two % 7, 17 + three % 10, 27 + three % 7}));
}

// Numbers of a file may be any: what wraps around stays within the head's rows.
TEST(NgramHash, RowsStayInTheTableWhateverTheMultipliers) {
  const NgramHashes hashes = {.multipliers = {INT64_MIN, INT64_MAX, -1},
                              .sizes = {10, 7, 10, 7},
                              .offsets = {0, 10, 17, 27}};
  std::vector<std::uint64_t> rows(4);
  for (const std::int32_t token : {0, 1, 77, 287}) {
    ngram_rows(kSpec, hashes, std::vector<std::int32_t>{token, 1, token + 1}, rows);
    for (std::size_t head = 0; head < 4; ++head) {
      EXPECT_GE(rows[head], static_cast<std::uint64_t>(hashes.offsets[head]));
      EXPECT_LT(rows[head], static_cast<std::uint64_t>(hashes.offsets[head] + hashes.sizes[head]));
    }
  }
}

}  // namespace
}  // namespace flashmoe
