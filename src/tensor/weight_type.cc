#include "tensor/weight_type.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace flashmoe {
namespace {

constexpr std::array kFloatTypes = {DType::kF32, DType::kBF16, DType::kF16};
constexpr std::array<std::uint32_t, 7> kAffineBits = {1, 2, 3, 4, 5, 6, 8};
constexpr std::array<std::uint32_t, 3> kAffineGroups = {32, 64, 128};
constexpr std::size_t kAffineCount = kAffineBits.size() * kAffineGroups.size() * kFloatTypes.size();

constexpr std::uint32_t bytes_of(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

constexpr std::array<WeightType, kFloatTypes.size()> make_floats() {
  std::array<WeightType, kFloatTypes.size()> types;
  for (std::size_t i = 0; i < types.size(); ++i) {
    types[i].dtype = kFloatTypes[i];
    types[i].plane_count = 1;
    types[i].all_planes[0] = {".weight", bytes_of(kFloatTypes[i])};
  }
  return types;
}

constexpr std::array<WeightType, kAffineCount> make_affines() {
  std::array<WeightType, kAffineCount> types;
  std::size_t i = 0;
  for (const std::uint32_t bits : kAffineBits) {
    for (const std::uint32_t group : kAffineGroups) {
      for (const DType dtype : kFloatTypes) {
        WeightType& type = types[i++];
        type.encoding = WeightType::Encoding::kAffine;
        type.dtype = dtype;
        type.bits = bits;
        type.block_cols = group;
        type.plane_count = 3;
        type.all_planes = {WeightPlane{".weight", group * bits / 8},
                           WeightPlane{".scales", bytes_of(dtype)},
                           WeightPlane{".biases", bytes_of(dtype)}};
      }
    }
  }
  return types;
}

constexpr auto kFloats = make_floats();
constexpr auto kAffines = make_affines();

}  // namespace

std::size_t WeightType::row_size(std::size_t cols) const {
  std::size_t size = 0;
  for (std::size_t plane = 0; plane < plane_count; ++plane) size += plane_row_size(plane, cols);
  return size;
}

std::string WeightType::name() const {
  if (encoding == Encoding::kFloat) return std::string(to_string(dtype));
  return fmt::format("affine {}-bit g{}", bits, block_cols);
}

const WeightType& float_weights(DType dtype) {
  const auto found = std::ranges::find(kFloats, dtype, &WeightType::dtype);
  FM_CHECK(found != kFloats.end());
  return *found;
}

const WeightType* find_affine_weights(std::uint64_t bits, std::uint64_t group_size, DType dtype) {
  const auto found = std::ranges::find_if(kAffines, [&](const WeightType& type) {
    return type.bits == bits && type.block_cols == group_size && type.dtype == dtype;
  });
  return found == kAffines.end() ? nullptr : &*found;
}

}  // namespace flashmoe
