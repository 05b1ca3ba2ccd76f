#include "tensor/weight_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <list>
#include <mutex>

#include "base/check.h"
#include "tensor/float_bits.h"

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

constexpr PackedMode kPackedModes[] = {
    {.name = "mxfp4",
     .bits = 4,
     .group_size = 32,
     .encoding = WeightEncoding::kPackedMxfp4,
     .code = ScaleCode::kE8m0,
     .can_have_global_scale = false},
    {.name = "nvfp4",
     .bits = 4,
     .group_size = 16,
     .encoding = WeightEncoding::kPackedNvfp4,
     .code = ScaleCode::kE4m3,
     .can_have_global_scale = true},
    {.name = "mxfp8",
     .bits = 8,
     .group_size = 32,
     .encoding = WeightEncoding::kPackedMxfp8,
     .code = ScaleCode::kE8m0,
     .can_have_global_scale = false},
};

/// Each mode without a scale of the whole matrix, then with one.
constexpr std::array<WeightType, 2 * std::size(kPackedModes)> make_packed() {
  std::array<WeightType, 2 * std::size(kPackedModes)> types;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const PackedMode& mode = kPackedModes[i / 2];
    WeightType& type = types[i];
    type.encoding = mode.encoding;
    type.bits = mode.bits;
    type.block_cols = mode.group_size;
    type.plane_count = i % 2 == 0 ? 2 : 3;
    type.all_planes = {
        WeightPlane{".weight", mode.group_size * mode.bits / 8},
        WeightPlane{".scales", 1, mode.code},
        WeightPlane{".global_scale", sizeof(float), ScaleCode::kF32, /*is_shared=*/true}};
  }
  return types;
}

/// Of floats that take `size` bytes.
template <typename Load>
bool has_non_finite(std::span<const std::byte> plane, std::size_t size, Load load) {
  for (std::size_t at = 0; at + size <= plane.size(); at += size) {
    if (!std::isfinite(load(plane.data() + at))) return true;
  }
  return false;
}

constexpr auto kPacked = make_packed();
constexpr auto kFloats = make_floats();
constexpr auto kAffines = make_affines();

}  // namespace

bool WeightType::has_integer_products() const {
  return encoding != WeightEncoding::kFloat && encoding != WeightEncoding::kPackedMxfp8 &&
         encoding != WeightEncoding::kFp8Blocks;
}

std::size_t WeightType::plane_row_size(std::size_t plane, std::size_t cols) const {
  const WeightPlane& blocks = all_planes[plane];
  if (blocks.is_shared) return 0;
  if (blocks.block_cols == 0) return cols / block_cols * blocks.block_bytes;
  return (cols + blocks.block_cols - 1) / blocks.block_cols * blocks.block_bytes;
}

std::size_t WeightType::plane_size(std::size_t plane, std::size_t rows, std::size_t cols) const {
  const WeightPlane& blocks = all_planes[plane];
  if (blocks.is_shared) return blocks.block_bytes;
  return (rows + blocks.block_rows - 1) / blocks.block_rows * plane_row_size(plane, cols);
}

std::size_t WeightType::row_size(std::size_t cols) const {
  std::size_t size = 0;
  for (std::size_t plane = 0; plane < plane_count; ++plane) {
    if (all_planes[plane].block_rows == 1) size += plane_row_size(plane, cols);
  }
  return size;
}

std::string WeightType::name() const {
  if (encoding == WeightEncoding::kFloat) return std::string(to_string(dtype));
  if (ggml != nullptr) return std::string(ggml->name);
  if (encoding == WeightEncoding::kFp8Blocks) {
    return fmt::format("fp8 {}x{}", all_planes[1].block_rows, all_planes[1].block_cols);
  }
  const auto* const mode = std::ranges::find(kPackedModes, encoding, &PackedMode::encoding);
  if (mode != std::end(kPackedModes)) return std::string(mode->name);
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

std::span<const PackedMode> packed_modes() { return kPackedModes; }

const PackedMode* find_packed_mode(std::string_view name) {
  const auto* const found = std::ranges::find(kPackedModes, name, &PackedMode::name);
  return found == std::end(kPackedModes) ? nullptr : found;
}

const PackedMode* find_packed_mode(std::uint64_t bits, std::uint64_t group_size) {
  const auto* const found = std::ranges::find_if(kPackedModes, [&](const PackedMode& mode) {
    return mode.bits == bits && mode.group_size == group_size;
  });
  return found == std::end(kPackedModes) ? nullptr : found;
}

const WeightType& packed_weights(const PackedMode& mode, bool has_global_scale) {
  FM_CHECK(!has_global_scale || mode.can_have_global_scale);
  const auto* const found = std::ranges::find(kPacked, mode.encoding, &WeightType::encoding);
  return *(found + (has_global_scale ? 1 : 0));
}

const WeightType* find_fp8_weights(std::uint64_t block_rows, std::uint64_t block_cols,
                                   DType dtype) {
  const auto is_block = [](std::uint64_t n) { return n >= 1 && n <= kFp8BlockMax; };
  if (!is_block(block_rows) || !is_block(block_cols) || !is_float(dtype)) return nullptr;
  const WeightPlane scales = {
      .suffix = ".weight_scale_inv",
      .block_bytes = bytes_of(dtype),
      .code = dtype == DType::kF32    ? ScaleCode::kF32
              : dtype == DType::kBF16 ? ScaleCode::kBF16
                                      : ScaleCode::kF16,
      .block_rows = static_cast<std::uint32_t>(block_rows),
      .block_cols = static_cast<std::uint32_t>(block_cols),
  };
  // Types are told apart by their addresses: one is made for each size that a model has.
  static std::mutex mutex;
  static std::list<WeightType> types;
  const std::lock_guard lock(mutex);
  for (const WeightType& type : types) {
    const WeightPlane& plane = type.all_planes[1];
    if (type.dtype == dtype && plane.block_rows == block_rows && plane.block_cols == block_cols) {
      return &type;
    }
  }
  WeightType& type = types.emplace_back();
  type.encoding = WeightEncoding::kFp8Blocks;
  type.dtype = dtype;
  type.bits = 8;
  type.plane_count = 2;
  type.all_planes = {WeightPlane{".weight", 1}, scales};
  return &type;
}

bool has_bad_scale(ScaleCode code, std::span<const std::byte> plane) {
  switch (code) {
    case ScaleCode::kE8m0:
      return std::ranges::find(plane, std::byte{255}) != plane.end();
    case ScaleCode::kE4m3:
      return std::ranges::any_of(
          plane, [](std::byte b) { return (b & std::byte{127}) == std::byte{127}; });
    case ScaleCode::kF32:
      return has_non_finite(plane, 4, load_unaligned<float>);
    case ScaleCode::kBF16:
      return has_non_finite(plane, 2, [](const std::byte* at) {
        return float_from_bf16(load_unaligned<std::uint16_t>(at));
      });
    case ScaleCode::kF16:
      return has_non_finite(plane, 2, [](const std::byte* at) {
        return float_from_f16(load_unaligned<std::uint16_t>(at));
      });
    case ScaleCode::kAny:
      break;
  }
  return false;
}

}  // namespace flashmoe
