#ifndef FLASHMOE_FORMAT_QUANTIZATION_CONFIG_H_
#define FLASHMOE_FORMAT_QUANTIZATION_CONFIG_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace flashmoe {

/// What config.json says about the quantisation of one module (docs/formats.md).
struct ModuleQuantization {
  enum class Kind : std::uint8_t {
    kUnlisted,  // nothing: the tensors decide
    kPlain,     // not quantised
    kAffine,    // affine, with the parameters below
  };
  Kind kind = Kind::kUnlisted;
  std::uint32_t bits = 0;
  std::uint32_t group_size = 0;
};

/// True for the widths and groups that MLX's affine mode has.
bool is_affine_bits(std::uint64_t bits);
bool is_affine_group_size(std::uint64_t group_size);

/// Reads the `quantization` object of `config` (or `quantization_config`, where that is a copy of
/// it) for the module called `path`. `file` is for messages. Errors: kUnsupported for a mode other
/// than affine or a method that is not MLX's, naming it; kCorrupt for values that make no sense.
Result<ModuleQuantization> read_module_quantization(const nlohmann::json& config,
                                                    std::string_view file, std::string_view path);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_QUANTIZATION_CONFIG_H_
