#include "model/weight_source.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/portable_math.h"

namespace flashmoe {
namespace {

/// [channels, kernel] -> [kernel, channels], so that a tap of all channels is contiguous.
std::vector<float> tap_major(const std::vector<float>& weight, std::size_t channels) {
  const std::size_t kernel = weight.size() / channels;
  std::vector<float> out(weight.size());
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t j = 0; j < kernel; ++j) out[j * channels + c] = weight[c * kernel + j];
  }
  return out;
}

}  // namespace

Status restore(StoredAs stored, std::span<const std::uint64_t> shape, bool is_mlx,
               std::vector<float>& values) {
  switch (stored) {
    case StoredAs::kPlain:
      break;
    case StoredAs::kZeroCentred:
      if (is_mlx) break;
      for (float& value : values) value += 1.0f;
      break;
    case StoredAs::kLogDecay:
      for (float& value : values) {
        if (!std::isfinite(value)) {
          return Status(StatusCode::kCorrupt, "has a value that is not finite");
        }
        value = static_cast<float>(-portable::exp(static_cast<double>(value)));
      }
      break;
    case StoredAs::kTapsLast:
      FM_CHECK(!shape.empty());
      values = tap_major(values, shape.front());
      break;
  }
  return Status();
}

}  // namespace flashmoe
