#include "engine/expert_index.h"

#include <array>
#include <string>
#include <utility>

#include "format/weight_catalog.h"

namespace flashmoe {
namespace {

/// The rows [row_begin, row_begin + rows) of one matrix of a stack, as segments: weights, then
/// scales and biases.
void append_segments(const WeightRecord& record, std::uint64_t stack_index, std::uint64_t row_begin,
                     std::uint64_t rows, std::vector<ExpertSegment>& segments) {
  const std::uint64_t row = stack_index * record.rows + row_begin;
  const auto append = [&](const TensorRecord& tensor, std::uint64_t row_size) {
    segments.push_back({tensor.file_index, tensor.offset + row * row_size, rows * row_size});
  };
  append(*record.weight, record.format.weight_row_size(record.cols));
  if (record.format.kind == WeightFormat::Kind::kAffine) {
    const std::uint64_t scale_row_size = record.format.scale_row_size(record.cols);
    append(*record.scales, scale_row_size);
    append(*record.biases, scale_row_size);
  }
}

/// One layer's experts while they are found.
class LayerBuilder {
 public:
  LayerBuilder(const Checkpoint& checkpoint, const TensorTable& names, const MoeSpec& moe,
               std::size_t hidden_size, std::size_t layer)
      : checkpoint_(checkpoint), names_(names), moe_(moe), hidden_(hidden_size), index_(layer) {}

  Status build() {
    const std::string stacked = names_.name(TensorId::kStackedGate, index_) + ".weight";
    const std::string separate = names_.name(TensorId::kSeparateGate, index_, 0) + ".weight";
    const std::string fused = names_.name(TensorId::kFusedGateUp, index_);
    if (checkpoint_.find(stacked) != nullptr) return build_stacked();
    if (checkpoint_.find(separate) != nullptr) return build_separate();
    if (find_fused(fused) != nullptr) return build_fused();
    return error(StatusCode::kNotFound,
                 "{}: layer {} has no routed experts: none of {}, {}, {} is in the checkpoint",
                 checkpoint_.folder().string(), index_, stacked, separate, fused);
  }

  ExpertStore::Layer layer;
  ExpertLayout layout;

 private:
  std::uint64_t inner() const { return moe_.intermediate_size; }

  void append_expert(const WeightRecord& gate, const WeightRecord& up, const WeightRecord& down,
                     std::uint64_t stack_index) {
    append_segments(gate, stack_index, 0, inner(), layer.segments);
    append_segments(up, stack_index, 0, inner(), layer.segments);
    append_segments(down, stack_index, 0, hidden_, layer.segments);
  }

  void finish(const WeightFormat& gate, const WeightFormat& up, const WeightFormat& down) {
    layout = {gate, up, down};
    layer.segments_per_expert = layer.segments.size() / moe_.router.num_experts;
  }

  // MLX: [num_experts, out, in].
  Status build_stacked() {
    const std::uint64_t count = moe_.router.num_experts;
    const auto find = [&](TensorId id, std::uint64_t rows, std::uint64_t cols) {
      return find_weight(checkpoint_, names_.name(id, index_), count, rows, cols);
    };
    FM_ASSIGN_OR_RETURN(const WeightRecord gate, find(TensorId::kStackedGate, inner(), hidden_));
    FM_ASSIGN_OR_RETURN(const WeightRecord up, find(TensorId::kStackedUp, inner(), hidden_));
    FM_ASSIGN_OR_RETURN(const WeightRecord down, find(TensorId::kStackedDown, hidden_, inner()));
    for (std::uint64_t e = 0; e < count; ++e) append_expert(gate, up, down, e);
    finish(gate.format, up.format, down.format);
    return Status();
  }

  // Hugging Face: three tensors per expert.
  Status build_separate() {
    for (std::uint64_t e = 0; e < moe_.router.num_experts; ++e) {
      const auto find = [&](TensorId id, std::uint64_t rows, std::uint64_t cols) {
        return find_weight(checkpoint_, names_.name(id, index_, e), 1, rows, cols);
      };
      FM_ASSIGN_OR_RETURN(const WeightRecord gate, find(TensorId::kSeparateGate, inner(), hidden_));
      FM_ASSIGN_OR_RETURN(const WeightRecord up, find(TensorId::kSeparateUp, inner(), hidden_));
      FM_ASSIGN_OR_RETURN(const WeightRecord down, find(TensorId::kSeparateDown, hidden_, inner()));
      const ExpertLayout this_layout = {gate.format, up.format, down.format};
      if (e == 0) layout = this_layout;
      if (layout != this_layout) {
        return error(StatusCode::kUnsupported,
                     "{}: the expert of {} is stored in another format than expert 0 of its layer; "
                     "convert the checkpoint so that a layer's experts agree",
                     checkpoint_.folder().string(),
                     names_.name(TensorId::kSeparateGate, index_, e));
      }
      append_expert(gate, up, down, 0);
    }
    finish(layout.gate_proj, layout.up_proj, layout.down_proj);
    return Status();
  }

