#include "synthesis/module_list.h"

#include <cmath>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "model/model_weights.h"
#include "model/weight_source.h"

namespace flashmoe {
namespace {

using Shape = std::vector<std::uint64_t>;

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
  ModuleRecorder(const ModelFamily& family, const ModelConfig& config)
      : names_(family.tensors), config_(config) {
    // Tied, the embedding is lm_head as well, and its rows as small as logits need them.
    const float embedding_gain = config.tie_word_embeddings
                                     ? kLogitsGain
                                     : std::sqrt(static_cast<float>(config.hidden_size));
    gains_.emplace(names_.embed_tokens, embedding_gain);
    gains_.emplace(names_.lm_head, kLogitsGain);
    const float taps = static_cast<float>(config.delta_net.conv_kernel);
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
      for (const std::string_view pattern :
           {names_.o_proj, names_.out_proj, names_.shared_down_proj, names_.mlp_down_proj}) {
        gains_.emplace(tensor_name(pattern, layer), kResidualGain);
      }
      routers_.emplace(tensor_name(names_.router, layer), layer);
      wide_.insert({tensor_name(names_.router, layer), kRouterBits});
      wide_.insert({tensor_name(names_.shared_expert_gate, layer), kRouterBits});
      // Logarithms of 1 to 16, and of time steps from 0.001 to 0.1: as such models are initialised.
      vectors_.emplace(tensor_name(names_.a_log, layer), uniform(0, 2.7725887f));
      vectors_.emplace(tensor_name(names_.dt_bias, layer), uniform(-6.9077554f, -2.3025851f));
      const float tap = kSqrt3 / std::sqrt(taps);
      vectors_.emplace(tensor_name(names_.conv1d, layer), uniform(-tap, tap));
    }
  }

  Status matrix(const std::string& path, std::size_t rows, std::size_t cols,
                WeightView* /*out*/) override {
    FM_RETURN_IF_ERROR(add_matrix(path, {rows}, cols, find_or(gains_, path, kGain)));
    const auto router = routers_.find(path);
    return router == routers_.end() ? Status() : add_experts(router->second);
  }

  Status vector(const std::string& name, std::span<const Shape> accepted_shapes,
                std::vector<float>* /*out*/) override {
    // Where MLX and PyTorch differ (convolutions), MLX's shape comes last. Norm weights are stored
    // as MLX has them, around 1.
    const Shape& shape = accepted_shapes.back();
    modules.push_back({.path = name});
    return add_tensor({name, DType::kBF16, shape}, find_or(vectors_, name, uniform(0.9f, 1.1f)));
  }

  std::vector<SyntheticModule> modules;

 private:
  template <typename Value>
  static Value find_or(const std::map<std::string, Value, std::less<>>& map,
                       const std::string& name, Value fallback) {
    const auto at = map.find(name);
    return at == map.end() ? fallback : at->second;
  }

  Status add_experts(std::size_t layer) {
    const std::string path = tensor_name(names_.stacked_experts, layer);
    const std::uint64_t count = config_.moe.num_experts;
    const std::uint64_t inner = config_.moe.moe_intermediate_size;
    const std::uint64_t hidden = config_.hidden_size;
    FM_RETURN_IF_ERROR(add_matrix(path + ".gate_proj", {count, inner}, hidden, kGain));
    FM_RETURN_IF_ERROR(add_matrix(path + ".up_proj", {count, inner}, hidden, kGain));
    return add_matrix(path + ".down_proj", {count, hidden}, inner, kResidualGain);
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
  Status add_matrix(const std::string& path, Shape shape, std::uint64_t cols, float gain) {
    const float deviation = gain / std::sqrt(static_cast<float>(cols));
    const std::uint32_t bits = cols % kGroupSize == 0 ? find_or(wide_, path, kBits) : 0;
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

  const TensorNames& names_;
  const ModelConfig& config_;
  std::map<std::string, float, std::less<>> gains_;          // of matrices other than kGain
  std::map<std::string, std::uint32_t, std::less<>> wide_;   // bits other than kBits
  std::map<std::string, RandomFill, std::less<>> vectors_;   // parameters other than norms
  std::map<std::string, std::size_t, std::less<>> routers_;  // their layers
};

}  // namespace

std::uint64_t SyntheticModule::size() const {
  std::uint64_t size = 0;
  for (const SyntheticTensor& tensor : tensors) size += tensor.size;
  return size;
}

Result<std::vector<SyntheticModule>> list_modules(const ModelFamily& family,
                                                  const ModelConfig& config) {
  ModuleRecorder recorder(family, config);
  ModelWeights weights;
  FM_RETURN_IF_ERROR(weights.declare(family, config, recorder));
  return std::move(recorder.modules);
}

}  // namespace flashmoe
