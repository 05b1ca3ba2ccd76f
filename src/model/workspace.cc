#include "model/workspace.h"

#include <algorithm>
#include <utility>

namespace flashmoe {
namespace {

/// Every view begins on a cache line.
constexpr std::uint64_t kViewAlignment = 64;

/// Hands out consecutive pieces of one buffer; with a null base it only adds them up.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}

  MatrixView<float> matrix(std::size_t rows, std::size_t cols) {
    return {take(rows * cols), rows, cols};
  }
  std::span<float> floats(std::size_t count) { return {take(count), count}; }
  std::uint64_t size() const { return size_; }

 private:
  float* take(std::size_t count) {
    const std::uint64_t at = size_;
    size_ += (count * sizeof(float) + kViewAlignment - 1) / kViewAlignment * kViewAlignment;
    return base_ == nullptr ? nullptr : reinterpret_cast<float*>(base_ + at);
  }

  std::byte* base_;
  std::uint64_t size_ = 0;
};

}  // namespace

WorkspaceShape::WorkspaceShape(const ModelConfig& config, std::size_t rows_in) : rows(rows_in) {
  const AttentionConfig& attention = config.attention;
  const DeltaNetConfig& delta = config.delta_net;
  hidden = config.hidden_size;
  num_experts = config.moe.num_experts;
  num_experts_per_tok = config.moe.num_experts_per_tok;
  expert_inner = config.moe.moe_intermediate_size;
  vocab = config.vocab_size;
  rotary_half = attention.rotary_dim / 2;
  const bool has_dense = std::any_of(config.layers.begin(), config.layers.end(),
                                     [](const LayerConfig& layer) { return !layer.is_moe; });
  shared_inner = std::max(config.moe.shared_expert_intermediate_size,
                          has_dense ? config.intermediate_size : 0);
  const std::size_t q_size = attention.num_heads * attention.head_dim;
  const std::size_t kv_size = attention.num_kv_heads * attention.head_dim;
  mixer_out = std::max(q_size, delta.values_size());
  const std::size_t attention_wide = 2 * q_size + 2 * kv_size;
  const std::size_t delta_wide =
      2 * delta.keys_size() + 2 * delta.values_size() + 2 * delta.value_heads;
  wide = std::max({attention_wide, delta_wide, shared_inner});
  // A decode step of a few rows goes in one wave. Prompts, whose rows pick the same experts again
  // and again, are cut into waves of whole experts: each fits, since an expert has at most `rows`
  // rows.
  assignments = std::max(rows, std::min(rows, std::size_t{8}) * num_experts_per_tok);
}

std::uint64_t Workspace::lay_out(std::byte* base) {
  Carver carver(base);
  x = carver.matrix(shape.rows, shape.hidden);
  normed = carver.matrix(shape.rows, shape.hidden);
  block_out = carver.matrix(shape.rows, shape.hidden);
  shared_out = carver.matrix(shape.rows, shape.hidden);
  wide_a = carver.floats(shape.rows * shape.wide);
  wide_b = carver.floats(shape.rows * shape.wide);
  rope_cos = carver.matrix(shape.rows, shape.rotary_half);
  rope_sin = carver.matrix(shape.rows, shape.rotary_half);
  router_logits = carver.matrix(shape.rows, shape.num_experts);
  shared_gate = carver.matrix(shape.rows, 1);
  expert_gate = carver.matrix(shape.assignments, shape.expert_inner);
  expert_up = carver.matrix(shape.assignments, shape.expert_inner);
  expert_out = carver.matrix(shape.assignments, shape.hidden);
  logits = carver.matrix(kLogitsRows, shape.vocab);
  return carver.size();
}

std::uint64_t Workspace::size_for(const WorkspaceShape& shape) {
  return Workspace(shape).lay_out(nullptr) + Activations::size_for(shape.rows, shape.hidden) +
         Activations::size_for(shape.rows, std::max(shape.mixer_out, shape.shared_inner)) +
         Activations::size_for(shape.assignments, shape.expert_inner);
}

Result<Workspace> Workspace::create(const WorkspaceShape& shape) {
  Workspace workspace(shape);
  FM_ASSIGN_OR_RETURN(workspace.buffer_, AlignedBuffer::allocate(workspace.lay_out(nullptr)));
  workspace.lay_out(workspace.buffer_.data());
  FM_ASSIGN_OR_RETURN(workspace.normed_activations,
                      Activations::allocate(shape.rows, shape.hidden));
  FM_ASSIGN_OR_RETURN(
      workspace.inner_activations,
      Activations::allocate(shape.rows, std::max(shape.mixer_out, shape.shared_inner)));
  FM_ASSIGN_OR_RETURN(workspace.expert_activations,
                      Activations::allocate(shape.assignments, shape.expert_inner));
  return workspace;
}

}  // namespace flashmoe
