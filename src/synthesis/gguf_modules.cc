#include "synthesis/gguf_modules.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "format/gguf_keys.h"
#include "format/gguf_writer.h"
#include "model/network.h"
#include "synthesis/module_recorder.h"

namespace flashmoe {
namespace {

/// Collects tensors; their types depend on all of them.
class GgufRecorder final : public ModuleRecorder {
 public:
  using ModuleRecorder::ModuleRecorder;

  struct Recorded {
    TensorId id = TensorId::kCount;
    std::size_t layer = 0;
    bool is_matrix = false;
    float deviation = 0;  // of a matrix
    RandomFill fill;      // of a vector
    GgufWriter::Tensor tensor;
  };
  std::vector<Recorded> recorded;

  /// What llama.cpp's converter takes apart is apart.
  bool has_matrix(const TensorRef& tensor) const override {
    return tensor.id != TensorId::kInProjQkvz && tensor.id != TensorId::kKvBProj;
  }

  Status integers(const TensorRef& tensor, std::size_t /*count*/,
                  std::vector<std::int64_t>* /*out*/) override {
    return unknown(tensor);
  }
  Status row_table(std::span<const TensorRef> parts, std::uint64_t /*rows*/, std::size_t /*cols*/,
                   std::size_t* /*table*/) override {
    return unknown(parts.front());
  }

 private:
  bool has_fused_experts() const override { return names().is_own(TensorId::kFusedGateUp); }

  /// No model with such tensors has an architecture.
  static Status unknown(const TensorRef& tensor) {
    return error(StatusCode::kUnsupported, "tensor {} has no name in GGUF files", tensor.name);
  }

  Status add_matrix(const TensorRef& tensor, TensorShape shape, float deviation) override {
    if (tensor.name.empty()) return unknown(tensor);
    // The converter squeezes it.
    if (tensor.id == TensorId::kSharedExpertGate) shape = {shape.back()};
    recorded.push_back({.id = tensor.id,
                        .layer = tensor.layer,
                        .is_matrix = true,
                        .deviation = deviation,
                        .fill = {},
                        .tensor = {.name = tensor.name + ".weight", .shape = std::move(shape)}});
    return Status();
  }

  Status add_vector(const TensorRef& tensor, std::span<const TensorShape> shapes) override {
    if (tensor.name.empty()) return unknown(tensor);
    TensorShape shape = shapes.front();
    if (tensor.id == TensorId::kConv1d) std::erase(shape, 1u);
    // -exp(A_log)
    const RandomFill fill =
        tensor.id == TensorId::kALog ? uniform_fill(-16, -1) : fill_of(tensor.id, shape);
    recorded.push_back({.id = tensor.id,
                        .layer = tensor.layer,
                        .is_matrix = false,
                        .deviation = 0,
                        .fill = fill,
                        .tensor = {.name = tensor.name, .shape = std::move(shape)}});
    return Status();
  }
};

/// What numbers a tensor is filled with, by its type.
RandomFill fill_of_type(const GgufRecorder::Recorded& recorded) {
  const GgmlType& type = *recorded.tensor.type;
  if (!type.dtype) {
    return {.kind = RandomFill::Kind::kBlocks, .deviation = recorded.deviation, .blocks = &type};
  }
  const float half_width = kUniformHalfWidth * recorded.deviation;
  RandomFill fill = recorded.is_matrix ? uniform_fill(-half_width, half_width) : recorded.fill;
  fill.dtype = *type.dtype;
  return fill;
}

Status add_module(GgufWriter::Tensor tensor, const RandomFill& fill,
                  std::vector<SyntheticModule>& modules) {
  FM_ASSIGN_OR_RETURN(const std::uint64_t size, GgufWriter::data_size(tensor));
  modules.push_back({.path = tensor.name});
  modules.back().tensors.push_back({.tensor = {.name = std::move(tensor.name),
                                               .dtype = DType::kU8,
                                               .shape = std::move(tensor.shape)},
                                    .size = size,
                                    .fill = fill,
                                    .ggml_type = tensor.type});
  return Status();
}

/// The divisors that stop all but the first pairs of a rotary embedding, if it has such.
Status add_rope_freqs(const ModelSpec& spec, std::vector<SyntheticModule>& modules) {
  for (const LayerSpec& layer : spec.layers) {
    const auto* const attention = std::get_if<AttentionSpec>(&layer.mixer);
    if (attention == nullptr) continue;
    const auto* const scaling = std::get_if<ProportionalRope>(&attention->rope.scaling);
    if (scaling == nullptr) continue;
    std::vector<float> divisors(attention->rope.rotary_dim / 2, kRopeFreqsUnrotated);
    std::fill_n(divisors.begin(), scaling->rotated_pairs, 1.0f);
    FM_RETURN_IF_ERROR(add_module({.name = std::string(kRopeFreqsTensor),
                                   .type = find_ggml_type("F32"),
                                   .shape = {divisors.size()}},
                                  {}, modules));
    modules.back().tensors.back().set_values(std::as_bytes(std::span(divisors)));
    return Status();
  }
  return Status();
}

}  // namespace

Result<std::vector<SyntheticModule>> list_gguf_modules(const TensorTable& names,
                                                       const ModelSpec& spec,
                                                       const GgufMixture& mixture) {
  GgufRecorder recorder(names, spec);
  FM_RETURN_IF_ERROR(Network(spec).declare(names, recorder));
  const auto is_value_matrix = [](const GgufRecorder::Recorded& r) {
    return r.is_matrix && makes_values(r.id);
  };
  MixtureContext context{.layer_count = spec.layers.size(),
                         .num_experts = spec.moe().router.num_experts,
                         .is_tied = spec.tie_word_embeddings};
  context.value_count = static_cast<std::size_t>(
      std::count_if(recorder.recorded.begin(), recorder.recorded.end(), is_value_matrix));
  std::vector<SyntheticModule> modules;
  for (GgufRecorder::Recorded& recorded : recorder.recorded) {
    recorded.tensor.type =
        recorded.is_matrix
            ? &type_in_mixture(mixture, recorded.id, recorded.layer, recorded.tensor.shape, context)
            : find_ggml_type("F32");
    context.values_before += is_value_matrix(recorded) ? 1 : 0;
    const RandomFill fill = fill_of_type(recorded);
    FM_RETURN_IF_ERROR(add_module(std::move(recorded.tensor), fill, modules));
  }
  FM_RETURN_IF_ERROR(add_rope_freqs(spec, modules));
  return modules;
}

}  // namespace flashmoe
