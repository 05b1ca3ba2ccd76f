#include "kernels/testing/op_inputs.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/kv_rows.h"
#include "kernels/ops.h"

namespace flashmoe::testing {
namespace {

constexpr float kGapPattern = -12345.5f;
constexpr std::size_t kPageSize = 4096;

// At least `size` bytes that end at the guard page behind every AlignedBuffer.
AlignedBuffer allocate_pages(std::size_t size) {
  auto buffer = AlignedBuffer::allocate((size + kPageSize - 1) / kPageSize * kPageSize);
  FM_CHECK(buffer.ok());
  return std::move(buffer).value();
}

// The last `size` bytes of `buffer`, but one where that makes the address odd.
std::byte* odd_tail(AlignedBuffer& buffer, std::size_t size) {
  return buffer.data() + (buffer.size() - size - (size % 2 == 0 ? 1 : 0));
}

// +-1.m * 2^exponent with random sign and mantissa, as an element of `dtype`.
void store_random_float(Random& random, DType dtype, int exponent, std::byte* to) {
  const std::uint64_t bits = random.bits();
  const auto sign = static_cast<std::uint32_t>(bits & 1);
  const auto mantissa = static_cast<std::uint32_t>(bits >> 40) & 0x7fffffu;
  if (dtype == DType::kF16) {
    const auto half = static_cast<std::uint16_t>(
        sign << 15 | static_cast<std::uint32_t>(exponent + 15) << 10 | mantissa >> 13);
    std::memcpy(to, &half, sizeof(half));
    return;
  }
  const std::uint32_t word =
      sign << 31 | static_cast<std::uint32_t>(exponent + 127) << 23 | mantissa;
  if (dtype == DType::kBF16) {
    const auto upper = static_cast<std::uint16_t>(word >> 16);
    std::memcpy(to, &upper, sizeof(upper));
  } else {
    std::memcpy(to, &word, sizeof(word));
  }
}

void store_random_floats(Random& random, DType dtype, std::size_t count, bool with_zeros,
                         std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    std::byte* element = to + i * size_of(dtype);
    if (with_zeros && random.below(16) == 0) {
      std::memset(element, 0, size_of(dtype));
    } else {
      store_random_float(random, dtype, -static_cast<int>(random.below(6)) - 4, element);
    }
  }
}

/// Bytes of a block where it has an f16, and of MXFP4 an exponent.
std::vector<std::size_t> float_places(WeightEncoding encoding) {
  switch (encoding) {
    case WeightEncoding::kQ41:
    case WeightEncoding::kQ51:
    case WeightEncoding::kQ4K:
    case WeightEncoding::kQ5K:
      return {0, 2};
    case WeightEncoding::kQ2K:
      return {80, 82};
    case WeightEncoding::kQ3K:
      return {108};
    case WeightEncoding::kQ6K:
      return {208};
    default:
      return {0};
  }
}

void fill_blocks(Random& random, const WeightType& type, std::span<std::byte> bytes) {
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.bits() & 0xff);
  const std::size_t size = type.planes()[0].block_bytes;
  for (std::size_t at = 0; at < bytes.size(); at += size) {
    std::byte* const block = bytes.data() + at;
    if (type.encoding == WeightEncoding::kMxfp4) {
      block[0] =
          static_cast<std::byte>(random.below(16) == 0 ? random.below(3) : 118 + random.below(6));
      continue;
    }
    for (const std::size_t place : float_places(type.encoding)) {
      store_random_floats(random, DType::kF16, 1, place == 0, block + place);
    }
  }
}

/// A scale of each kind about as large as affine ones are.
void fill_scales(Random& random, ScaleCode code, std::span<std::byte> bytes) {
  const DType dtype = code == ScaleCode::kF32    ? DType::kF32
                      : code == ScaleCode::kBF16 ? DType::kBF16
                                                 : DType::kF16;
  if (code != ScaleCode::kE8m0 && code != ScaleCode::kE4m3) {
    return store_random_floats(random, dtype, bytes.size() / size_of(dtype), false, bytes.data());
  }
  for (std::byte& b : bytes) {
    if (code == ScaleCode::kE8m0) {
      b = static_cast<std::byte>(random.below(16) == 0 ? random.below(3) : 118 + random.below(6));
    } else {
      // Subnormal ones and zeros among them, of both signs.
      const std::size_t magnitude = random.below(16) == 0 ? random.below(8) : 8 + random.below(48);
      b = static_cast<std::byte>(magnitude | random.below(2) << 7);
    }
  }
}

}  // namespace

