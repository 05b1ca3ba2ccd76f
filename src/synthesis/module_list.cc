#include "synthesis/module_list.h"

#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "model/network.h"
#include "model/ngram_hash.h"
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

  /// The numbers of a table's hashes: random ones would leave it.
  Status integers(const TensorRef& tensor, std::size_t count,
                  std::vector<std::int64_t>* /*out*/) override {
    const NgramHashes hashes = make_ngram_hashes(spec_.layers[tensor.layer].embedding->ngrams);
    modules.push_back({.path = tensor.name});
    FM_RETURN_IF_ERROR(add_tensor({tensor.name, DType::kI64, {count}}, uniform(0, 0)));
    modules.back().weight_count = 0;
    modules.back().tensors.back().values = tensor.id == TensorId::kNgramMultipliers
                                               ? hashes.multipliers
                                           : tensor.id == TensorId::kNgramSizes ? hashes.sizes
                                                                                : hashes.offsets;
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
                                    uniform(-kSqrt3, kSqrt3)));
    }
    return Status();
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
      case TensorId::kNgramValueProj:
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
      case TensorId::kNgramConv:
      case TensorId::kConv1d: {
        const auto taps = static_cast<float>(shape[1]);
        const float tap = kSqrt3 / std::sqrt(taps);
        return uniform(-tap, tap);
      }
      case TensorId::kQProj:  // their biases
      case TensorId::kKProj:
      case TensorId::kVProj:
      case TensorId::kOProj:
      case TensorId::kRouter:
      case TensorId::kCorrectionBias:
      case TensorId::kSinks:
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
    const auto add = [&](TensorId id, std::uint64_t rows, std::uint64_t cols, float gain) {
      const std::string path = names_.name(id, layer);
      FM_RETURN_IF_ERROR(add_matrix(path, {count, rows}, cols, gain, kBits));
      if (!moe.has_expert_bias) return Status();
      return add_tensor({path + ".bias", DType::kBF16, {count, rows}}, uniform(-0.1f, 0.1f));
    };
    FM_RETURN_IF_ERROR(add(TensorId::kStackedGate, inner, hidden, kGain));
    FM_RETURN_IF_ERROR(add(TensorId::kStackedUp, inner, hidden, kGain));
    return add(TensorId::kStackedDown, hidden, inner, kResidualGain);
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
