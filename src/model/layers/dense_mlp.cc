#include "model/layers/dense_mlp.h"

#include "kernels/ops.h"
#include "model/step.h"

namespace flashmoe {

struct DenseMlp::Buffers {
  Buffers(const DenseMlpSpec& spec, std::size_t rows, Scratch& scratch)
      : gate(scratch.matrix(rows, spec.intermediate_size)),
        up(scratch.matrix(rows, spec.intermediate_size)),
        inner(scratch.activations(rows, spec.intermediate_size)) {}
  MatrixView<float> gate;
  MatrixView<float> up;
  Activations* inner;
};

Status DenseMlp::declare(LayerTensors& tensors) {
  const std::size_t inner = spec_.intermediate_size;
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kGateProj, inner, hidden_, &gate_proj_));
  FM_RETURN_IF_ERROR(tensors.matrix(TensorId::kUpProj, inner, hidden_, &up_proj_));
  return tensors.matrix(TensorId::kDownProj, hidden_, inner, &down_proj_);
}

ScratchSize DenseMlp::scratch_size(std::size_t rows) const {
  Scratch scratch;
  Buffers(spec_, rows, scratch);
  return scratch.size();
}

// y = W_down (silu(W_gate x) * (W_up x))
Status DenseMlp::forward(StepContext& context, Scratch& scratch, const Activations& x,
                         MatrixView<float> y) {
  Ops& ops = context.ops;
  const Buffers buffers(spec_, context.rows, scratch);
  const LinearTask projections[] = {{.weight = gate_proj_, .x = &x, .y = buffers.gate},
                                    {.weight = up_proj_, .x = &x, .y = buffers.up}};
  ops.linear(projections);
  ops.swiglu(buffers.gate, buffers.up, buffers.gate);
  ops.prepare(buffers.gate, *buffers.inner);
  const LinearTask output = {.weight = down_proj_, .x = buffers.inner, .y = y};
  ops.linear({&output, 1});
  return Status();
}

}  // namespace flashmoe
