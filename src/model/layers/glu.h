#ifndef FLASHMOE_MODEL_LAYERS_GLU_H_
#define FLASHMOE_MODEL_LAYERS_GLU_H_

#include "kernels/ops.h"
#include "model/model_spec.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// h = what `glu` makes of gate and up. h may be gate or up.
inline void apply(const Glu& glu, Ops& ops, MatrixView<const float> gate,
                  MatrixView<const float> up, MatrixView<float> h) {
  switch (glu.kind) {
    case Glu::Kind::kSwiglu:
      return ops.swiglu(gate, up, h);
    case Glu::Kind::kGeglu:
      return ops.geglu(gate, up, h);
    case Glu::Kind::kClampedSwiglu:
      return ops.clamped_swiglu(glu.clamp, gate, up, h);
  }
}

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_GLU_H_
