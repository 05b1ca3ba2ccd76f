#ifndef FLASHMOE_SYNTHESIS_RANDOM_FILL_H_
#define FLASHMOE_SYNTHESIS_RANDOM_FILL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/ggml_type.h"

namespace flashmoe {

/// What a tensor's pseudo-random bytes mean.
struct RandomFill {
  enum class Kind : std::uint8_t {
    kUniform,  // numbers of `dtype` between low and high
    kCodes,    // the packed weights of an affine matrix: random bits
    kScales,   // BF16; they and kBiases give the matrix mean 0 and standard deviation `deviation`
    kBiases,
    kBlocks,  // blocks of `blocks`, of mean 0 and standard deviation `deviation`
  };
  Kind kind = Kind::kUniform;
  float low = 0;                     // kUniform
  float high = 0;                    // kUniform
  std::uint32_t bits = 0;            // of the codes that kScales and kBiases belong to
  float deviation = 0;               // kScales, kBiases, kBlocks
  DType dtype = DType::kBF16;        // kUniform: BF16, F16 or F32
  const GgmlType* blocks = nullptr;  // kBlocks: one of those of has_random_blocks()

  /// Pieces of a tensor begin at multiples of as many bytes.
  std::size_t unit() const {
    return kind == Kind::kBlocks ? std::size_t{blocks->block_size} : std::size_t{32};
  }
};

/// A module's own random stream. Tensors of one module share it: biases belong to scales.
std::uint64_t stream_key(std::uint64_t seed, std::string_view module_path);

/// Whether blocks of this type can be made.
bool has_random_blocks(const GgmlType& type);

/// The bytes of a tensor from `offset` on, a multiple of fill.unit(): a function of the
/// arguments alone, so that pieces can come in any order, from any thread, and be the same on any
/// machine.
void fill_random(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                 std::span<std::byte> out);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_RANDOM_FILL_H_
