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
        type.encoding = WeightEncoding::kAffine;
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

struct GgmlWeights {
  std::string_view name;
  WeightEncoding encoding;
};
constexpr GgmlWeights kGgmlWeights[] = {
    {"Q4_0", WeightEncoding::kQ40},     {"Q4_1", WeightEncoding::kQ41},
    {"Q5_0", WeightEncoding::kQ50},     {"Q5_1", WeightEncoding::kQ51},
    {"Q8_0", WeightEncoding::kQ80},     {"Q2_K", WeightEncoding::kQ2K},
    {"Q3_K", WeightEncoding::kQ3K},     {"Q4_K", WeightEncoding::kQ4K},
    {"Q5_K", WeightEncoding::kQ5K},     {"Q6_K", WeightEncoding::kQ6K},
    {"IQ4_NL", WeightEncoding::kIq4Nl}, {"IQ4_XS", WeightEncoding::kIq4Xs},
    {"MXFP4", WeightEncoding::kMxfp4},
};

std::array<WeightType, std::size(kGgmlWeights)> make_ggml() {
  std::array<WeightType, std::size(kGgmlWeights)> types;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const GgmlType* const ggml = find_ggml_type(kGgmlWeights[i].name);
    FM_CHECK(ggml != nullptr);
    types[i].encoding = kGgmlWeights[i].encoding;
    types[i].ggml = ggml;
    types[i].block_cols = ggml->block;
    types[i].plane_count = 1;
    types[i].all_planes[0] = {".weight", ggml->block_size};
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
  if (encoding == WeightEncoding::kFloat) return std::string(to_string(dtype));
  if (ggml != nullptr) return std::string(ggml->name);
  return fmt::format("affine {}-bit g{}", bits, block_cols);
}

const WeightType& float_weights(DType dtype) {
  const auto found = std::ranges::find(kFloats, dtype, &WeightType::dtype);
  FM_CHECK(found != kFloats.end());
  return *found;
}

const WeightType* find_ggml_weights(const GgmlType& type) {
  if (type.dtype) {
    const auto floats = std::ranges::find(kFloats, *type.dtype, &WeightType::dtype);
    return floats == kFloats.end() ? nullptr : &*floats;
  }
  static const auto kGgml = make_ggml();
  const auto found = std::ranges::find(kGgml, &type, &WeightType::ggml);
  return found == kGgml.end() ? nullptr : &*found;
}

const WeightType* find_affine_weights(std::uint64_t bits, std::uint64_t group_size, DType dtype) {
  const auto found = std::ranges::find_if(kAffines, [&](const WeightType& type) {
    return type.bits == bits && type.block_cols == group_size && type.dtype == dtype;
  });
  return found == kAffines.end() ? nullptr : &*found;
}

}  // namespace flashmoe