  /// Fused tensors are parameters: some writers add ".weight" to their names, some do not.
  const TensorRecord* find_fused(const std::string& name) const {
    const TensorRecord* tensor = checkpoint_.find(name);
    return tensor != nullptr ? tensor : checkpoint_.find(name + ".weight");
  }

  /// A fused tensor, and which ways round its shape can be read.
  struct Fused {
    WeightRecord record;
    bool fits_straight = false;    // [num_experts, rows, cols]
    bool fits_transposed = false;  // [num_experts, cols, rows]
  };

  Result<Fused> find_fused_weight(const std::string& name, std::uint64_t rows,
                                  std::uint64_t cols) const {
    const TensorRecord* tensor = find_fused(name);
    if (tensor == nullptr) {
      return error(StatusCode::kNotFound, "{}: tensor {} is not in the checkpoint",
                   checkpoint_.folder().string(), name);
    }
    const std::vector<std::uint64_t> straight = {moe_.router.num_experts, rows, cols};
    const std::vector<std::uint64_t> transposed = {moe_.router.num_experts, cols, rows};
    const Fused fused = {
        .record = {.format = {.kind = WeightFormat::Kind::kFloat, .dtype = tensor->dtype},
                   .stack = moe_.router.num_experts,
                   .rows = rows,
                   .cols = cols,
                   .weight = tensor},
        .fits_straight = tensor->shape == straight,
        .fits_transposed = tensor->shape == transposed};
    if (!fused.fits_straight && !fused.fits_transposed) {
      return error(StatusCode::kCorrupt,
                   "{}: tensor {} has shape [{}] where [{}], or transposed [{}], is expected; the "
                   "model does not match its config.json, download it again",
                   checkpoint_.folder().string(), name, fmt::join(tensor->shape, ", "),
                   fmt::join(straight, ", "), fmt::join(transposed, ", "));
    }
    if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kBF16 &&
        tensor->dtype != DType::kF16) {
      return error(StatusCode::kUnsupported,
                   "{}: tensor {} has dtype {}; expected F32, BF16 or F16",
                   checkpoint_.folder().string(), name, to_string(tensor->dtype));
    }
    return fused;
  }

  /// A square tensor is stored the way its layer's `other` one is: they cannot both be square.
  static bool is_transposed(const Fused& fused, const Fused& other) {
    const bool is_square = fused.fits_straight && fused.fits_transposed;
    return is_square ? other.fits_transposed : fused.fits_transposed;
  }

  // Gate and up in one tensor per layer: [2 * inner, hidden] an expert (transformers 5), or
  // transposed (older writers).
  Status build_fused() {
    FM_ASSIGN_OR_RETURN(
        const Fused gate_up,
        find_fused_weight(names_.name(TensorId::kFusedGateUp, index_), 2 * inner(), hidden_));
    FM_ASSIGN_OR_RETURN(
        const Fused down,
        find_fused_weight(names_.name(TensorId::kFusedDown, index_), hidden_, inner()));
    const bool gate_up_is_transposed = is_transposed(gate_up, down);
    const bool down_is_transposed = is_transposed(down, gate_up);
    for (std::uint64_t e = 0; e < moe_.router.num_experts; ++e) {
      if (gate_up_is_transposed) {
        append_segments(gate_up.record, e, 0, 2 * inner(), layer.segments);
      } else {
        append_segments(gate_up.record, e, 0, inner(), layer.segments);
        append_segments(gate_up.record, e, inner(), inner(), layer.segments);
      }
      append_segments(down.record, e, 0, hidden_, layer.segments);
    }
    finish(gate_up.record.format, gate_up.record.format, down.record.format);
    layout.gate_up_is_transposed = gate_up_is_transposed;
    layout.down_is_transposed = down_is_transposed;
    return Status();
  }

  const Checkpoint& checkpoint_;
  const TensorTable& names_;
  const MoeSpec& moe_;
  std::uint64_t hidden_;
  std::size_t index_;
};

}  // namespace

Result<ExpertIndex> build_expert_index(const Checkpoint& checkpoint, const TensorTable& names,
                                       const ModelSpec& spec) {
  ExpertIndex index;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const MoeSpec* const moe = spec.layers[i].moe();
    ExpertStore::Layer& layer = index.layers.emplace_back();
    ExpertLayout& layout = index.layouts.emplace_back();
    if (moe == nullptr) continue;
    LayerBuilder builder(checkpoint, names, *moe, spec.hidden_size, i);
    FM_RETURN_IF_ERROR(builder.build());
    layer = std::move(builder.layer);
    layout = builder.layout;
  }
  return index;
}

}  // namespace flashmoe
