#include "format/quantization_config.h"

#include <cstdint>
#include <string>
#include <vector>

#include "format/config_reader.h"
#include "format/printable.h"

namespace flashmoe {
namespace {

using nlohmann::json;

/// The object that describes the quantisation, and its key in config.json; null if nothing does.
struct QuantizationObject {
  const json* object = nullptr;
  std::string_view key;
};

Result<QuantizationObject> find_quantization(const json& config, const ConfigReader& reader) {
  if (reader.has("quantization")) {
    FM_RETURN_IF_ERROR(reader.object("quantization").status());
    return QuantizationObject{&config["quantization"], "quantization"};
  }
  if (!reader.has("quantization_config")) return QuantizationObject();
  FM_ASSIGN_OR_RETURN(const ConfigReader foreign, reader.object("quantization_config"));
  if (foreign.has("quant_method")) {
    FM_ASSIGN_OR_RETURN(const std::string method, foreign.string("quant_method"));
    if (method == "mxfp4" || method == "fp8") return QuantizationObject();
    return foreign.reject(
        StatusCode::kUnsupported, "quant_method",
        fmt::format("weights quantised by {} are not supported; use an MLX checkpoint (affine, "
                    "mxfp4, nvfp4, mxfp8), or one in fp8, bf16, f16 or f32",
                    printable(method)));
  }
  if (!foreign.has("group_size") && !foreign.has("bits")) return QuantizationObject();
  return QuantizationObject{&config["quantization_config"], "quantization_config"};
}

/// Of a mode whose bits and groups are what they are.
Result<ModuleQuantization> read_packed(const ConfigReader& reader, const PackedMode& mode) {
  const auto check = [&](const char* field, std::uint32_t wanted) -> Status {
    FM_ASSIGN_OR_RETURN(const std::uint64_t value, reader.uint_or(field, wanted, 0, UINT32_MAX));
    if (value == wanted) return Status();
    return reader.reject(StatusCode::kCorrupt, field,
                         fmt::format("{} is not what mode {} has, {}; correct the field, or "
                                     "download the file again",
                                     value, mode.name, wanted));
  };
  FM_RETURN_IF_ERROR(check("bits", mode.bits));
  FM_RETURN_IF_ERROR(check("group_size", mode.group_size));
  FM_ASSIGN_OR_RETURN(const bool has_global_scale, reader.boolean_or("global_scale", false));
  if (has_global_scale && !mode.can_have_global_scale) {
    return reader.reject(StatusCode::kCorrupt, "global_scale",
                         fmt::format("mode {} has none; correct the field, or download the file "
                                     "again",
                                     mode.name));
  }
  return ModuleQuantization{.kind = ModuleQuantization::Kind::kPacked,
                            .mode = &mode,
                            .has_global_scale = has_global_scale};
}

Result<ModuleQuantization> read_parameters(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const std::string mode, reader.string_or("mode", "affine"));
  if (const PackedMode* const packed = find_packed_mode(mode); packed != nullptr) {
    return read_packed(reader, *packed);
  }
  if (mode != "affine") {
    return reader.reject(StatusCode::kUnsupported, "mode",
                         fmt::format("quantisation mode {} is not known; use a checkpoint of mode "
                                     "affine, mxfp4, nvfp4 or mxfp8, or one in bf16, f16 or f32",
                                     printable(mode)));
  }
  FM_ASSIGN_OR_RETURN(const std::uint64_t bits, reader.uint_or("bits", 4, 1, 8));
  if (!is_affine_bits(bits)) {
    return reader.reject(StatusCode::kCorrupt, "bits",
                         "7 is none of the widths of affine mode: 1, 2, 3, 4, 5, 6, 8");
  }
  FM_ASSIGN_OR_RETURN(const std::uint64_t group_size, reader.uint_or("group_size", 64, 32, 128));
  if (!is_affine_group_size(group_size)) {
    return reader.reject(
        StatusCode::kCorrupt, "group_size",
        fmt::format("{} is none of the groups of affine mode: 32, 64, 128", group_size));
  }
  return ModuleQuantization{.kind = ModuleQuantization::Kind::kAffine,
                            .bits = static_cast<std::uint32_t>(bits),
                            .group_size = static_cast<std::uint32_t>(group_size)};
}

}  // namespace

