#include "engine/expert_index.h"

#include <array>
#include <string>
#include <utility>

#include "format/weight_catalog.h"

namespace flashmoe {
namespace {

/// The rows [row_begin, row_begin + rows) of one matrix of a stack, as segments, plane by
/// plane.
void append_segments(const WeightRecord& record, std::uint64_t stack_index, std::uint64_t row_begin,
                     std::uint64_t rows, std::vector<ExpertSegment>& segments) {
  const std::uint64_t row = stack_index * record.rows + row_begin;
  for (std::size_t i = 0; i < record.type->plane_count; ++i) {
    const TensorRecord& tensor = *record.planes[i];
    const WeightPlane& plane = record.type->planes()[i];
    // A stack is of whole blocks of rows (find_weight()).
    const std::uint64_t begin =
        plane.is_shared ? stack_index * plane.block_bytes
                        : row / plane.block_rows * record.type->plane_row_size(i, record.cols);
    segments.push_back(
        {tensor.file_index, tensor.offset + begin, record.type->plane_size(i, rows, record.cols)});
  }
}

/// One layer's experts while they are found.
class LayerBuilder {
 public:
  LayerBuilder(const ModelPackage& package, const TensorTable& names, const MoeSpec& moe,
               std::size_t hidden_size, std::size_t layer)
      : package_(package), names_(names), moe_(moe), hidden_(hidden_size), index_(layer) {}

  Status build() {
    const std::string stacked = names_.name(TensorId::kStackedGate, index_) + ".weight";
    const std::string separate = names_.name(TensorId::kSeparateGate, index_, 0) + ".weight";
    const std::string fused = names_.name(TensorId::kFusedGateUp, index_);
    if (package_.find(stacked) != nullptr) return build_stacked();
    if (package_.find(separate) != nullptr) return build_separate();
    if (find_fused(fused) != nullptr || package_.find(fused + "_blocks") != nullptr) {
      return build_fused();
    }
    return error(StatusCode::kNotFound,
                 "{}: layer {} has no routed experts: none of {}, {}, {} is in the checkpoint",
                 package_.path().string(), index_, stacked, separate, fused);
  }

  ExpertStore::Layer layer;
  ExpertLayout layout;

 private:
  std::uint64_t inner() const { return moe_.intermediate_size; }

  /// A matrix, or a stack of them, and what it adds to its products.
  struct Matrix {
    WeightRecord record;
    const TensorRecord* bias = nullptr;  // [rows], or [stack, rows]; null: nothing
  };

  void append_bias(const TensorRecord* bias, std::uint64_t stack_index, std::uint64_t rows) {
    if (bias == nullptr) return;
    const std::uint64_t size = rows * size_of(bias->dtype);
    layer.segments.push_back({bias->file_index, bias->offset + stack_index * size, size});
  }

  void append_matrix(const Matrix& matrix, std::uint64_t stack_index, std::uint64_t rows) {
    append_segments(matrix.record, stack_index, 0, rows, layer.segments);
    append_bias(matrix.bias, stack_index, rows);
  }

  void append_expert(const Matrix& gate, const Matrix& up, const Matrix& down,
                     std::uint64_t stack_index) {
    append_matrix(gate, stack_index, inner());
    append_matrix(up, stack_index, inner());
    append_matrix(down, stack_index, hidden_);
  }

  /// The biases of `stack` matrices of `rows` rows, where the family has them; all of a layer's
  /// are of one type.
  Result<const TensorRecord*> find_bias(const std::string& name, std::uint64_t stack,
                                        std::uint64_t rows) {
    if (!moe_.has_expert_bias) return nullptr;
    const TensorRecord* const bias = package_.find(name);
    if (bias == nullptr) {
      return error(StatusCode::kNotFound,
                   "{}: tensor {} is not in the checkpoint; download the model again",
                   package_.path().string(), name);
    }
    // A stack of one may lack the axis, as with weights.
    std::vector<std::uint64_t> shape = {stack, rows};
    if (stack == 1 && bias->shape.size() == 1) shape.erase(shape.begin());
    if (bias->shape != shape) {
      return error(
          StatusCode::kCorrupt,
          "{} has shape [{}] where [{}] is expected; the model does not match {}, download "
          "it again",
          package_.place_of(name, *bias), fmt::join(bias->shape, ", "), fmt::join(shape, ", "),
          package_.config_name());
    }
    if (!is_float(bias->dtype) || (layout.bias && *layout.bias != bias->dtype)) {
      return error(StatusCode::kUnsupported,
                   "{} has dtype {}; expected F32, BF16 or F16, the same in all of its layer's "
                   "experts",
                   package_.place_of(name, *bias), bias->type_name());
    }
    layout.bias = bias->dtype;
    return bias;
  }

