#ifndef FLASHMOE_ENGINE_TENSOR_ROLES_H_
#define FLASHMOE_ENGINE_TENSOR_ROLES_H_

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "engine/model_files.h"
#include "flashmoe/inspection.h"
#include "model/weight_source.h"
#include "tensor/weight_view.h"

namespace flashmoe {

/// What the model does with each tensor of its files: it declares what it needs, and this source
/// takes notes instead of loading.
class TensorRoles : public WeightSource {
 public:
  struct Use {
    TensorRole role = TensorRole::kUnused;
    const WeightType* type = nullptr;  // null: whole numbers, which are no weights
  };

  /// Asks the model of `files`, which must outlive this object.
  static Result<TensorRoles> create(const ModelFiles& files);

  /// The use of the tensor called `name`, or null.
  const Use* find(const std::string& name) const;

  /// Weights of all matrices and vectors but those of routed experts.
  std::uint64_t dense_parameter_count() const { return parameter_count_; }
  /// Weights and bytes of tables that stay on disk.
  std::uint64_t table_parameter_count() const { return table_parameter_count_; }
  std::uint64_t table_bytes() const { return table_bytes_; }

  bool has_matrix(const TensorRef& tensor) const override;
  Status matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* out) override;
  Status vector(const TensorRef& tensor, std::span<const TensorShape> accepted_shapes,
                std::vector<float>* out) override;
  Status integers(const TensorRef& tensor, std::size_t count,
                  std::vector<std::int64_t>* out) override;
  Status row_table(std::span<const TensorRef> parts, std::uint64_t rows, std::size_t cols,
                   std::size_t* table) override;

 private:
  explicit TensorRoles(const ModelFiles& files) : files_(&files) {}
  void add_experts(std::size_t layer);
  void add_matrix(const std::string& path, const Use& use);

  const ModelFiles* files_;
  std::unordered_map<std::string, Use> uses_;  // by tensor name
  std::uint64_t parameter_count_ = 0;
  std::uint64_t table_parameter_count_ = 0;
  std::uint64_t table_bytes_ = 0;
};

}  // namespace flashmoe

#endif  // FLASHMOE_ENGINE_TENSOR_ROLES_H_
