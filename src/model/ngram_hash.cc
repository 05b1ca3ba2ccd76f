#include "model/ngram_hash.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace flashmoe {
namespace {

constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15u;
constexpr std::uint64_t kTableStride = 10007;

std::uint64_t splitmix64(std::uint64_t value) {
  value += kGamma;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

bool is_prime(std::uint64_t value) {
  if (value < 4) return value >= 2;
  if (value % 2 == 0 || value % 3 == 0) return false;
  for (std::uint64_t divisor = 5; divisor * divisor <= value; divisor += 6) {
    if (value % divisor == 0 || value % (divisor + 2) == 0) return false;
  }
  return true;
}

}  // namespace

// multiplier_i = 2 (splitmix64(seed + 10007 table + gamma (i + 1)) mod half) + 1,
// half = max(1, (2^63 - 1) / vocab / 2); sizes are the primes from vocab_size_base on, the first
// ones for the first table.
NgramHashes make_ngram_hashes(const NgramSpec& spec) {
  NgramHashes hashes;
  const std::uint64_t most = std::numeric_limits<std::int64_t>::max() / spec.vocab_size;
  const std::uint64_t half = std::max<std::uint64_t>(1, most / 2);
  const std::uint64_t seed = spec.seed + kTableStride * spec.table_index;
  for (std::uint64_t i = 0; i < spec.ngram_size; ++i) {
    const std::uint64_t mixed = splitmix64(seed + kGamma * (i + 1)) % half;
    hashes.multipliers.push_back(static_cast<std::int64_t>(2 * mixed + 1));
  }
  std::uint64_t prime = spec.vocab_size_base - 1;
  std::int64_t offset = 0;
  for (std::size_t head = 0; head < (spec.table_index + 1) * spec.heads(); ++head) {
    do {
      ++prime;
    } while (!is_prime(prime));
    if (head < spec.table_index * spec.heads()) continue;
    hashes.sizes.push_back(static_cast<std::int64_t>(prime));
    hashes.offsets.push_back(offset);
    offset += static_cast<std::int64_t>(prime);
  }
  return hashes;
}

std::uint64_t ngram_table_rows(const NgramSpec& spec) {
  const NgramHashes hashes = make_ngram_hashes(spec);
  const auto rows = static_cast<std::uint64_t>(hashes.offsets.back() + hashes.sizes.back());
  return (rows + spec.divisor - 1) / spec.divisor * spec.divisor;
}

void ngram_rows(const NgramSpec& spec, const NgramHashes& hashes,
                std::span<const std::int32_t> tokens, std::span<std::uint64_t> rows) {
  FM_CHECK(tokens.size() == spec.ngram_size);
  FM_CHECK(rows.size() == spec.heads());
  const auto term = [&](std::size_t i) {
    return static_cast<std::uint64_t>(tokens[i]) *
           static_cast<std::uint64_t>(hashes.multipliers[i]);
  };
  std::uint64_t mixed = term(0);
  std::size_t head = 0;
  for (std::size_t n = 2; n <= spec.ngram_size; ++n) {
    mixed ^= term(n - 1);
    for (std::size_t i = 0; i < spec.heads_per_ngram; ++i, ++head) {
      // As numbers with a sign, of which the remainder is never negative.
      std::int64_t row = static_cast<std::int64_t>(mixed) % hashes.sizes[head];
      if (row < 0) row += hashes.sizes[head];
      rows[head] = static_cast<std::uint64_t>(row + hashes.offsets[head]);
    }
  }
}

}  // namespace flashmoe
