#ifndef FLASHMOE_KERNELS_REFERENCE_INTEGER_PRODUCT_H_
#define FLASHMOE_KERNELS_REFERENCE_INTEGER_PRODUCT_H_

#include <cstddef>
#include <span>

#include "tensor/weight_view.h"

namespace flashmoe::reference {

/// Row `row` of quantised weights times activations x, [weight.cols]: docs/numerics.md word by
/// word, and so the bits that Ops::prepare and Ops::linear give on every CPU target.
float integer_product(const WeightView& weight, std::size_t row, std::span<const float> x);

}  // namespace flashmoe::reference

#endif  // FLASHMOE_KERNELS_REFERENCE_INTEGER_PRODUCT_H_
