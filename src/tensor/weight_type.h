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

/// Bytes of a weight matrix that lie together, with a row of them for every row of the matrix.
struct WeightPlane {
  std::string_view suffix;        // of its tensor's name, behind the module's
  std::uint32_t block_bytes = 0;  // of each block of columns
};

/// How the elements of a weight matrix are stored: a row of a table, told apart by its address. Who
/// finds, reads or keeps weights goes through the planes; what is in them is for the kernels.
struct WeightType {
  WeightEncoding encoding = WeightEncoding::kFloat;
  DType dtype = DType::kF32;       // kFloat: of the elements. kAffine: of scales and biases
  std::uint32_t bits = 0;          // kAffine: 1, 2, 3, 4, 5, 6 or 8
  std::uint32_t block_cols = 1;    // columns that share a scale; rows are whole blocks
  const GgmlType* ggml = nullptr;  // of ggml's blocks
  std::uint32_t plane_count = 0;
  std::array<WeightPlane, kWeightPlanesMax> all_planes;

  std::span<const WeightPlane> planes() const { return std::span(all_planes).first(plane_count); }
  /// Bytes of a row of `cols` weights: in one plane, and in all.
  std::size_t plane_row_size(std::size_t plane, std::size_t cols) const {
    return cols / block_cols * all_planes[plane].block_bytes;
  }
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

}  // namespace flashmoe

#endif  // FLASHMOE_TENSOR_WEIGHT_TYPE_H_
