#include "kernels/formats/ggml_formats.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "base/check.h"
#include "kernels/formats/iq4_nl.h"
#include "kernels/formats/iq4_xs.h"
#include "kernels/formats/mxfp4.h"
#include "kernels/formats/q2_k.h"
#include "kernels/formats/q3_k.h"
#include "kernels/formats/q4_0.h"
#include "kernels/formats/q4_1.h"
#include "kernels/formats/q4_k.h"
#include "kernels/formats/q5_0.h"
#include "kernels/formats/q5_1.h"
#include "kernels/formats/q5_k.h"
#include "kernels/formats/q6_k.h"
#include "kernels/formats/q8_0.h"
#include "tensor/float_bits.h"

namespace flashmoe::formats {
namespace {

template <typename Format>
constexpr GgmlFormat row(std::string_view name) {
  return {name, Format::kRun, Format::kHasBias, [](const std::byte* block, BlockParts& parts) {
            Format::read(BlockBytes<Format::kSize>(block), parts);
          }};
}

constexpr GgmlFormat kGgmlFormats[] = {
    row<Q40>("Q4_0"),    row<Q41>("Q4_1"), row<Q50>("Q5_0"),     row<Q51>("Q5_1"),
    row<Q80>("Q8_0"),    row<Q2K>("Q2_K"), row<Q3K>("Q3_K"),     row<Q4K>("Q4_K"),
    row<Q5K>("Q5_K"),    row<Q6K>("Q6_K"), row<Iq4Nl>("IQ4_NL"), row<Iq4Xs>("IQ4_XS"),
    row<Mxfp4>("MXFP4"),
};

float load_element(DType dtype, const std::byte* at) {
  if (dtype == DType::kF32) return load_unaligned<float>(at);
  const auto half = load_unaligned<std::uint16_t>(at);
  return dtype == DType::kF16 ? float_from_f16(half) : float_from_bf16(half);
}

}  // namespace

const GgmlFormat* find_ggml_format(const GgmlType& type) {
  const auto* const format = std::ranges::find(kGgmlFormats, type.name, &GgmlFormat::name);
  return format == std::end(kGgmlFormats) ? nullptr : format;
}

bool dequantize_ggml(const GgmlType& type, std::span<const std::byte> blocks,
                     std::span<float> out) {
  FM_CHECK(blocks.size() % type.block_size == 0);
  const std::size_t count = blocks.size() / type.block_size;
  if (type.dtype && is_float(*type.dtype)) {
    FM_CHECK(out.size() == count);
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = load_element(*type.dtype, blocks.data() + i * type.block_size);
    }
    return true;
  }
  const GgmlFormat* const format = find_ggml_format(type);
  if (format == nullptr) return false;
  FM_CHECK(out.size() == count * type.block);
  BlockParts parts;
  for (std::size_t i = 0; i < count; ++i) {
    format->read(blocks.data() + i * type.block_size, parts);
    for (std::size_t n = 0; n < type.block; ++n) {
      const float product = parts.scale[n / format->run] * number(parts.q[n]);
      out[i * type.block + n] = format->has_bias ? product + parts.bias[n / format->run] : product;
    }
  }
  return true;
}

}  // namespace flashmoe::formats
