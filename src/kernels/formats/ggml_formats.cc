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

using Dequantizer = void (*)(const std::byte* block, float* out);

/// A format's own function for blocks of a size known at compile time, for any block.
template <std::size_t Block, std::size_t Size,
          void (*Dequantize)(BlockBytes<Size>, std::span<float, Block>)>
void dequantize_block(const std::byte* block, float* out) {
  Dequantize(BlockBytes<Size>(block), std::span<float, Block>(out, Block));
}

struct GgmlFormat {
  std::string_view name;
  Dequantizer dequantize;
};

constexpr GgmlFormat kGgmlFormats[] = {
    {"F32", [](const std::byte* at, float* out) { *out = load_unaligned<float>(at); }},
    {"F16", [](const std::byte* at,
               float* out) { *out = float_from_f16(load_unaligned<std::uint16_t>(at)); }},
    {"BF16", [](const std::byte* at,
                float* out) { *out = float_from_bf16(load_unaligned<std::uint16_t>(at)); }},
    {"Q4_0", dequantize_block<kQ40Block, kQ40Size, dequantize_q4_0>},
    {"Q4_1", dequantize_block<kQ41Block, kQ41Size, dequantize_q4_1>},
    {"Q5_0", dequantize_block<kQ50Block, kQ50Size, dequantize_q5_0>},
    {"Q5_1", dequantize_block<kQ51Block, kQ51Size, dequantize_q5_1>},
    {"Q8_0", dequantize_block<kQ80Block, kQ80Size, dequantize_q8_0>},
    {"Q2_K", dequantize_block<kQ2kBlock, kQ2kSize, dequantize_q2_k>},
    {"Q3_K", dequantize_block<kQ3kBlock, kQ3kSize, dequantize_q3_k>},
    {"Q4_K", dequantize_block<kQ4kBlock, kQ4kSize, dequantize_q4_k>},
    {"Q5_K", dequantize_block<kQ5kBlock, kQ5kSize, dequantize_q5_k>},
    {"Q6_K", dequantize_block<kQ6kBlock, kQ6kSize, dequantize_q6_k>},
    {"IQ4_NL", dequantize_block<kIq4NlBlock, kIq4NlSize, dequantize_iq4_nl>},
    {"IQ4_XS", dequantize_block<kIq4XsBlock, kIq4XsSize, dequantize_iq4_xs>},
    {"MXFP4", dequantize_block<kMxfp4Block, kMxfp4Size, dequantize_mxfp4>},
};

}  // namespace

bool dequantize_ggml(const GgmlType& type, std::span<const std::byte> blocks,
                     std::span<float> out) {
  const auto format = std::find_if(std::begin(kGgmlFormats), std::end(kGgmlFormats),
                                   [&](const GgmlFormat& f) { return f.name == type.name; });
  if (format == std::end(kGgmlFormats)) return false;
  FM_CHECK(blocks.size() % type.block_size == 0);
  const std::size_t count = blocks.size() / type.block_size;
  FM_CHECK(out.size() == count * type.block);
  for (std::size_t i = 0; i < count; ++i) {
    format->dequantize(blocks.data() + i * type.block_size, out.data() + i * type.block);
  }
  return true;
}

}  // namespace flashmoe::formats