bool is_affine_bits(std::uint64_t bits) { return bits >= 1 && bits <= 8 && bits != 7; }

bool is_affine_group_size(std::uint64_t group_size) {
  return group_size == 32 || group_size == 64 || group_size == 128;
}

Result<ModuleQuantization> read_module_quantization(const json& config, std::string_view file,
                                                    std::string_view path) {
  const ConfigReader reader(config, std::string(file));
  FM_ASSIGN_OR_RETURN(const bool quantizes_activations,
                      reader.boolean_or("quantize_activations", false));
  if (quantizes_activations) {
    return reader.reject(StatusCode::kUnsupported, "quantize_activations",
                         "quantised activations are not supported; use an affine checkpoint");
  }
  FM_ASSIGN_OR_RETURN(const QuantizationObject quantization, find_quantization(config, reader));
  if (quantization.object == nullptr) return ModuleQuantization();
  const auto entry = quantization.object->find(std::string(path));
  if (entry == quantization.object->end()) return ModuleQuantization();

  // As Python judges truth, which decides in mlx-lm: null, false and {} mean not quantised.
  if (entry->is_null() || *entry == false || (entry->is_object() && entry->empty())) {
    return ModuleQuantization{.kind = ModuleQuantization::Kind::kPlain};
  }
  const std::string prefix = fmt::format("{}.", quantization.key);
  if (*entry == true)
    return read_parameters(ConfigReader(*quantization.object, std::string(file), prefix));
  if (!entry->is_object()) {
    return error(StatusCode::kCorrupt,
                 "{}: field {}{} should be an object, true or false; download the file again, or "
                 "correct the field",
                 file, prefix, printable(path));
  }
  return read_parameters(
      ConfigReader(*entry, std::string(file), fmt::format("{}{}.", prefix, printable(path))));
}

Result<Fp8BlockSize> read_fp8_block_size(const json& config, std::string_view file) {
  const ConfigReader reader(config, std::string(file));
  FM_ASSIGN_OR_RETURN(const ConfigReader fp8, reader.object("quantization_config"));
  FM_ASSIGN_OR_RETURN(const std::string method, fp8.string("quant_method"));
  if (method != "fp8") {
    return fp8.reject(StatusCode::kUnsupported, "quant_method",
                      fmt::format("tensors of F8_E4M3 are read where it is fp8, not {}; use an fp8 "
                                  "checkpoint, or one in bf16",
                                  printable(method)));
  }
  FM_ASSIGN_OR_RETURN(const std::string number, fp8.string_or("fmt", "e4m3"));
  if (number != "e4m3" && number != "float8_e4m3fn") {
    return fp8.reject(StatusCode::kUnsupported, "fmt",
                      fmt::format("fp8 of {} is not supported; use a checkpoint of e4m3, or one in "
                                  "bf16",
                                  printable(number)));
  }
  if (!fp8.has("weight_block_size")) {
    return fp8.reject(
        StatusCode::kUnsupported, "weight_block_size",
        "it is absent, as where a whole matrix has one scale, which is not supported; "
        "use a checkpoint with scales of blocks ([128, 128]), or one in bf16");
  }
  FM_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> size,
                      fp8.uint_list("weight_block_size", 1, kFp8BlockMax));
  if (size.size() != 2) {
    return fp8.reject(StatusCode::kCorrupt, "weight_block_size",
                      fmt::format("it has {} numbers where rows and columns are two; correct the "
                                  "field, or download the file again",
                                  size.size()));
  }
  return Fp8BlockSize{size[0], size[1]};
}

}  // namespace flashmoe
