#include "format/quantization_config.h"

#include <string>

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
    return foreign.reject(
        StatusCode::kUnsupported, "quant_method",
        fmt::format("weights quantised by {} are not supported; use an MLX affine "
                    "checkpoint, or one in bf16, f16 or f32",
                    printable(method)));
  }
  if (!foreign.has("group_size") && !foreign.has("bits")) return QuantizationObject();
  return QuantizationObject{&config["quantization_config"], "quantization_config"};
}

Result<ModuleQuantization> read_parameters(const ConfigReader& reader) {
  FM_ASSIGN_OR_RETURN(const std::string mode, reader.string_or("mode", "affine"));
  if (mode != "affine") {
    return reader.reject(StatusCode::kUnsupported, "mode",
                         fmt::format("quantisation mode {} is not supported; use an affine "
                                     "checkpoint, or one in bf16, f16 or f32",
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
  return ModuleQuantization{ModuleQuantization::Kind::kAffine, static_cast<std::uint32_t>(bits),
                            static_cast<std::uint32_t>(group_size)};
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

}  // namespace flashmoe
