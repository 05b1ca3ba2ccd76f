#ifndef FLASHMOE_SYNTHESIS_MODULE_RECORDER_H_
#define FLASHMOE_SYNTHESIS_MODULE_RECORDER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/model_spec.h"
#include "model/tensor_table.h"
#include "model/weight_source.h"
#include "synthesis/random_fill.h"

namespace flashmoe {

/// Half the width of a uniform distribution of deviation 1.
inline constexpr float kUniformHalfWidth = 1.7320508f;

/// Numbers between `low` and `high`.
constexpr RandomFill uniform_fill(float low, float high) {
  return {.kind = RandomFill::Kind::kUniform, .low = low, .high = high};
}

/// Takes notes of what a model declares, and of the routed experts behind each router. How that is
/// laid out in files says the class of their kind.
class ModuleRecorder : public WeightSource {
 public:
  /// References must outlive this.
  ModuleRecorder(const TensorTable& names, const ModelSpec& spec) : names_(names), spec_(spec) {}

  Status matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* out) override;
  Status vector(const TensorRef& tensor, std::span<const TensorShape> accepted_shapes,
                std::vector<float>* out) override;

 protected:
  const TensorTable& names() const { return names_; }
  const ModelSpec& spec() const { return spec_; }

  /// Whether gate and up rows of the experts are in one tensor.
  virtual bool has_fused_experts() const { return false; }
  /// A matrix or a stack of matrices, [rows..., cols], of weights with this deviation.
  virtual Status add_matrix(const TensorRef& tensor, TensorShape shape, float deviation) = 0;
  /// Of one of the shapes.
  virtual Status add_vector(const TensorRef& tensor, std::span<const TensorShape> shapes) = 0;

 private:
  Status add_experts(std::size_t layer);
  float gain_of(TensorId id) const;

  const TensorTable& names_;
  const ModelSpec& spec_;
};

/// What a vector of `shape` is filled with, unless it is a norm or the like, which are around 1:
/// as such models are initialised.
RandomFill fill_of(TensorId id, const TensorShape& shape);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_MODULE_RECORDER_H_
