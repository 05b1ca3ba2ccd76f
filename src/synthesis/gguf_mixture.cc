#include "synthesis/gguf_mixture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "base/check.h"
#include "flashmoe/synthesis.h"

namespace flashmoe {
namespace {

constexpr GgufMixture kMixtures[] = {
    {.name = "q4_k_m", .file_type = 15, .type = "Q4_K", .is_mixed = true},
    {.name = "q8_0", .file_type = 7, .type = "Q8_0"},
    {.name = "mxfp4_moe", .file_type = 38, .type = "Q8_0", .expert_type = "MXFP4"},
    {.name = "f16", .file_type = 1, .type = "F16"},
    {.name = "bf16", .file_type = 32, .type = "BF16"},
};

/// The first and the last eighth of the layers, and every third between them.
bool has_more_bits(std::size_t i, std::size_t count) {
  return i < count / 8 || i >= 7 * count / 8 || (i - count / 8) % 3 == 2;
}

/// The model whose attention is small beside its experts.
constexpr std::size_t kFewExperts = 8;

std::string_view mixed_type(TensorId id, std::size_t layer, const MixtureContext& context) {
  const bool has_few_experts = context.num_experts == kFewExperts;
  if (makes_values(id)) {
    if (has_few_experts) return "Q8_0";
    return has_more_bits(context.values_before, context.value_count) ? "Q6_K" : "Q4_K";
  }
  switch (id) {
    case TensorId::kKProj:
      return has_few_experts ? "Q8_0" : "Q4_K";
    case TensorId::kOProj:
      return has_few_experts ? "Q5_K" : "Q4_K";
    case TensorId::kDownProj:
    case TensorId::kSharedDownProj:
    case TensorId::kStackedDown:
    case TensorId::kFusedDown:
      return has_more_bits(layer, context.layer_count) ? "Q6_K" : "Q4_K";
    default:
      return "Q4_K";
  }
}

/// The type with shorter blocks, for rows that are no multiple of a K type's.
std::string_view with_shorter_blocks(std::string_view type) {
  if (type == "Q4_K") return "Q5_0";
  if (type == "Q5_K") return "Q5_1";
  if (type == "Q6_K") return "Q8_0";
  return type;
}

const GgmlType& ggml_type(std::string_view name) {
  const GgmlType* const type = find_ggml_type(name);
  FM_CHECK(type != nullptr);
  return *type;
}

}  // namespace

std::vector<std::string_view> gguf_mixture_names() {
  std::vector<std::string_view> names;
  for (const GgufMixture& mixture : kMixtures) names.push_back(mixture.name);
  return names;
}

Result<const GgufMixture*> find_gguf_mixture(std::string_view name) {
  for (const GgufMixture& mixture : kMixtures) {
    if (mixture.name == name) return &mixture;
  }
  return error(StatusCode::kInvalidArgument,
               "no mixture of GGUF types is called '{}'; there are: {}", name,
               fmt::join(gguf_mixture_names(), ", "));
}

bool makes_values(TensorId id) {
  return id == TensorId::kVProj || id == TensorId::kInProjQkv || id == TensorId::kKvBProj;
}

const GgmlType& type_in_mixture(const GgufMixture& mixture, TensorId id, std::size_t layer,
                                std::span<const std::uint64_t> shape,
                                const MixtureContext& context) {
  if (shape.size() < 2 || id == TensorId::kRouter) return ggml_type("F32");
  const GgmlType& plain = ggml_type(mixture.type);
  if (plain.dtype) return plain;
  const std::uint64_t cols = shape.back();
  const bool is_head = id == TensorId::kLmHead || (context.is_tied && id == TensorId::kEmbedTokens);
  std::string_view name = mixture.type;
  if (mixture.is_mixed) {
    name = is_head ? "Q6_K" : mixed_type(id, layer, context);
  } else if (!mixture.expert_type.empty() && shape.size() > 2 && shape.front() > 1) {
    name = mixture.expert_type;
  }
  if (cols % ggml_type(name).block != 0) name = with_shorter_blocks(name);
  return ggml_type(cols % ggml_type(name).block != 0 ? "F16" : name);
}

}  // namespace flashmoe
