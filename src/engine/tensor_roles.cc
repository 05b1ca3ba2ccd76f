#include "engine/tensor_roles.h"

#include <array>
#include <utility>

#include "base/check.h"
#include "format/weight_catalog.h"

namespace flashmoe {

std::string format_name(const WeightFormat& format) {
  if (format.kind == WeightFormat::Kind::kFloat) return std::string(to_string(format.dtype));
  return fmt::format("affine {}-bit g{}", format.bits, format.group_size);
}

Result<TensorRoles> TensorRoles::create(const ModelFiles& files) {
  TensorRoles roles(files);
  roles.list_dense_roles();
  ModelWeights weights;
  FM_RETURN_IF_ERROR(weights.declare(files.family(), files.config(), roles));
  for (std::size_t layer = 0; layer < files.config().layers.size(); ++layer) {
    if (files.config().layers[layer].is_moe) roles.add_experts(layer);
  }
  return roles;
}

const TensorRoles::Use* TensorRoles::find(const std::string& name) const {
  const auto at = uses_.find(name);
  return at == uses_.end() ? nullptr : &at->second;
}

void TensorRoles::list_dense_roles() {
  const TensorNames& names = files_->family().tensors;
  dense_roles_.emplace(names.embed_tokens, TensorRole::kEmbedding);
  dense_roles_.emplace(names.lm_head, TensorRole::kLmHead);
  dense_roles_.emplace(names.final_norm, TensorRole::kNorm);
  const std::array<std::pair<std::string_view, TensorRole>, 23> per_layer = {{
      {names.input_layernorm, TensorRole::kNorm},
      {names.post_attention_layernorm, TensorRole::kNorm},
      {names.q_proj, TensorRole::kAttention},
      {names.k_proj, TensorRole::kAttention},
      {names.v_proj, TensorRole::kAttention},
      {names.o_proj, TensorRole::kAttention},
      {names.q_norm, TensorRole::kAttention},
      {names.k_norm, TensorRole::kAttention},
      {names.in_proj_qkvz, TensorRole::kDeltaNet},
      {names.in_proj_ba, TensorRole::kDeltaNet},
      {names.conv1d, TensorRole::kDeltaNet},
      {names.a_log, TensorRole::kDeltaNet},
      {names.dt_bias, TensorRole::kDeltaNet},
      {names.delta_norm, TensorRole::kDeltaNet},
      {names.out_proj, TensorRole::kDeltaNet},
      {names.mlp_gate_proj, TensorRole::kDenseMlp},
      {names.mlp_up_proj, TensorRole::kDenseMlp},
      {names.mlp_down_proj, TensorRole::kDenseMlp},
      {names.router, TensorRole::kRouter},
      {names.shared_gate_proj, TensorRole::kSharedExpert},
      {names.shared_up_proj, TensorRole::kSharedExpert},
      {names.shared_down_proj, TensorRole::kSharedExpert},
      {names.shared_expert_gate, TensorRole::kSharedExpert},
  }};
  for (std::size_t layer = 0; layer < files_->config().layers.size(); ++layer) {
    for (const auto& [pattern, role] : per_layer) {
      dense_roles_.emplace(tensor_name(pattern, layer), role);
    }
  }
}

TensorRole TensorRoles::dense_role(const std::string& path) const {
  const auto at = dense_roles_.find(path);
  FM_CHECK(at != dense_roles_.end());  // a family's tensor that list_dense_roles() forgot
  return at->second;
}

void TensorRoles::add_matrix(const std::string& path, const Use& use) {
  uses_.emplace(path + ".weight", use);
  if (use.format.kind == WeightFormat::Kind::kFloat) return;
  uses_.emplace(path + ".scales", use);
  uses_.emplace(path + ".biases", use);
}

Status TensorRoles::matrix(const std::string& path, std::size_t rows, std::size_t cols,
                           WeightView* /*out*/) {
  FM_ASSIGN_OR_RETURN(const WeightRecord record,
                      find_weight(files_->checkpoint(), path, 1, rows, cols));
  add_matrix(path, {dense_role(path), record.format});
  parameter_count_ += rows * cols;
  return Status();
}

Status TensorRoles::vector(const std::string& name,
                           std::span<const std::vector<std::uint64_t>> /*accepted_shapes*/,
                           std::vector<float>* /*out*/) {
  const TensorRecord* tensor = files_->checkpoint().find(name);
  FM_CHECK(tensor != nullptr);  // ModelFiles::open() declared the same tensors to its loader
  // A projection's bias belongs to the projection.
  const std::string path = name.ends_with(".bias") ? name.substr(0, name.rfind('.')) : name;
  uses_.emplace(name, Use{dense_role(path), {.dtype = tensor->dtype}});
  parameter_count_ += tensor->size / size_of(tensor->dtype);
  return Status();
}

void TensorRoles::add_experts(std::size_t layer) {
  const TensorNames& names = files_->family().tensors;
  const ExpertLayout& layout = files_->layouts()[layer];
  const auto add = [&](const std::string& path) {
    add_matrix(path + ".gate_proj", {TensorRole::kRoutedExperts, layout.gate_proj});
    add_matrix(path + ".up_proj", {TensorRole::kRoutedExperts, layout.up_proj});
    add_matrix(path + ".down_proj", {TensorRole::kRoutedExperts, layout.down_proj});
  };
  // A checkpoint has one of the three spellings; the names of the others are in no file.
  add(tensor_name(names.stacked_experts, layer));
  for (std::size_t expert = 0; expert < files_->config().moe.num_experts; ++expert) {
    add(tensor_name(names.separate_experts, layer, expert));
  }
  for (const std::string_view suffix : {"", ".weight"}) {
    uses_.emplace(fmt::format("{}{}", tensor_name(names.fused_gate_up, layer), suffix),
                  Use{TensorRole::kRoutedExperts, layout.gate_proj});
    uses_.emplace(fmt::format("{}{}", tensor_name(names.fused_down, layer), suffix),
                  Use{TensorRole::kRoutedExperts, layout.down_proj});
  }
}

}  // namespace flashmoe
