#ifndef FLASHMOE_BASE_NAME_HASH_H_
#define FLASHMOE_BASE_NAME_HASH_H_

#include <cstdint>
#include <string_view>

namespace flashmoe {

/// FNV-1a, 64 bits: the same in every build and on every machine, so fit for what files are named
/// and recognised by. No defence against somebody who wants two texts to agree.
constexpr std::uint64_t name_hash(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  }
  return hash;
}

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_NAME_HASH_H_