  Result<Matrix> find_matrix(const std::string& path, std::uint64_t stack, std::uint64_t rows,
                             std::uint64_t cols) {
    Matrix matrix;
    FM_ASSIGN_OR_RETURN(matrix.record, find_weight(package_, path, stack, rows, cols));
    FM_ASSIGN_OR_RETURN(matrix.bias, find_bias(path + ".bias", stack, rows));
    return matrix;
  }

  void finish(const WeightType* gate, const WeightType* up, const WeightType* down) {
    layout.gate_proj = gate;
    layout.up_proj = up;
    layout.down_proj = down;
    layer.segments_per_expert = layer.segments.size() / moe_.router.num_experts;
  }

  // MLX: [num_experts, out, in].
  Status build_stacked() {
    const std::uint64_t count = moe_.router.num_experts;
    const auto find = [&](TensorId id, std::uint64_t rows, std::uint64_t cols) {
      return find_matrix(names_.name(id, index_), count, rows, cols);
    };
    FM_ASSIGN_OR_RETURN(const Matrix gate, find(TensorId::kStackedGate, inner(), hidden_));
    FM_ASSIGN_OR_RETURN(const Matrix up, find(TensorId::kStackedUp, inner(), hidden_));
    FM_ASSIGN_OR_RETURN(const Matrix down, find(TensorId::kStackedDown, hidden_, inner()));
    for (std::uint64_t e = 0; e < count; ++e) append_expert(gate, up, down, e);
    finish(gate.record.type, up.record.type, down.record.type);
    return Status();
  }

  // Hugging Face: three tensors per expert.
  Status build_separate() {
    for (std::uint64_t e = 0; e < moe_.router.num_experts; ++e) {
      const auto find = [&](TensorId id, std::uint64_t rows, std::uint64_t cols) {
        return find_matrix(names_.name(id, index_, e), 1, rows, cols);
      };
      FM_ASSIGN_OR_RETURN(const Matrix gate, find(TensorId::kSeparateGate, inner(), hidden_));
      FM_ASSIGN_OR_RETURN(const Matrix up, find(TensorId::kSeparateUp, inner(), hidden_));
      FM_ASSIGN_OR_RETURN(const Matrix down, find(TensorId::kSeparateDown, hidden_, inner()));
      const ExpertLayout this_layout = {.gate_proj = gate.record.type,
                                        .up_proj = up.record.type,
                                        .down_proj = down.record.type,
                                        .bias = layout.bias};
      if (e == 0) layout = this_layout;
      if (layout != this_layout) {
        return error(StatusCode::kUnsupported,
                     "{}: the expert of {} is stored in another format than expert 0 of its layer; "
                     "convert the checkpoint so that a layer's experts agree",
                     package_.path().string(), names_.name(TensorId::kSeparateGate, index_, e));
      }
      append_expert(gate, up, down, 0);
    }
    finish(layout.gate_proj, layout.up_proj, layout.down_proj);
    return Status();
  }

