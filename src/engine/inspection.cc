#include "flashmoe/inspection.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/result.h"
#include "engine/model_files.h"
#include "engine/tensor_roles.h"
#include "engine/text_files.h"

namespace flashmoe {
namespace {

/// Round budgets shown between the smallest and the fully resident one.
constexpr std::uint64_t kRoundBudgets = 6;

ModelArchitecture architecture_of(const ModelSpec& spec) {
  ModelArchitecture architecture = {
      .latent_attention_layers = spec.count<LatentAttentionSpec>(),
      .linear_attention_layers = spec.count<DeltaNetSpec>(),
      .moe_layers = spec.moe_layer_count(),
      .moe_intermediate_size = spec.moe().intermediate_size,
      .shared_expert_intermediate_size = spec.moe().shared_intermediate_size,
      .max_position_embeddings = spec.max_position_embeddings,
      .tie_word_embeddings = spec.tie_word_embeddings};
  for (const LayerSpec& layer : spec.layers) {
    const auto* attention = std::get_if<AttentionSpec>(&layer.mixer);
    if (attention == nullptr) continue;
    if (attention->window != 0 && architecture.sliding_attention_layers++ == 0) {
      architecture.sliding_window = attention->window;
      architecture.sliding_num_key_value_heads = attention->num_kv_heads;
      architecture.sliding_head_dim = attention->head_dim;
    }
    const bool is_first_full = attention->window == 0 && architecture.full_attention_layers++ == 0;
    if (!is_first_full && architecture.head_dim != 0) continue;
    architecture.num_attention_heads = attention->num_heads;
    architecture.num_key_value_heads = attention->num_kv_heads;
    architecture.head_dim = attention->head_dim;
    if (attention->indexer) {
      architecture.indexer_num_heads = attention->indexer->num_heads;
      architecture.indexer_head_dim = attention->indexer->head_dim;
      architecture.indexer_budget = attention->indexer->budget;
      architecture.indexer_compress_ratio = attention->indexer->compress_ratio;
    }
  }
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.embedding) continue;
    ++architecture.ngram_embedding_layers;
    architecture.ngram_rows_per_token = layer.embedding->ngrams.heads();
  }
  if (const auto* latent = spec.first_mixer<LatentAttentionSpec>()) {
    architecture.num_attention_heads = latent->num_heads;
    architecture.num_key_value_heads = 1;
    architecture.head_dim = latent->qk_head_dim();
    architecture.kv_lora_rank = latent->kv_lora_rank;
    architecture.qk_rope_head_dim = latent->qk_rope_head_dim;
  }
  if (const auto* delta_net = spec.first_mixer<DeltaNetSpec>()) {
    architecture.linear_num_key_heads = delta_net->key_heads;
    architecture.linear_num_value_heads = delta_net->value_heads;
    architecture.linear_key_head_dim = delta_net->key_dim;
    architecture.linear_value_head_dim = delta_net->value_dim;
  }
  return architecture;
}

std::string layout_of(TensorSpelling spelling) {
  switch (spelling) {
    case TensorSpelling::kMlx:
      return "mlx";
    case TensorSpelling::kGguf:
      return "gguf";
    case TensorSpelling::kHuggingFace:
      break;
  }
  return "hugging_face";
}

std::vector<InspectedTensor> list_tensors(const ModelPackage& package, const TensorRoles& roles) {
  std::vector<InspectedTensor> tensors;
  for (const auto& [name, record] : package.tensors()) {
    const TensorRoles::Use* use = roles.find(name);
    const std::string dtype(record.type_name());
    tensors.push_back({.name = name,
                       .role = use == nullptr ? TensorRole::kUnused : use->role,
                       .format = use == nullptr || use->type == nullptr ? dtype : use->type->name(),
                       .dtype = dtype,
                       .shape = record.shape,
                       .size_bytes = record.size,
                       .file = package.files()[record.file_index].filename().string()});
  }
  return tensors;
}

std::vector<TensorGroup> group_tensors(const std::vector<InspectedTensor>& tensors) {
  std::map<std::pair<TensorRole, std::string>, TensorGroup> by_kind;
  for (const InspectedTensor& tensor : tensors) {
    TensorGroup& group = by_kind[{tensor.role, tensor.format}];
    group.role = tensor.role;
    group.format = tensor.format;
    ++group.tensor_count;
    group.size_bytes += tensor.size_bytes;
  }
  std::vector<TensorGroup> groups;
  groups.reserve(by_kind.size());
  for (auto& [kind, group] : by_kind) groups.push_back(std::move(group));
  std::stable_sort(groups.begin(), groups.end(), [](const TensorGroup& a, const TensorGroup& b) {
    return a.role != b.role ? a.role < b.role : a.size_bytes > b.size_bytes;
  });
  return groups;
}

