#ifndef FLASHMOE_KERNELS_REFERENCE_REFERENCE_OPS_H_
#define FLASHMOE_KERNELS_REFERENCE_REFERENCE_OPS_H_

#include <memory>

#include "kernels/ops.h"

namespace flashmoe {

/// Every op in the most obvious way: scalar, one thread, sums in double, rounded to float where an
/// op stores its result. What the fast implementations are tested against; slow. Its affine weights
/// are MLX's dequantised values and its activations stay floats. Like every Ops it may be cut
/// anywhere: the delta rule's state is rounded to float after every token, and weighted rows after
/// every term.
std::unique_ptr<Ops> make_reference_ops();

}  // namespace flashmoe

#endif  // FLASHMOE_KERNELS_REFERENCE_REFERENCE_OPS_H_