  /// Fused tensors are parameters: some writers add ".weight" to their names, some do not.
  const TensorRecord* find_fused(const std::string& name) const {
    const TensorRecord* tensor = package_.find(name);
    return tensor != nullptr ? tensor : package_.find(name + ".weight");
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
    if (tensor == nullptr && package_.find(name + "_blocks") != nullptr) {
      FM_ASSIGN_OR_RETURN(const WeightRecord record,
                          find_mxfp4_blocks(package_, name, moe_.router.num_experts, rows, cols));
      return Fused{.record = record, .fits_straight = true};
    }
    if (tensor == nullptr) {
      return error(StatusCode::kNotFound,
                   "{}: tensor {} is not in the checkpoint; download the model again",
                   package_.path().string(), name);
    }
    const std::vector<std::uint64_t> straight = {moe_.router.num_experts, rows, cols};
    const std::vector<std::uint64_t> transposed = {moe_.router.num_experts, cols, rows};
    if (tensor->shape != straight && tensor->shape != transposed) {
      return error(StatusCode::kCorrupt,
                   "{}: tensor {} has shape [{}] where [{}], or transposed [{}], is expected; the "
                   "model does not match its config.json, download it again",
                   package_.path().string(), name, fmt::join(tensor->shape, ", "),
                   fmt::join(straight, ", "), fmt::join(transposed, ", "));
    }
    FM_ASSIGN_OR_RETURN(const WeightType* const type, find_plain_type(package_, name, *tensor));
    const bool can_be_transposed = type->encoding == WeightEncoding::kFloat;
    if (!can_be_transposed && tensor->shape != straight) {
      return error(StatusCode::kUnsupported,
                   "{} is stored transposed, which only floats can be; convert the model again",
                   package_.place_of(name, *tensor));
    }
    return Fused{.record = {.type = type,
                            .stack = moe_.router.num_experts,
                            .rows = rows,
                            .cols = cols,
                            .planes = {tensor}},
                 .fits_straight = tensor->shape == straight,
                 .fits_transposed = can_be_transposed && tensor->shape == transposed};
  }

  /// A square tensor is stored the way its layer's `other` one is: they cannot both be square.
  static bool is_transposed(const Fused& fused, const Fused& other) {
    const bool is_square = fused.fits_straight && fused.fits_transposed;
    return is_square ? other.fits_transposed : fused.fits_transposed;
  }

  // Gate and up in one tensor per layer: [2 * inner, hidden] an expert (transformers 5), transposed
  // (older writers), or in MXFP4 (gpt-oss).
  Status build_fused() {
    FM_ASSIGN_OR_RETURN(
        const Fused gate_up,
        find_fused_weight(names_.name(TensorId::kFusedGateUp, index_), 2 * inner(), hidden_));
    FM_ASSIGN_OR_RETURN(
        const Fused down,
        find_fused_weight(names_.name(TensorId::kFusedDown, index_), hidden_, inner()));
    const std::uint64_t count = moe_.router.num_experts;
    FM_ASSIGN_OR_RETURN(
        const TensorRecord* const gate_up_bias,
        find_bias(names_.name(TensorId::kFusedGateUpBias, index_), count, 2 * inner()));
    FM_ASSIGN_OR_RETURN(const TensorRecord* const down_bias,
                        find_bias(names_.name(TensorId::kFusedDownBias, index_), count, hidden_));
    layout.gate_up_is_transposed = is_transposed(gate_up, down);
    layout.gate_up_is_interleaved =
        names_.row(TensorId::kFusedGateUp).stored == StoredAs::kInterleaved;
    layout.down_is_transposed = is_transposed(down, gate_up);
    const bool is_one = layout.gate_up_is_one();
    for (std::uint64_t e = 0; e < count; ++e) {
      for (std::uint64_t part = 0; part < (is_one ? 1 : 2); ++part) {
        const std::uint64_t rows = is_one ? 2 * inner() : inner();
        append_segments(gate_up.record, e, part * rows, rows, layer.segments);
        append_bias(gate_up_bias, is_one ? e : 2 * e + part, rows);
      }
      append_matrix({down.record, down_bias}, e, hidden_);
    }
    finish(gate_up.record.type, gate_up.record.type, down.record.type);
    return Status();
  }

  const ModelPackage& package_;
  const TensorTable& names_;
  const MoeSpec& moe_;
  std::uint64_t hidden_;
  std::size_t index_;
};

}  // namespace

Result<ExpertIndex> build_expert_index(const ModelPackage& package, const TensorTable& names,
                                       const ModelSpec& spec) {
  ExpertIndex index;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const MoeSpec* const moe = spec.layers[i].moe();
    ExpertStore::Layer& layer = index.layers.emplace_back();
    ExpertLayout& layout = index.layouts.emplace_back();
    if (moe == nullptr) continue;
    LayerBuilder builder(package, names, *moe, spec.hidden_size, i);
    FM_RETURN_IF_ERROR(builder.build());
    layer = std::move(builder.layer);
    layout = builder.layout;
  }
  return index;
}

}  // namespace flashmoe
