#ifndef FLASHMOE_SYNTHESIS_RANDOM_FILL_H_
#define FLASHMOE_SYNTHESIS_RANDOM_FILL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace flashmoe {

/// What a tensor's pseudo-random bytes mean.
struct RandomFill {
  enum class Kind : std::uint8_t {
    kUniform,  // BF16 between low and high
    kCodes,    // the packed weights of an affine matrix: random bits
    kScales,   // BF16; they and kBiases give the matrix mean 0 and standard deviation `deviation`
    kBiases,
  };
  Kind kind = Kind::kUniform;
  float low = 0;           // kUniform
  float high = 0;          // kUniform
  std::uint32_t bits = 0;  // of the codes that kScales and kBiases belong to
  float deviation = 0;     // kScales, kBiases
};

/// A module's own random stream. Tensors of one module share it: biases belong to scales.
std::uint64_t stream_key(std::uint64_t seed, std::string_view module_path);

/// Pieces of a tensor begin at multiples of this.
inline constexpr std::size_t kFillUnit = 32;

/// The bytes of a tensor from `offset` on, a multiple of kFillUnit: a function of the arguments
/// alone, so that pieces can come in any order, from any thread, and be the same on any machine.
void fill_random(const RandomFill& fill, std::uint64_t key, std::uint64_t offset,
                 std::span<std::byte> out);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_RANDOM_FILL_H_
