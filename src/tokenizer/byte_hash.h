#ifndef FLASHMOE_TOKENIZER_BYTE_HASH_H_
#define FLASHMOE_TOKENIZER_BYTE_HASH_H_

#include <cstdint>
#include <cstring>
#include <string_view>

namespace flashmoe {

/// Spreads the bits of `x` over 64 bits.
inline std::uint64_t mix_bits(std::uint64_t x) {
  x *= 0x9E3779B97F4A7C15u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

/// A hash for tables in memory; quick on the few bytes of a token.
inline std::uint64_t hash_bytes(std::string_view bytes) {
  const char* p = bytes.data();
  std::size_t size = bytes.size();
  std::uint64_t hash = size;
  const auto load = [](const char* from, auto word) {
    std::memcpy(&word, from, sizeof word);
    return std::uint64_t{word};
  };
  for (; size > 8; p += 8, size -= 8) hash = mix_bits(hash ^ load(p, std::uint64_t{}));
  std::uint64_t last = 0;
  if (size >= 4) {  // two words that may overlap
    last = load(p, std::uint32_t{}) | load(p + size - 4, std::uint32_t{}) << 32;
  } else if (size > 0) {
    last = load(p, std::uint8_t{}) | load(p + size / 2, std::uint8_t{}) << 8 |
           load(p + size - 1, std::uint8_t{}) << 16;
  }
  return mix_bits(hash ^ last);
}

/// Maps a hash evenly to [0, count).
inline std::size_t reduce_hash(std::uint64_t hash, std::size_t count) {
  return static_cast<std::size_t>((hash & 0xFFFFFFFFu) * static_cast<std::uint64_t>(count) >> 32);
}

}  // namespace flashmoe

#endif  // FLASHMOE_TOKENIZER_BYTE_HASH_H_
