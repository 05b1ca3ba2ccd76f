#include "synthesis/module_list.h"

#include <span>
#include <string_view>
#include <utility>

#include "model/network.h"
#include "model/ngram_hash.h"
#include "synthesis/module_recorder.h"

namespace flashmoe {
namespace {

using Shape = TensorShape;

/// As MLX's converter leaves a model.
class MlxRecorder final : public ModuleRecorder {
 public:
  using ModuleRecorder::ModuleRecorder;

  bool has_matrix(const TensorRef& /*tensor*/) const override { return true; }

  /// The numbers of a table's hashes: random ones would leave it.
  Status integers(const TensorRef& tensor, std::size_t count,
                  std::vector<std::int64_t>* /*out*/) override {
    const NgramHashes hashes = make_ngram_hashes(spec().layers[tensor.layer].embedding->ngrams);
    modules.push_back({.path = tensor.name});
    FM_RETURN_IF_ERROR(add_tensor({tensor.name, DType::kI64, {count}}, uniform_fill(0, 0)));
    modules.back().weight_count = 0;
    const std::vector<std::int64_t>& values = tensor.id == TensorId::kNgramMultipliers
                                                  ? hashes.multipliers
                                              : tensor.id == TensorId::kNgramSizes ? hashes.sizes
                                                                                   : hashes.offsets;
    modules.back().tensors.back().set_values(std::as_bytes(std::span(values)));
    return Status();
  }

  /// Equal parts, as far as the rows can be divided so, of BF16: rows are too short for groups.
  Status row_table(std::span<const TensorRef> parts, std::uint64_t rows, std::size_t cols,
                   std::size_t* /*table*/) override {
    for (std::size_t part = 0; part < parts.size(); ++part) {
      const std::uint64_t begin = rows * part / parts.size();
      const std::uint64_t end = rows * (part + 1) / parts.size();
      modules.push_back({.path = parts[part].name});
      FM_RETURN_IF_ERROR(add_tensor({parts[part].name, DType::kBF16, {end - begin, cols}},
                                    uniform_fill(-kUniformHalfWidth, kUniformHalfWidth)));
    }
    return Status();
  }

  std::vector<SyntheticModule> modules;

 private:
  static std::uint32_t bits_of(TensorId id) {
    return id == TensorId::kRouter || id == TensorId::kSharedExpertGate ? kRouterBits : kBits;
  }

  static bool is_of_experts(TensorId id) {
    return id == TensorId::kStackedGate || id == TensorId::kStackedUp ||
           id == TensorId::kStackedDown;
  }

  Status add_vector(const TensorRef& tensor, std::span<const Shape> shapes) override {
    // Where MLX and PyTorch differ (convolutions), MLX's shape comes last. Norm weights are stored
    // as MLX has them, around 1. What experts add belongs to their module.
    const Shape& shape = shapes.back();
    if (!is_of_experts(tensor.id)) modules.push_back({.path = tensor.name});
    return add_tensor({tensor.name, DType::kBF16, shape}, fill_of(tensor.id, shape));
  }

  /// As in MLX, a matrix whose width is no multiple of the group stays as it is.
  Status add_matrix(const TensorRef& tensor, Shape shape, float deviation) override {
    const std::string& path = tensor.name;
    const std::uint64_t cols = shape.back();
    const std::uint32_t bits = cols % kGroupSize != 0 ? 0 : bits_of(tensor.id);
    modules.push_back({.path = path, .bits = bits});
    if (bits == 0) {
      const float half_width = kUniformHalfWidth * deviation;
      return add_tensor({path + ".weight", DType::kBF16, std::move(shape)},
                        uniform_fill(-half_width, half_width));
    }
    shape.back() = cols * bits / 32;
    FM_RETURN_IF_ERROR(
        add_tensor({path + ".weight", DType::kU32, shape}, {.kind = RandomFill::Kind::kCodes}));
    shape.back() = cols / kGroupSize;
    RandomFill fill = {.kind = RandomFill::Kind::kScales, .bits = bits, .deviation = deviation};
    FM_RETURN_IF_ERROR(add_tensor({path + ".scales", DType::kBF16, shape}, fill));
    fill.kind = RandomFill::Kind::kBiases;
    return add_tensor({path + ".biases", DType::kBF16, std::move(shape)}, fill);
  }

  /// Adds a tensor to the last module.
  Status add_tensor(SafetensorsWriter::Tensor tensor, const RandomFill& fill) {
    FM_ASSIGN_OR_RETURN(const std::uint64_t size, SafetensorsWriter::data_size(tensor));
    SyntheticModule& module = modules.back();
    // Scales and biases are no weights; packed codes hold several each.
    if (fill.kind == RandomFill::Kind::kUniform) module.weight_count += size / 2;
    if (fill.kind == RandomFill::Kind::kCodes) module.weight_count += size * 8 / module.bits;
    module.tensors.push_back({std::move(tensor), size, fill});
    return Status();
  }
};

}  // namespace

void SyntheticTensor::set_values(std::span<const std::byte> bytes) {
  values.assign(bytes.begin(), bytes.end());
}

std::uint64_t SyntheticModule::size() const {
  std::uint64_t size = 0;
  for (const SyntheticTensor& tensor : tensors) size += tensor.size;
  return size;
}

Result<std::vector<SyntheticModule>> list_modules(const TensorTable& names, const ModelSpec& spec) {
  MlxRecorder recorder(names, spec);
  FM_RETURN_IF_ERROR(Network(spec).declare(names, recorder));
  return std::move(recorder.modules);
}

}  // namespace flashmoe
