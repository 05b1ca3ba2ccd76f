#include "format/weight_catalog.h"

#include <fmt/ranges.h>

#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "format/printable.h"
#include "format/quantization_config.h"

namespace flashmoe {
namespace {

/// A tensor with the name it has in the checkpoint, for messages.
struct NamedTensor {
  std::string name;
  const TensorRecord* record = nullptr;
};

/// Where a weight should be found, and of which logical shape.
struct Wanted {
  const ModelPackage& package;
  std::string_view path;
  std::uint64_t stack;
  std::uint64_t rows;
  std::uint64_t cols;
};

NamedTensor find_named(const Wanted& wanted, std::string_view suffix) {
  std::string name = fmt::format("{}{}", wanted.path, suffix);
  const TensorRecord* record = wanted.package.find(name);
  return {std::move(name), record};
}

std::string place_of(const Wanted& wanted, const NamedTensor& tensor) {
  return wanted.package.place_of(tensor.name, *tensor.record);
}

/// [rows, last], behind the stack axis where there is one.
std::vector<std::uint64_t> shape_with(const Wanted& wanted, std::uint64_t last) {
  if (wanted.stack > 1) return {wanted.stack, wanted.rows, last};
  return {wanted.rows, last};
}

/// True if `tensor` is [stack, rows, anything]; a stack of one may lack the axis or have it.
bool has_leading_shape(const Wanted& wanted, const TensorRecord& tensor) {
  const auto& shape = tensor.shape;
  // A matrix of one row may be a vector (GGUF).
  if (shape.size() == 1) return wanted.stack == 1 && wanted.rows == 1;
  if (shape.size() == 2) return wanted.stack == 1 && shape[0] == wanted.rows;
  return shape.size() == 3 && shape[0] == wanted.stack && shape[1] == wanted.rows;
}

Status check_shape(const Wanted& wanted, const NamedTensor& tensor, std::uint64_t last) {
  if (has_leading_shape(wanted, *tensor.record) && tensor.record->shape.back() == last) {
    return Status();
  }
  const bool is_gguf = wanted.package.spelling() == TensorSpelling::kGguf;
  return error(StatusCode::kCorrupt, "{} has shape [{}], but by {} it should have [{}]; {}",
               place_of(wanted, tensor), fmt::join(tensor.record->shape, ", "),
               wanted.package.config_name(), fmt::join(shape_with(wanted, last), ", "),
               is_gguf ? "download the file again"
                       : "the two files do not belong together, download both again");
}

WeightRecord record_of(const Wanted& wanted, const WeightType& type,
                       const std::array<const TensorRecord*, kWeightPlanesMax>& planes) {
  return {.type = &type,
          .stack = wanted.stack,
          .rows = wanted.rows,
          .cols = wanted.cols,
          .planes = planes};
}

/// A matrix that is one tensor: floats, or blocks of ggml's.
Result<WeightRecord> plain_weight(const Wanted& wanted, const NamedTensor& weight) {
  if (weight.record->dtype == DType::kU32) {
    return error(StatusCode::kCorrupt,
                 "{} holds packed weights (U32), but {}.scales is absent; download the model again",
                 place_of(wanted, weight), printable(wanted.path));
  }
  FM_ASSIGN_OR_RETURN(const WeightType* const type,
                      find_plain_type(wanted.package, weight.name, *weight.record));
  FM_RETURN_IF_ERROR(check_shape(wanted, weight, wanted.cols));
  return record_of(wanted, *type, {weight.record});
}

/// Bits and group size as the shapes of weight and scales imply them for `cols` inputs, if they do.
struct PackedWidths {
  std::uint64_t bits = 0;
  std::uint64_t group_size = 0;
};
std::optional<PackedWidths> infer_widths(const Wanted& wanted, const TensorRecord& weight,
                                         const TensorRecord& scales) {
  if (!has_leading_shape(wanted, weight)) return std::nullopt;
  if (!has_leading_shape(wanted, scales)) return std::nullopt;
  const std::uint64_t words = weight.shape.back(), groups = scales.shape.back();
  std::uint64_t weight_bits = 0;
  if (words == 0 || groups == 0 || wanted.cols == 0) return std::nullopt;
  if (__builtin_mul_overflow(words, std::uint64_t{32}, &weight_bits)) return std::nullopt;
  if (weight_bits % wanted.cols != 0 || wanted.cols % groups != 0) return std::nullopt;
  return PackedWidths{weight_bits / wanted.cols, wanted.cols / groups};
}

Status check_dtype(const Wanted& wanted, const NamedTensor& tensor, DType dtype) {
  if (tensor.record->dtype == dtype) return Status();
  return error(StatusCode::kCorrupt,
               "{} has dtype {} where {} is expected; download the model again",
               place_of(wanted, tensor), tensor.record->type_name(), to_string(dtype));
}

/// Activations are prepared 32 at a time.
Status check_packed_cols(const Wanted& wanted, const NamedTensor& weight) {
  if (wanted.cols % 32 == 0) return Status();
  return error(
      StatusCode::kUnsupported,
      "{} has {} inputs, which are no multiple of 32; use a checkpoint in which this matrix "
      "is not quantised",
      place_of(wanted, weight), wanted.cols);
}

/// The mode of a module whose scales are bytes: config.json's, or that of the shapes.
Result<const PackedMode*> choose_mode(const Wanted& wanted, const ModuleQuantization& listed,
                                      const NamedTensor& weight, const NamedTensor& scales) {
  if (listed.kind == ModuleQuantization::Kind::kPacked) return listed.mode;
  if (listed.kind == ModuleQuantization::Kind::kAffine) {
    return error(
        StatusCode::kCorrupt,
        "{} has dtype U8, though config.json lists {} as affine, whose scales are BF16, F16 "
        "or F32; the two files do not belong together, download both again",
        place_of(wanted, scales), printable(wanted.path));
  }
  const auto inferred = infer_widths(wanted, *weight.record, *scales.record);
  const PackedMode* const mode =
      inferred ? find_packed_mode(inferred->bits, inferred->group_size) : nullptr;
  if (mode != nullptr) return mode;
  return error(StatusCode::kUnsupported,
               "{} has shape [{}] and its scales, of dtype U8, [{}], which fit none of the modes "
               "mxfp4, nvfp4 and mxfp8 of [{}]; use a checkpoint of one of them, an affine one, or "
               "one in bf16, f16 or f32",
               place_of(wanted, weight), fmt::join(weight.record->shape, ", "),
               fmt::join(scales.record->shape, ", "),
               fmt::join(shape_with(wanted, wanted.cols), ", "));
}

Result<WeightRecord> packed_weight(const Wanted& wanted, const ModuleQuantization& listed,
                                   const NamedTensor& weight, const NamedTensor& scales) {
  FM_ASSIGN_OR_RETURN(const PackedMode* const mode, choose_mode(wanted, listed, weight, scales));
  FM_RETURN_IF_ERROR(check_dtype(wanted, weight, DType::kU32));
  FM_RETURN_IF_ERROR(check_dtype(wanted, scales, DType::kU8));
  FM_RETURN_IF_ERROR(check_packed_cols(wanted, weight));
  FM_RETURN_IF_ERROR(check_shape(wanted, weight, wanted.cols / 32 * mode->bits));
  FM_RETURN_IF_ERROR(check_shape(wanted, scales, wanted.cols / mode->group_size));
  const NamedTensor global = find_named(wanted, ".global_scale");
  if (global.record == nullptr) {
    if (!listed.has_global_scale) {
      return record_of(wanted, packed_weights(*mode, false), {weight.record, scales.record});
    }
    return error(StatusCode::kNotFound,
                 "{}: tensor {} is absent, though config.json lists it; download the model again",
                 wanted.package.path().string(), printable(global.name));
  }
  if (!mode->can_have_global_scale) {
    return error(StatusCode::kCorrupt,
                 "{} is there, though mode {} has none; download the model again",
                 place_of(wanted, global), mode->name);
  }
  FM_RETURN_IF_ERROR(check_dtype(wanted, global, DType::kF32));
  const std::vector<std::uint64_t>& shape = global.record->shape;
  if (shape != std::vector<std::uint64_t>{wanted.stack} && !(wanted.stack == 1 && shape.empty())) {
    return error(StatusCode::kCorrupt,
                 "{} has shape [{}] where [{}] is expected; download the model again",
                 place_of(wanted, global), fmt::join(shape, ", "), wanted.stack);
  }
  return record_of(wanted, packed_weights(*mode, true),
                   {weight.record, scales.record, global.record});
}

/// E4M3 in blocks of rows and columns, as the method "fp8" has it.
Result<WeightRecord> fp8_weight(const Wanted& wanted, const NamedTensor& weight) {
  const NamedTensor scales = find_named(wanted, ".weight_scale_inv");
  if (scales.record == nullptr) {
    return error(StatusCode::kUnsupported,
                 "{} has dtype F8_E4M3, but {} is absent; use a checkpoint of the method fp8 with "
                 "scales of blocks, or one in bf16, f16 or f32",
                 place_of(wanted, weight), printable(scales.name));
  }
  FM_ASSIGN_OR_RETURN(const Fp8BlockSize block,
                      read_fp8_block_size(wanted.package.config(), wanted.package.config_file()));
  if (!is_float(scales.record->dtype)) {
    return error(
        StatusCode::kUnsupported,
        "{} has dtype {}; the scales of fp8 must be F32, BF16 or F16: use another checkpoint",
        place_of(wanted, scales), scales.record->type_name());
  }
  if (wanted.stack > 1 && wanted.rows % block.rows != 0) {
    return error(StatusCode::kUnsupported,
                 "{} is a stack of matrices of {} rows, which blocks of {} do not divide; use a "
                 "checkpoint with a tensor for each",
                 place_of(wanted, weight), wanted.rows, block.rows);
  }
  FM_RETURN_IF_ERROR(check_shape(wanted, weight, wanted.cols));
  const auto count_blocks = [](std::uint64_t n, std::uint64_t size) {
    return n / size + (n % size != 0 ? 1 : 0);
  };
  const Wanted blocks = {wanted.package, wanted.path, wanted.stack,
                         count_blocks(wanted.rows, block.rows), wanted.cols};
  FM_RETURN_IF_ERROR(check_shape(blocks, scales, count_blocks(wanted.cols, block.cols)));
  const WeightType* const type = find_fp8_weights(block.rows, block.cols, scales.record->dtype);
  FM_CHECK(type != nullptr);
  return record_of(wanted, *type, {weight.record, scales.record});
}

/// The module's parameters: config.json's where it lists the module, else those of the shapes.
Result<PackedWidths> choose_widths(const Wanted& wanted, const ModuleQuantization& listed,
                                   const NamedTensor& weight,
                                   const std::optional<PackedWidths>& inferred) {
  if (listed.kind == ModuleQuantization::Kind::kAffine) {
    if (wanted.cols % listed.group_size == 0) {
      return PackedWidths{listed.bits, listed.group_size};
    }
    return error(StatusCode::kCorrupt,
                 "{}: config.json says groups of {}, which do not divide its {} inputs; the two "
                 "files do not belong together, download both again",
                 place_of(wanted, weight), listed.group_size, wanted.cols);
  }
  if (!inferred || !is_affine_bits(inferred->bits) || !is_affine_group_size(inferred->group_size)) {
    const TensorRecord& scales = *wanted.package.find(fmt::format("{}.scales", wanted.path));
    return error(StatusCode::kCorrupt,
                 "{} has shape [{}] and its scales [{}], which fit no affine quantisation of [{}]; "
                 "the model does not match its config.json, download it again",
                 place_of(wanted, weight), fmt::join(weight.record->shape, ", "),
                 fmt::join(scales.shape, ", "), fmt::join(shape_with(wanted, wanted.cols), ", "));
  }
  return *inferred;
}

Result<WeightRecord> affine_weight(const Wanted& wanted, const ModuleQuantization& listed,
                                   const NamedTensor& weight, const NamedTensor& scales) {
  const auto inferred = infer_widths(wanted, *weight.record, *scales.record);
  const NamedTensor biases = find_named(wanted, ".biases");
  if (biases.record == nullptr) {
    return error(StatusCode::kNotFound,
                 "{}: tensor {} is absent, though the scales beside it are there; download the "
                 "model again",
                 wanted.package.path().string(), printable(biases.name));
  }
  if (weight.record->dtype != DType::kU32) {
    return error(StatusCode::kCorrupt, "{} has scales, so its dtype should be U32, not {}",
                 place_of(wanted, weight), to_string(weight.record->dtype));
  }
  const DType dtype = scales.record->dtype;
  if (!is_float(dtype) || biases.record->dtype != dtype) {
    return error(StatusCode::kCorrupt,
                 "{} has dtype {} and its biases {}; both should be BF16, both F16 or both F32",
                 place_of(wanted, scales), to_string(dtype), to_string(biases.record->dtype));
  }
  FM_ASSIGN_OR_RETURN(const PackedWidths widths, choose_widths(wanted, listed, weight, inferred));
  // Groups are multiples of 32, so rows end at whole 32-bit words; cols / 32 first: no overflow.
  FM_RETURN_IF_ERROR(check_shape(wanted, weight, wanted.cols / 32 * widths.bits));
  FM_RETURN_IF_ERROR(check_shape(wanted, scales, wanted.cols / widths.group_size));
  FM_RETURN_IF_ERROR(check_shape(wanted, biases, wanted.cols / widths.group_size));
  const WeightType* const type = find_affine_weights(widths.bits, widths.group_size, dtype);
  FM_CHECK(type != nullptr);
  return record_of(wanted, *type, {weight.record, scales.record, biases.record});
}

}  // namespace

Result<const WeightType*> find_plain_type(const ModelPackage& package, std::string_view name,
                                          const TensorRecord& tensor) {
  const WeightType* type = nullptr;
  if (tensor.ggml_type != nullptr) {
    type = find_ggml_weights(*tensor.ggml_type);
  } else if (is_float(tensor.dtype)) {
    type = &float_weights(tensor.dtype);
  }
  if (type == nullptr && tensor.ggml_type != nullptr) {
    return error(StatusCode::kUnsupported,
                 "{} has ggml type {}, which this build cannot compute with; use a file of another "
                 "quantisation (Q4_K_M, Q8_0, ...), or the model's safetensors",
                 package.place_of(name, tensor), tensor.type_name());
  }
  if (type == nullptr) {
    return error(
        StatusCode::kUnsupported,
        "{} has dtype {}; weights must be BF16, F16, F32, F8_E4M3 with scales of blocks, or "
        "packed as MLX does",
        package.place_of(name, tensor), tensor.type_name());
  }
  return type;
}

bool has_weight(const ModelPackage& package, const std::string& path) {
  return package.find(path + ".weight") != nullptr;
}

Result<WeightRecord> find_weight(const ModelPackage& package, std::string_view path,
                                 std::uint64_t stack, std::uint64_t rows, std::uint64_t cols) {
  const Wanted wanted{package, path, stack, rows, cols};
  FM_ASSIGN_OR_RETURN(const ModuleQuantization listed,
                      read_module_quantization(package.config(), package.config_file(), path));
  NamedTensor weight = find_named(wanted, ".weight");
  if (weight.record == nullptr) weight = find_named(wanted, "");
  if (weight.record == nullptr) {
    return error(StatusCode::kNotFound,
                 "{}: tensor {}.weight is absent; the download is incomplete, or the model is "
                 "another than {} says",
                 package.path().string(), printable(path), package.config_name());
  }
  if (weight.record->dtype == DType::kF8E4M3) return fp8_weight(wanted, weight);
  const NamedTensor scales = find_named(wanted, ".scales");
  const bool is_packed = listed.kind == ModuleQuantization::Kind::kPacked;
  const bool is_listed = is_packed || listed.kind == ModuleQuantization::Kind::kAffine;
  const bool is_denied = listed.kind == ModuleQuantization::Kind::kPlain;
  if (scales.record == nullptr) {
    if (!is_listed) return plain_weight(wanted, weight);
    return error(StatusCode::kNotFound,
                 "{}: tensor {} is absent, though config.json lists {} as quantised; download the "
                 "model again",
                 package.path().string(), printable(scales.name), printable(path));
  }
  if (is_denied) {
    return error(StatusCode::kCorrupt,
                 "{} exists, though config.json lists {} as not quantised; the two files do not "
                 "belong together, download both again",
                 place_of(wanted, scales), printable(path));
  }
  if (is_packed || scales.record->dtype == DType::kU8) {
    return packed_weight(wanted, listed, weight, scales);
  }
  return affine_weight(wanted, listed, weight, scales);
}

Result<WeightRecord> find_mxfp4_blocks(const ModelPackage& package, std::string_view name,
                                       std::uint64_t stack, std::uint64_t rows,
                                       std::uint64_t cols) {
  const Wanted wanted{package, name, stack, rows, cols};
  const PackedMode& mode = *find_packed_mode("mxfp4");
  std::array<const TensorRecord*, kWeightPlanesMax> planes = {};
  for (const std::size_t plane : {0u, 1u}) {
    const NamedTensor tensor = find_named(wanted, plane == 0 ? "_blocks" : "_scales");
    if (tensor.record == nullptr) {
      return error(StatusCode::kNotFound,
                   "{}: tensor {} is not in the checkpoint; download the model again",
                   package.path().string(), printable(tensor.name));
    }
    FM_RETURN_IF_ERROR(check_dtype(wanted, tensor, DType::kU8));
    FM_RETURN_IF_ERROR(check_packed_cols(wanted, tensor));
    std::vector<std::uint64_t> shape = {stack, rows, cols / mode.group_size};
    if (plane == 0) shape.push_back(mode.group_size * mode.bits / 8);
    if (tensor.record->shape != shape) {
      return error(StatusCode::kCorrupt,
                   "{} has shape [{}], but by {} it should have [{}]; the two files do not belong "
                   "together, download both again",
                   place_of(wanted, tensor), fmt::join(tensor.record->shape, ", "),
                   package.config_name(), fmt::join(shape, ", "));
    }
    planes[plane] = tensor.record;
  }
  return record_of(wanted, packed_weights(mode, false), planes);
}

}  // namespace flashmoe
