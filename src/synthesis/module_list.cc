#include "synthesis/module_list.h"

#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "model/network.h"
#include "model/weight_source.h"

namespace flashmoe {
namespace {

using Shape = TensorShape;

constexpr float kSqrt3 = 1.7320508f;  // half the width of a uniform distribution of deviation 1

// Weights are drawn so that a row of unit RMS comes out of a matrix with this RMS. Inputs are
// normed, and what is added to the residual stream half as large as that: its RMS goes from 1 to
// about 3 over 48 layers. Logits spread by 3, like a trained model's.
constexpr float kGain = 1;
constexpr float kResidualGain = 0.5;
constexpr float kLogitsGain = 3;

constexpr RandomFill uniform(float low, float high) {
  return {.kind = RandomFill::Kind::kUniform, .low = low, .high = high};
}

/// Takes notes of what a model declares.
class ModuleRecorder : public WeightSource {
 public:
  ModuleRecorder(const TensorTable& names, const ModelSpec& spec) : names_(names), spec_(spec) {}

  bool has_matrix(const TensorRef& /*tensor*/) const override { return true; }

  Status matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* /*out*/) override {
    Shape rows = {shape.rows};
    if (shape.stack > 1) rows.insert(rows.begin(), shape.stack);
    FM_RETURN_IF_ERROR(
        add_matrix(tensor.name, rows, shape.cols, gain_of(tensor.id), bits_of(tensor.id)));
    return tensor.id == TensorId::kRouter ? add_experts(tensor.layer) : Status();
  }

  Status vector(const TensorRef& tensor, std::span<const Shape> accepted_shapes,
                std::vector<float>* /*out*/) override {
    // Where MLX and PyTorch differ (convolutions), MLX's shape comes last. Norm weights are stored
    // as MLX has them, around 1.
    const Shape& shape = accepted_shapes.back();
    modules.push_back({.path = tensor.name});
    return add_tensor({tensor.name, DType::kBF16, shape}, fill_of(tensor.id, shape));
  }

  std::vector<SyntheticModule> modules;

 private:
  float gain_of(TensorId id) const {
    switch (id) {
      case TensorId::kEmbedTokens:
        // Tied, the embedding is lm_head as well, and its rows as small as logits need them.
        return spec_.tie_word_embeddings ? kLogitsGain
                                         : std::sqrt(static_cast<float>(spec_.hidden_size));
      case TensorId::kLmHead:
        return kLogitsGain;
      case TensorId::kOProj:
      case TensorId::kOutProj:
      case TensorId::kDownProj:
      case TensorId::kSharedDownProj:
        return kResidualGain;
      default:
        return kGain;
    }
  }

  static std::uint32_t bits_of(TensorId id) {
    return id == TensorId::kRouter || id == TensorId::kSharedExpertGate ? kRouterBits : kBits;
  }

  /// Parameters other than norms as such models are initialised: logarithms of 1 to 16, and of time
  /// steps from 0.001 to 0.1.
  static RandomFill fill_of(TensorId id, const Shape& shape) {
    switch (id) {
      case TensorId::kALog:
        return uniform(0, 2.7725887f);
      case TensorId::kDtBias:
        return uniform(-6.9077554f, -2.3025851f);
      case TensorId::kConv1d: {
        const auto taps = static_cast<float>(shape[1]);
        const float tap = kSqrt3 / std::sqrt(taps);
        return uniform(-tap, tap);
      }
      case TensorId::kQProj:  // their biases
      case TensorId::kKProj:
      case TensorId::kVProj:
      case TensorId::kOProj:
      case TensorId::kCorrectionBias:
        return uniform(-0.1f, 0.1f);
      default:
        return uniform(0.9f, 1.1f);
    }
  }

  Status add_experts(std::size_t layer) {
    const MoeSpec& moe = *spec_.layers[layer].moe();
    const std::uint64_t count = moe.router.num_experts;
    const std::uint64_t inner = moe.intermediate_size;
    const std::uint64_t hidden = spec_.hidden_size;
    const auto name = [&](TensorId id) { return names_.name(id, layer); };
    FM_RETURN_IF_ERROR(
        add_matrix(name(TensorId::kStackedGate), {count, inner}, hidden, kGain, kBits));
    FM_RETURN_IF_ERROR(
        add_matrix(name(TensorId::kStackedUp), {count, inner}, hidden, kGain, kBits));
    return add_matrix(name(TensorId::kStackedDown), {count, hidden}, inner, kResidualGain, kBits);
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

  /// A matrix or a stack of matrices, [rows..., cols]. As in MLX, one whose width is no multiple of
  /// the group stays as it is.
  Status add_matrix(const std::string& path, Shape shape, std::uint64_t cols, float gain,
                    std::uint32_t bits) {
    const float deviation = gain / std::sqrt(static_cast<float>(cols));
    if (cols % kGroupSize != 0) bits = 0;
    modules.push_back({.path = path, .bits = bits});
    shape.push_back(cols);
    if (bits == 0) {
      return add_tensor({path + ".weight", DType::kBF16, shape},
                        uniform(-kSqrt3 * deviation, kSqrt3 * deviation));
    }
    shape.back() = cols * bits / 32;
    FM_RETURN_IF_ERROR(
        add_tensor({path + ".weight", DType::kU32, shape}, {.kind = RandomFill::Kind::kCodes}));
    shape.back() = cols / kGroupSize;
    RandomFill fill = {.kind = RandomFill::Kind::kScales, .bits = bits, .deviation = deviation};
    FM_RETURN_IF_ERROR(add_tensor({path + ".scales", DType::kBF16, shape}, fill));
    fill.kind = RandomFill::Kind::kBiases;
    return add_tensor({path + ".biases", DType::kBF16, shape}, fill);
  }

  const TensorTable& names_;
  const ModelSpec& spec_;
};

}  // namespace

std::uint64_t SyntheticModule::size() const {
  std::uint64_t size = 0;
  for (const SyntheticTensor& tensor : tensors) size += tensor.size;
  return size;
}

Result<std::vector<SyntheticModule>> list_modules(const TensorTable& names, const ModelSpec& spec) {
  ModuleRecorder recorder(names, spec);
  FM_RETURN_IF_ERROR(Network(spec).declare(names, recorder));
  return std::move(recorder.modules);
}

}  // namespace flashmoe