std::vector<const WeightType*> packed_weight_types() {
  std::vector<const WeightType*> types;
  for (const PackedMode& mode : packed_modes()) {
    types.push_back(&packed_weights(mode, false));
    if (mode.can_have_global_scale) types.push_back(&packed_weights(mode, true));
  }
  types.push_back(find_fp8_weights(128, 128, DType::kF32));
  types.push_back(find_fp8_weights(48, 40, DType::kBF16));
  types.push_back(find_fp8_weights(5, 7, DType::kF16));
  return types;
}

std::vector<const WeightType*> ggml_weight_types() {
  std::vector<const WeightType*> types;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const GgmlType* const ggml = find_ggml_type(id);
    if (ggml == nullptr || ggml->dtype) continue;
    if (const WeightType* const type = find_ggml_weights(*ggml)) types.push_back(type);
  }
  return types;
}

float Random::uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(bits() >> 40) * 0x1p-24f;
}

float Random::normal() {
  float sum = 0;
  for (int i = 0; i < 12; ++i) sum += uniform(0, 1);
  return sum - 6;
}

Matrix::Matrix(std::size_t rows, std::size_t cols, std::size_t gap)
    : rows_(rows), cols_(cols), gap_(gap), values_(rows * (cols + gap), 0.0f) {
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill_n(values_.begin() + static_cast<std::ptrdiff_t>(r * (cols + gap) + cols), gap,
                kGapPattern);
  }
}

bool Matrix::gaps_intact() const {
  for (std::size_t r = 0; r < rows_; ++r) {
    for (std::size_t g = 0; g < gap_; ++g) {
      if (row(r)[cols_ + g] != kGapPattern) return false;
    }
  }
  return true;
}

bool operator==(const Matrix& a, const Matrix& b) {
  if (a.rows_ != b.rows_ || a.cols_ != b.cols_) return false;
  for (std::size_t r = 0; r < a.rows_; ++r) {
    if (std::memcmp(a.row(r), b.row(r), a.cols_ * sizeof(float)) != 0) return false;
  }
  return true;
}

void fill_row(Random& random, Fill fill, std::span<float> row) {
  for (float& x : row) {
    switch (fill) {
      case Fill::kNormal:
        x = random.normal();
        break;
      case Fill::kOutliers:
        x = random.normal() * (random.below(40) == 0 ? 1000.0f : 1.0f);
        break;
      case Fill::kZeros:
        x = random.below(2) == 0 ? 0.0f : -0.0f;
        break;
      case Fill::kSubnormal:
        x = random.normal() * 0x1p-130f;
        break;
      case Fill::kLarge:
        x = random.normal() * 1e12f;
        break;
      case Fill::kDecades:
        x = random.normal() * std::ldexp(1.0f, static_cast<int>(random.below(30)) - 20);
        break;
      case Fill::kSaturating: {
        constexpr float kEdges[] = {-200,  -104,  -88.8f, -87.4f, -87.3f, -20,   -1e-6f, 0,
                                    1e-6f, 19.9f, 20.1f,  87.3f,  88.7f,  88.8f, 200};
        x = kEdges[random.below(std::size(kEdges))];
        break;
      }
    }
  }
}

Matrix mixed_matrix(Random& random, std::size_t rows, std::size_t cols, std::size_t gap) {
  Matrix matrix(rows, cols, gap);
  for (std::size_t r = 0; r < rows; ++r) {
    fill_row(random, kFills[r % std::size(kFills)], matrix.view().row_span(r));
  }
  return matrix;
}

Matrix filled_matrix(Random& random, Fill fill, std::size_t rows, std::size_t cols,
                     std::size_t gap) {
  Matrix matrix(rows, cols, gap);
  for (std::size_t r = 0; r < rows; ++r) fill_row(random, fill, matrix.view().row_span(r));
  return matrix;
}

