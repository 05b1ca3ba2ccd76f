#ifndef FLASHMOE_TENSOR_WEIGHT_TYPE_H_
#define FLASHMOE_TENSOR_WEIGHT_TYPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/ggml_type.h"
#include "tensor/weight_encoding.h"

namespace flashmoe {

inline constexpr std::size_t kWeightPlanesMax = 3;

/// How a plane's scales are written, where not every byte is one.
enum class ScaleCode : std::uint8_t {
  kAny,   // all bytes are as good, or it holds no scales
  kE8m0,  // a byte e, 2^(e - 127); 255 is NaN
  kE4m3,  // a float of eight bits; 127 and 255 are NaN
  kF32,   // floats, finite, like the next two
  kBF16,
  kF16,
};

/// Bytes of a weight matrix that lie together, with a row of them for every row of the matrix.
struct WeightPlane {
  std::string_view suffix;        // of its tensor's name, behind the module's
  std::uint32_t block_bytes = 0;  // of each block of columns
  ScaleCode code = ScaleCode::kAny;
  bool is_shared = false;        // one block, of all rows and columns
  std::uint32_t block_rows = 1;  // rows that share a block
  std::uint32_t block_cols = 0;  // columns that do, the last perhaps fewer; 0: WeightType's
};

/// How the elements of a weight matrix are stored: a row of a table, told apart by its address. Who
/// finds, reads or keeps weights goes through the planes; what is in them is for the kernels.
struct WeightType {
  WeightEncoding encoding = WeightEncoding::kFloat;
  DType dtype = DType::kF32;     // kFloat: of the elements. kAffine, kFp8Blocks: of scales, biases
  std::uint32_t bits = 0;        // kAffine: 1, 2, 3, 4, 5, 6 or 8
  std::uint32_t block_cols = 1;  // columns that share a scale; rows are whole blocks
  const GgmlType* ggml = nullptr;  // of ggml's blocks
  std::uint32_t plane_count = 0;
  std::array<WeightPlane, kWeightPlanesMax> all_planes;

  std::span<const WeightPlane> planes() const { return std::span(all_planes).first(plane_count); }
  /// Whether products are those of integers with activations of 16 bits, rather than of floats
  /// (docs/numerics.md).
  bool has_integer_products() const;
  /// Bytes of a plane from a row of blocks to the next, for `cols` columns.
  std::size_t plane_row_size(std::size_t plane, std::size_t cols) const;
  /// Bytes of a plane of [rows, cols].
  std::size_t plane_size(std::size_t plane, std::size_t rows, std::size_t cols) const;
  /// Bytes of a row of `cols` weights in all planes that have some for each row.
  std::size_t row_size(std::size_t cols) const;
  /// As people write it: "BF16", "affine 4-bit g64", "Q4_K".
  std::string name() const;
};

/// Elements of F32, BF16 or F16.
const WeightType& float_weights(DType dtype);

/// The blocks of a ggml type. Null: of a type that nothing here computes with.
const WeightType* find_ggml_weights(const GgmlType& type);

/// MLX affine with scales of F32, BF16 or F16. Null: there is none of so many bits, or such groups.
const WeightType* find_affine_weights(std::uint64_t bits, std::uint64_t group_size, DType dtype);

/// Floats of few bits in groups that share a scale, as MLX names their modes. `group_size` and
/// `bits` of a mode are what they are.
struct PackedMode {
  std::string_view name;  // "mxfp4"
  std::uint32_t bits = 0;
  std::uint32_t group_size = 0;
  WeightEncoding encoding = WeightEncoding::kPackedMxfp4;
  ScaleCode code = ScaleCode::kE8m0;
  bool can_have_global_scale = false;
};
std::span<const PackedMode> packed_modes();
/// Null: none is called so; none has such groups.
const PackedMode* find_packed_mode(std::string_view name);
const PackedMode* find_packed_mode(std::uint64_t bits, std::uint64_t group_size);
/// Weights of a mode, with or without a scale of the whole matrix, for modes that can have one.
const WeightType& packed_weights(const PackedMode& mode, bool has_global_scale);

/// E4M3 with a scale of F32, BF16 or F16 for every `block_rows` rows and `block_cols` columns,
/// fewer at the edges. Lives as long as the process. Null: no such numbers.
const WeightType* find_fp8_weights(std::uint64_t block_rows, std::uint64_t block_cols, DType dtype);
inline constexpr std::uint32_t kFp8BlockMax = 1u << 16;

/// Whether a scale among a plane's bytes is NaN or, of floats, infinite.
bool has_bad_scale(ScaleCode code, std::span<const std::byte> plane);

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_WEIGHT_TYPE_H_
