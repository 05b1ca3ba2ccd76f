#include "engine/tensor_roles.h"

#include <utility>

#include "base/check.h"
#include "format/weight_catalog.h"

namespace flashmoe {

Result<TensorRoles> TensorRoles::create(const ModelFiles& files) {
  TensorRoles roles(files);
  Network network(files.spec());
  FM_RETURN_IF_ERROR(network.declare(files.names(), roles));
  for (std::size_t layer = 0; layer < files.spec().layers.size(); ++layer) {
    if (files.spec().layers[layer].moe() != nullptr) roles.add_experts(layer);
  }
  return roles;
}

const TensorRoles::Use* TensorRoles::find(const std::string& name) const {
  const auto at = uses_.find(name);
  return at == uses_.end() ? nullptr : &at->second;
}

void TensorRoles::add_matrix(const std::string& path, const Use& use) {
  for (const WeightPlane& plane : use.type->planes()) {
    uses_.emplace(fmt::format("{}{}", path, plane.suffix), use);
  }
}

bool TensorRoles::has_matrix(const TensorRef& tensor) const {
  return has_weight(files_->package(), tensor.name);
}

Status TensorRoles::matrix(const TensorRef& tensor, const MatrixShape& shape, WeightView* /*out*/) {
  FM_ASSIGN_OR_RETURN(const WeightRecord record, find_weight(files_->package(), tensor.name,
                                                             shape.stack, shape.rows, shape.cols));
  add_matrix(tensor.name, {role_of(tensor.id), record.type});
  parameter_count_ += shape.stack * shape.rows * shape.cols;
  return Status();
}

Status TensorRoles::vector(const TensorRef& tensor,
                           std::span<const TensorShape> /*accepted_shapes*/,
                           std::vector<float>* /*out*/) {
  const TensorRecord* record = files_->package().find(tensor.name);
  FM_CHECK(record != nullptr);  // ModelFiles::open() declared the same tensors to its loader
  uses_.emplace(tensor.name, Use{role_of(tensor.id), &float_weights(record->dtype)});
  parameter_count_ += record->element_count();
  return Status();
}

Status TensorRoles::integers(const TensorRef& tensor, std::size_t /*count*/,
                             std::vector<std::int64_t>* /*out*/) {
  uses_.emplace(tensor.name, Use{role_of(tensor.id)});
  return Status();
}

Status TensorRoles::row_table(std::span<const TensorRef> parts, std::uint64_t rows,
                              std::size_t cols, std::size_t* /*table*/) {
  for (const TensorRef& part : parts) {
    const TensorRecord* record = files_->package().find(part.name);
    FM_CHECK(record != nullptr);  // as above
    uses_.emplace(part.name, Use{role_of(part.id), &float_weights(record->dtype)});
    table_bytes_ += record->size;
  }
  table_parameter_count_ += rows * cols;
  return Status();
}

void TensorRoles::add_experts(std::size_t layer) {
  const TensorTable& names = files_->names();
  const ExpertLayout& layout = files_->layouts()[layer];
  const auto add = [&](TensorId id, const WeightType* type, std::size_t expert) {
    const std::string path = names.name(id, layer, expert);
    add_matrix(path, {role_of(id), type});
    if (layout.bias) uses_.emplace(path + ".bias", Use{role_of(id), &float_weights(*layout.bias)});
  };
  // A checkpoint has one of the three spellings; the names of the others are in no file.
  add(TensorId::kStackedGate, layout.gate_proj, 0);
  add(TensorId::kStackedUp, layout.up_proj, 0);
  add(TensorId::kStackedDown, layout.down_proj, 0);
  const std::size_t count = files_->spec().layers[layer].moe()->router.num_experts;
  for (std::size_t expert = 0; expert < count; ++expert) {
    add(TensorId::kSeparateGate, layout.gate_proj, expert);
    add(TensorId::kSeparateUp, layout.up_proj, expert);
    add(TensorId::kSeparateDown, layout.down_proj, expert);
  }
  for (const std::string_view suffix : {"", ".weight", "_blocks", "_scales"}) {
    uses_.emplace(fmt::format("{}{}", names.name(TensorId::kFusedGateUp, layer), suffix),
                  Use{TensorRole::kRoutedExperts, layout.gate_proj});
    uses_.emplace(fmt::format("{}{}", names.name(TensorId::kFusedDown, layer), suffix),
                  Use{TensorRole::kRoutedExperts, layout.down_proj});
  }
  if (!layout.bias) return;
  for (const TensorId id : {TensorId::kFusedGateUpBias, TensorId::kFusedDownBias}) {
    uses_.emplace(names.name(id, layer), Use{role_of(id), &float_weights(*layout.bias)});
  }
}

}  // namespace flashmoe
