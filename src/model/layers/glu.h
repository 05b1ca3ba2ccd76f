#ifndef FLASHMOE_MODEL_LAYERS_GLU_H_
#define FLASHMOE_MODEL_LAYERS_GLU_H_

#include "kernels/ops.h"
#include "model/model_spec.h"
#include "tensor/matrix_view.h"

namespace flashmoe {

/// h = what `glu` makes of gate and up. h may be gate or up.
inline void apply(Glu glu, Ops& ops, MatrixView<const float> gate, MatrixView<const float> up,
                  MatrixView<float> h) {
  switch (glu) {
    case Glu::kSwiglu:
      return ops.swiglu(gate, up, h);
    case Glu::kGeglu:
      return ops.geglu(gate, up, h);
  }
}

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_LAYERS_GLU_H_
