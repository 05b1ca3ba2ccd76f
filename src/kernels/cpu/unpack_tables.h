#ifndef FLASHMOE_KERNELS_CPU_UNPACK_TABLES_H_
#define FLASHMOE_KERNELS_CPU_UNPACK_TABLES_H_

#include <stdint.h>

namespace flashmoe {
namespace {

/// The order in which unpack() and ActivationRow::words have the elements of each 8.
constexpr int kWordOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};

/// Where 32 packed numbers of kBits bits (4 * kBits bytes, element e in bits [e * kBits, ...)) lie,
/// for instructions that shuffle bytes and multiply 16-bit lanes. Group i is the 8 numbers of
/// bytes [i * kBits, (i + 1) * kBits); it is read as kLoadSize bytes from offset[i] on, which never
/// reach past the 32 numbers.
template <int kBits>
struct UnpackTables {
  static constexpr int kSize = 4 * kBits;
  static constexpr int kLoadSize = kSize < 8 ? kSize : 8;

  int offset[4] = {};
  // Of the two bytes that hold number kWordOrder[j] of group i; 0x80: zero.
  uint8_t byte_index[4][16] = {};
  uint16_t left_multiplier[4][8] = {};  // then shifts it to the top of its 16 bits

  constexpr UnpackTables() {
    for (int i = 0; i < 4; ++i) {
      const int last = kSize - kLoadSize;
      offset[i] = i * kBits < last ? i * kBits : last;
      for (int j = 0; j < 8; ++j) {
        const int bit = 8 * (i * kBits - offset[i]) + kWordOrder[j] * kBits;
        const int byte = bit / 8;
        byte_index[i][2 * j] = static_cast<uint8_t>(byte);
        byte_index[i][2 * j + 1] = static_cast<uint8_t>(byte + 1 < kLoadSize ? byte + 1 : 0x80);
        left_multiplier[i][j] = static_cast<uint16_t>(1 << (16 - kBits - bit % 8));
      }
    }
  }
};

}  // namespace
}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_UNPACK_TABLES_H_