Weight::Weight(Random& random, const WeightType& type, std::size_t rows, std::size_t cols) {
  view_ = {.type = &type, .rows = rows, .cols = cols};
  for (std::size_t plane = 0; plane < type.plane_count; ++plane) {
    const std::size_t size = type.plane_size(plane, rows, cols);
    planes_[plane] = allocate_pages(size + 1);
    std::byte* const bytes = odd_tail(planes_[plane], size);
    view_.planes[plane] = bytes;
    if (type.ggml != nullptr) {
      fill_blocks(random, type, {bytes, size});
    } else if (type.planes()[plane].code != ScaleCode::kAny) {
      fill_scales(random, type.planes()[plane].code, {bytes, size});
    } else if (type.encoding != WeightEncoding::kFloat && plane == 0) {
      for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(random.bits() & 0xff);
      const bool is_e4m3 = type.encoding == WeightEncoding::kPackedMxfp8 ||
                           type.encoding == WeightEncoding::kFp8Blocks;
      for (std::size_t i = 0; i < size && is_e4m3; ++i) {
        if ((bytes[i] & std::byte{127}) == std::byte{127}) bytes[i] ^= std::byte{1};  // NaN
      }
    } else {
      store_random_floats(random, type.dtype, size / size_of(type.dtype), plane != 2, bytes);
    }
  }
}

KvBlocks::KvBlocks(Random& random, std::size_t num_kv_heads, std::size_t head_dim,
                   std::size_t positions, KvPrecision precision)
    : KvBlocks(precision, num_kv_heads * kKvBlock, head_dim) {
  for (std::size_t begin = 0; begin < positions; begin += kKvBlock) {
    Matrix block(rows_, head_dim);
    for (std::size_t r = 0; r < rows_; ++r) {
      const bool written = begin + r % kKvBlock < positions;
      const auto row = block.view().row_span(r);
      if (written) {
        fill_row(random, Fill::kNormal, row);
      } else {
        std::fill(row.begin(), row.end(), std::numeric_limits<float>::quiet_NaN());
      }
    }
    add(block);
  }
}

void KvBlocks::add(const Matrix& block) {
  const std::size_t row_bytes = kv_row_bytes(precision_, head_dim_);
  AlignedBuffer& buffer = blocks_.emplace_back(allocate_pages(rows_ * row_bytes));
  std::byte* const stored = buffer.data() + (buffer.size() - rows_ * row_bytes);
  for (std::size_t r = 0; r < rows_; ++r) {
    store_kv_row(precision_, {block.row(r), head_dim_}, stored + r * row_bytes);
  }
  pointers_.push_back(stored);
}

KvBlocks KvBlocks::widened() const {
  KvBlocks floats(KvPrecision::kF32, rows_, head_dim_);
  const std::size_t row_bytes = kv_row_bytes(precision_, head_dim_);
  for (const void* stored : pointers_) {
    Matrix block(rows_, head_dim_);
    for (std::size_t r = 0; r < rows_; ++r) {
      load_kv_row(precision_, static_cast<const std::byte*>(stored) + r * row_bytes,
                  block.view().row_span(r));
    }
    floats.add(block);
  }
  return floats;
}

Activations allocate_activations(std::size_t rows, std::size_t cols) {
  auto activations = Activations::allocate(rows, cols);
  FM_CHECK(activations.ok());
  return std::move(activations).value();
}

double relative_rms(std::span<const float> a, std::span<const float> b, double floor) {
  FM_CHECK(a.size() == b.size());
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    if (std::abs(difference) <= floor) continue;  // false for NaN, which then spoils the sum
    error += difference * difference;
  }
  for (const double value : b) norm += value * value;
  if (error == 0) return 0;
  return norm == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(error / norm);
}

double relative_rms_of_rows(const Matrix& a, const Matrix& b, double floor) {
  FM_CHECK(a.rows() == b.rows());
  double largest = 0;
  for (std::size_t r = 0; r < a.rows(); ++r) {
    const double rms = relative_rms(a.view().row_span(r), b.view().row_span(r), floor);
    if (!(rms <= largest)) largest = rms;
    if (std::isnan(largest)) break;
  }
  return largest;
}

}  // namespace flashmoe::testing
