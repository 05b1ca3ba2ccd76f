#ifndef FLASHMOE_FORMAT_QUANTIZATION_CONFIG_H_
#define FLASHMOE_FORMAT_QUANTIZATION_CONFIG_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"
#include "tensor/weight_type.h"

namespace flashmoe {

/// What config.json says about the quantisation of one module (docs/formats.md).
struct ModuleQuantization {
  enum class Kind : std::uint8_t {
    kUnlisted,  // nothing: the tensors decide
    kPlain,     // not quantised
    kAffine,    // affine, with the parameters below
    kPacked,    // floats of few bits, of `mode`
  };
  Kind kind = Kind::kUnlisted;
  std::uint32_t bits = 0;
  std::uint32_t group_size = 0;
  const PackedMode* mode = nullptr;
  bool has_global_scale = false;  // kPacked: a scale of the whole matrix is said to be there
};

/// Rows and columns that share a scale in a checkpoint quantised by the method "fp8".
struct Fp8BlockSize {
  std::uint64_t rows = 0;
  std::uint64_t cols = 0;
};

/// True for the widths and groups that MLX's affine mode has.
bool is_affine_bits(std::uint64_t bits);
bool is_affine_group_size(std::uint64_t group_size);

/// Reads the `quantization` object of `config` (or `quantization_config`, where that is a copy of
/// it) for the module called `path`. `file` is for messages. Of the other methods, mxfp4 and fp8
/// leave it to the tensors. Errors: kUnsupported for a mode or a method that nothing here computes
/// with, naming it; kCorrupt for values that make no sense.
Result<ModuleQuantization> read_module_quantization(const nlohmann::json& config,
                                                    std::string_view file, std::string_view path);

/// `quantization_config.weight_block_size` of the method "fp8". Errors: kUnsupported, naming the
/// field, where the method is another, or scales are of another kind than blocks have.
Result<Fp8BlockSize> read_fp8_block_size(const nlohmann::json& config, std::string_view file);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_QUANTIZATION_CONFIG_H_
