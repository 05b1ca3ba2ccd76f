#ifndef FLASHMOE_KERNELS_CPU_UNPACK_TABLES_H_
#define FLASHMOE_KERNELS_CPU_UNPACK_TABLES_H_

#include <stdint.h>

namespace flashmoe {
namespace {

/// The order in which ActivationRow::words has the elements of each 8.
constexpr int kWordOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};

/// Where 64 packed numbers of kBits bits (8 * kBits bytes, element e in bits [e * kBits, ...)) lie,
/// for instructions that shuffle 16 bytes and shift 16-bit lanes. Lane k of quarter i is to have
/// the two bytes in which numbers 16 i + 2 k and the next one lie, or one byte that has both and
/// any. A quarter is read from a multiple of kAlignment on, below kSize - 16 where there is so
/// much, so that nothing past kSize bytes is read.
template <int kBits, int kAlignment, int kSize = 8 * kBits>
struct PairTables {
  static constexpr int kOffsetMax = kSize < 16 ? 0 : kSize - 16;

  int offset[4] = {};
  alignas(64) uint8_t byte_index[4][16] = {};
  alignas(64) uint16_t right_shift[32] = {};      // then shifts it to bit 0
  alignas(64) uint16_t left_multiplier[32] = {};  // or to the top

  constexpr PairTables() {
    for (int i = 0; i < 4; ++i) {
      const int begin = 2 * kBits * i / kAlignment * kAlignment;
      offset[i] = begin < kOffsetMax ? begin : kOffsetMax;
      for (int k = 0; k < 8; ++k) {
        const int bit = 8 * (2 * kBits * i - offset[i]) + 2 * kBits * k;
        byte_index[i][2 * k] = static_cast<uint8_t>(bit / 8);
        byte_index[i][2 * k + 1] = static_cast<uint8_t>(bit / 8 + 1);
        right_shift[8 * i + k] = static_cast<uint16_t>(bit % 8);
        left_multiplier[8 * i + k] = static_cast<uint16_t>(1 << (16 - 2 * kBits - bit % 8));
      }
    }
  }
};

}  // namespace
}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_CPU_UNPACK_TABLES_H_