/// The format of most of the bytes.
std::string main_format(const std::vector<TensorGroup>& groups) {
  std::map<std::string, std::uint64_t> size_by_format;
  for (const TensorGroup& group : groups) size_by_format[group.format] += group.size_bytes;
  return std::max_element(size_by_format.begin(), size_by_format.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

/// Multiples of a power of two between the smallest budget and the fully resident one.
void add_round_budgets(const MemoryPlan& plan, std::set<std::uint64_t>& budgets) {
  const std::uint64_t range = plan.budget_bytes_resident - plan.budget_bytes_min;
  const std::uint64_t step = std::bit_ceil(range / kRoundBudgets + 1);
  for (std::uint64_t budget = (plan.budget_bytes_min / step + 1) * step;
       budget < plan.budget_bytes_resident; budget += step) {
    budgets.insert(budget);
  }
}

Status plan_budgets(const ModelFiles& files, const InspectOptions& options,
                    ModelInspection& inspection) {
  PlanRequest request = {.budget_bytes = std::numeric_limits<std::uint64_t>::max(),
                         .context = options.context,
                         .prefill_chunk = options.prefill_chunk};
  FM_ASSIGN_OR_RETURN(const MemoryPlan boundless,
                      plan_memory(files.network(), files.footprint(), request));
  inspection.expert_classes = boundless.expert_classes;
  request.budget_bytes = boundless.budget_bytes_min;
  FM_ASSIGN_OR_RETURN(inspection.minimum, plan_memory(files.network(), files.footprint(), request));

  inspection.request_bytes_min = request_bytes_min(inspection.minimum.context);

  std::set<std::uint64_t> budgets(options.budgets.begin(), options.budgets.end());
  budgets.insert(boundless.budget_bytes_min);
  budgets.insert(boundless.budget_bytes_resident);
  add_round_budgets(boundless, budgets);
  for (const std::uint64_t budget : budgets) {
    MemoryPlan plan = inspection.minimum;
    plan.expert_slots = 0;
    plan.expert_bytes = 0;
    plan.expert_classes.clear();
    plan.budget_bytes = request.budget_bytes = budget;
    if (budget >= plan.budget_bytes_min) {
      FM_ASSIGN_OR_RETURN(plan, plan_memory(files.network(), files.footprint(), request));
    }
    inspection.plans.push_back(plan);
  }
  return Status();
}

}  // namespace

std::string_view to_string(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding:
      return "embedding";
    case TensorRole::kLmHead:
      return "lm_head";
    case TensorRole::kNorm:
      return "norm";
    case TensorRole::kAttention:
      return "attention";
    case TensorRole::kDeltaNet:
      return "deltanet";
    case TensorRole::kDenseMlp:
      return "dense_mlp";
    case TensorRole::kRouter:
      return "router";
    case TensorRole::kSharedExpert:
      return "shared_expert";
    case TensorRole::kRoutedExperts:
      return "routed_experts";
    case TensorRole::kHyperConnection:
      return "hyper_connection";
    case TensorRole::kNgramEmbedding:
      return "ngram_embedding";
    case TensorRole::kNgramTable:
      return "ngram_table";
    case TensorRole::kUnused:
      break;
  }
  return "unused";
}

Result<ModelInspection> inspect_model(const InspectOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<ModelFiles> files,
                      ModelFiles::open(options.model, options.kv_precision));
  const ModelSpec& spec = files->spec();
  FM_ASSIGN_OR_RETURN(const TensorRoles roles, TensorRoles::create(*files));

  FM_ASSIGN_OR_RETURN(const TextFiles text, load_text_files(*files));

  ModelInspection inspection;
  inspection.info = model_info(*files);
  const Status& chat_status = text.chat_template_status;
  if (!chat_status.ok() && chat_status.code() != StatusCode::kNotFound) {
    inspection.info.warnings.push_back(
        fmt::format("{}; until then the model takes no chats", chat_status.message()));
  }
  inspection.architecture = architecture_of(spec);
  const MoeSpec& moe = spec.moe();
  const std::uint64_t expert_parameters =
      std::uint64_t{3} * spec.hidden_size * moe.intermediate_size +
      (moe.has_expert_bias ? 2 * moe.intermediate_size + spec.hidden_size : 0);
  inspection.parameter_count = roles.dense_parameter_count() + roles.table_parameter_count() +
                               files->footprint().expert_slots.expert_count() * expert_parameters;
  inspection.active_parameter_count =
      roles.dense_parameter_count() +
      inspection.architecture.moe_layers * moe.router.num_experts_per_tok * expert_parameters;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.embedding) inspection.active_parameter_count += layer.embedding->embed_dim;
  }
  inspection.ngram_table_bytes = roles.table_bytes();
  inspection.layout = layout_of(files->package().spelling());
  inspection.has_tokenizer = text.tokenizer != nullptr;
  inspection.file_count = files->package().files().size();
  inspection.tensors = list_tensors(files->package(), roles);
  inspection.groups = group_tensors(inspection.tensors);
  inspection.format = main_format(inspection.groups);
  for (std::uint32_t layer = 0; layer < files->store().layer_count(); ++layer) {
    if (files->store().expert_count(LayerId{layer}) == 0) continue;
    inspection.expert_bytes =
        std::max(inspection.expert_bytes, files->store().expert_size(LayerId{layer}));
  }
  const std::size_t whole_blocks = std::size_t{1} << 20;
  inspection.kv_bytes_per_token =
      files->network().state_layout().kv_bytes(whole_blocks, 1) / whole_blocks;
  FM_RETURN_IF_ERROR(plan_budgets(*files, options, inspection));
  return inspection;
}

}  // namespace flashmoe
