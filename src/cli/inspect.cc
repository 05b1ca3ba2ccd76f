#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/budget_text.h"
#include "base/result.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/model_argument.h"
#include "cli/option_groups.h"
#include "cli/option_values.h"
#include "cli/output.h"
#include "flashmoe/inspection.h"

namespace flashmoe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string model;
  std::vector<std::string> budgets;
  std::size_t context = 0;
  KvPrecision kv_precision = KvPrecision::kF32;
  std::size_t prefill_chunk = 0;
  bool tensors = false;
  bool json = false;
};

constexpr const char* kInspectExamples = R"(
Examples:
  flash-moe inspect MODEL
  flash-moe inspect MODEL --context 32768 --memory 12GiB,17.7GB
  flash-moe inspect MODEL --tensors
  flash-moe inspect MODEL --json

Reads the headers of MODEL's files and its tokenizer, and no weights: only, where config.json ties lm_head to the embedding
and the files hold one all the same, what tells whether it is a copy.)";

/// Experts of one layer that a plan's slots hold, if every layer gets its share.
double experts_per_layer(const MemoryPlan& plan, const ModelInspection& model) {
  const std::size_t layers = model.architecture.moe_layers;
  return layers == 0 ? 0 : static_cast<double>(plan.expert_slots) / static_cast<double>(layers);
}

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

/// "89.1 M", "79.7 B".
std::string format_count(std::uint64_t count) {
  const auto value = static_cast<double>(count);
  if (count < 1'000'000) return fmt::format("{:.1f} K", value / 1e3);
  if (count < 1'000'000'000) return fmt::format("{:.1f} M", value / 1e6);
  return fmt::format("{:.1f} B", value / 1e9);
}

Json to_json(const std::vector<ExpertSlotClass>& classes) {
  Json json = Json::array();
  for (const ExpertSlotClass& c : classes) {
    json.push_back({{"slot_bytes", c.slot_bytes},
                    {"slots", c.slots},
                    {"layers", c.layers},
                    {"experts", c.experts}});
  }
  return json;
}

Json to_json(const MemoryPlan& plan, const ModelInspection& model) {
  return {{"budget_bytes", plan.budget_bytes},
          {"works", plan.budget_bytes >= plan.budget_bytes_min},
          {"prefill_chunk", plan.prefill_chunk},
          {"buffer_bytes", plan.buffer_bytes},
          {"expert_slots", plan.expert_slots},
          {"expert_bytes", plan.expert_bytes},
          {"slot_classes", to_json(plan.expert_classes)},
          {"experts_per_layer", experts_per_layer(plan, model)}};
}

Json architecture_json(const ModelInspection& model) {
  const ModelArchitecture& a = model.architecture;
  return {{"model_type", model.info.model_type},
          {"num_hidden_layers", model.info.layer_count},
          {"full_attention_layers", a.full_attention_layers},
          {"sliding_attention_layers", a.sliding_attention_layers},
          {"latent_attention_layers", a.latent_attention_layers},
          {"linear_attention_layers", a.linear_attention_layers},
          {"moe_layers", a.moe_layers},
          {"hidden_size", model.info.hidden_size},
          {"num_attention_heads", a.num_attention_heads},
          {"num_key_value_heads", a.num_key_value_heads},
          {"head_dim", a.head_dim},
          {"sliding_window", a.sliding_window},
          {"sliding_num_key_value_heads", a.sliding_num_key_value_heads},
          {"sliding_head_dim", a.sliding_head_dim},
          {"kv_lora_rank", a.kv_lora_rank},
          {"qk_rope_head_dim", a.qk_rope_head_dim},
          {"indexer_n_heads", a.indexer_num_heads},
          {"indexer_head_dim", a.indexer_head_dim},
          {"indexer_budget", a.indexer_budget},
          {"indexer_compress_ratio", a.indexer_compress_ratio},
          {"ngram_embedding_layers", a.ngram_embedding_layers},
          {"ngram_rows_per_token", a.ngram_rows_per_token},
          {"residual_streams", model.info.residual_streams},
          {"linear_num_key_heads", a.linear_num_key_heads},
          {"linear_num_value_heads", a.linear_num_value_heads},
          {"linear_key_head_dim", a.linear_key_head_dim},
          {"linear_value_head_dim", a.linear_value_head_dim},
          {"num_experts", model.info.num_experts},
          {"num_experts_per_tok", model.info.num_experts_per_tok},
          {"moe_intermediate_size", a.moe_intermediate_size},
          {"shared_expert_intermediate_size", a.shared_expert_intermediate_size},
          {"vocab_size", model.info.vocab_size},
          {"max_position_embeddings", a.max_position_embeddings},
          {"tie_word_embeddings", a.tie_word_embeddings},
          {"parameter_count", model.parameter_count},
          {"active_parameter_count", model.active_parameter_count}};
}

Json to_json(const ModelInspection& model, bool with_tensors) {
  Json groups = Json::array();
  for (const TensorGroup& group : model.groups) {
    groups.push_back({{"role", to_string(group.role)},
                      {"format", group.format},
                      {"tensor_count", group.tensor_count},
                      {"size_bytes", group.size_bytes}});
  }
  Json budgets = Json::array();
  for (const MemoryPlan& plan : model.plans) budgets.push_back(to_json(plan, model));
  const MemoryPlan& least = model.minimum;
  Json json = {{"architecture", architecture_json(model)},
               {"checkpoint",
                {{"layout", model.layout},
                 {"format", model.format},
                 {"file_count", model.file_count},
                 {"has_tokenizer", model.has_tokenizer}}},
               {"groups", std::move(groups)},
               {"expert",
                {{"size_bytes", model.expert_bytes},
                 {"slot_bytes", least.expert_slot_bytes},
                 {"count", least.expert_count},
                 {"slot_classes", to_json(model.expert_classes)}}},
               {"ngram_table_bytes", model.ngram_table_bytes},
               {"context", least.context},
               {"kv_precision", to_string(least.kv_precision)},
               {"kv_bytes_per_token", model.kv_bytes_per_token},
               {"budget_bytes_min", least.budget_bytes_min},
               {"request_bytes_min", model.request_bytes_min},
               {"budget_bytes_resident", least.budget_bytes_resident},
               {"minimum",
                {{"process_bytes", least.process_bytes},
                 {"dense_bytes", least.dense_bytes},
                 {"kv_bytes", least.kv_bytes},
                 {"recurrent_bytes", least.recurrent_bytes},
                 {"buffer_bytes", least.buffer_bytes},
                 {"expert_bytes", least.expert_bytes},
                 {"expert_slots", least.expert_slots},
                 {"prefill_chunk", least.prefill_chunk}}},
               {"budgets", std::move(budgets)},
               {"warnings", model.info.warnings}};
  if (!with_tensors) return json;
  json["tensors"] = Json::array();
  for (const InspectedTensor& tensor : model.tensors) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"role", to_string(tensor.role)},
                               {"format", tensor.format},
                               {"dtype", tensor.dtype},
                               {"shape", tensor.shape},
                               {"size_bytes", tensor.size_bytes},
                               {"file", tensor.file}});
  }
  return json;
}

/// "48: 12 full attention, 36 gated DeltaNet; 48 with experts", with what there is.
std::string layers_text(std::size_t count, const ModelArchitecture& a) {
  std::vector<std::string> kinds;
  const auto add = [&kinds](std::size_t layers, std::string_view kind) {
    if (layers > 0) kinds.push_back(fmt::format("{} {}", layers, kind));
  };
  add(a.full_attention_layers, "full attention");
  add(a.sliding_attention_layers, "sliding attention");
  add(a.latent_attention_layers, "latent attention");
  add(a.linear_attention_layers, "gated DeltaNet");
  return fmt::format("{}: {}; {} with experts", count, fmt::join(kinds, ", "), a.moe_layers);
}

std::string_view layout_name(std::string_view layout) {
  if (layout == "mlx") return "MLX layout";
  return layout == "gguf" ? "GGUF" : "Hugging Face layout";
}

std::string architecture_text(const ModelInspection& model) {
  const ModelArchitecture& a = model.architecture;
  const ModelInfo& info = model.info;
  std::string text =
      fmt::format("{}, {} parameters, {} active per token\n", info.model_type,
                  format_count(model.parameter_count), format_count(model.active_parameter_count));
  const auto line = [&text](std::string_view label, const std::string& value) {
    text += fmt::format("  {:<12} {}\n", label, value);
  };
  line("layers", layers_text(info.layer_count, a));
  line("hidden", fmt::format("{}{}", info.hidden_size,
                             info.residual_streams > 1
                                 ? fmt::format(", in {} residual streams", info.residual_streams)
                                 : ""));
  if (a.full_attention_layers > 0) {
    line("attention", fmt::format("{} query heads, {} key/value heads of {}", a.num_attention_heads,
                                  a.num_key_value_heads, a.head_dim));
  }
  if (a.indexer_budget > 0) {
    line("indexer",
         fmt::format("{} heads of {}, choosing {} tokens in runs of {}", a.indexer_num_heads,
                     a.indexer_head_dim, a.indexer_budget, a.indexer_compress_ratio));
  }
  if (a.sliding_attention_layers > 0) {
    line("sliding", fmt::format("{} query heads, {} key/value heads of {}, over {} tokens",
                                a.num_attention_heads, a.sliding_num_key_value_heads,
                                a.sliding_head_dim, a.sliding_window));
  }
  if (a.latent_attention_layers > 0) {
    line("attention",
         fmt::format("{} query heads of {}, on latents of {} and keys of {}", a.num_attention_heads,
                     a.head_dim, a.kv_lora_rank, a.qk_rope_head_dim));
  }
  if (a.linear_attention_layers > 0) {
    line("DeltaNet",
         fmt::format("{} key heads of {}, {} value heads of {}", a.linear_num_key_heads,
                     a.linear_key_head_dim, a.linear_num_value_heads, a.linear_value_head_dim));
  }
  if (a.moe_layers > 0) {
    line("experts",
         fmt::format("{} per layer, {} per token, intermediate {}{}", info.num_experts,
                     info.num_experts_per_tok, a.moe_intermediate_size,
                     a.shared_expert_intermediate_size == 0
                         ? ""
                         : fmt::format("; shared expert {}", a.shared_expert_intermediate_size)));
  }
  if (a.ngram_embedding_layers > 0) {
    line("n-grams", fmt::format("tables of {} for {} layer{}, which stay on disk; {} rows of {} "
                                "read per token",
                                format_size(model.ngram_table_bytes), a.ngram_embedding_layers,
                                a.ngram_embedding_layers == 1 ? "" : "s", a.ngram_rows_per_token,
                                a.ngram_embedding_layers == 1 ? "it" : "each"));
  }
  line("vocabulary", fmt::format("{}{}", info.vocab_size,
                                 a.tie_word_embeddings ? ", embedding tied to lm_head" : ""));
  line("context", fmt::format("up to {} tokens", a.max_position_embeddings));
  line("checkpoint", fmt::format("{} in {} file{}, {}{}", model.format, model.file_count,
                                 model.file_count == 1 ? "" : "s", layout_name(model.layout),
                                 model.has_tokenizer ? "" : ", no tokenizer: token ids only"));
  return text;
}

std::string groups_text(const ModelInspection& model) {
  std::uint64_t total = 0;
  std::size_t count = 0;
  for (const TensorGroup& group : model.groups) {
    total += group.size_bytes;
    count += group.tensor_count;
  }
  constexpr const char* kRow = "  {:<16} {:<18} {:>8} {:>11} {:>7}\n";
  std::string text = fmt::format(kRow, "role", "format", "tensors", "size", "share");
  for (const TensorGroup& group : model.groups) {
    text += fmt::format(kRow, to_string(group.role), group.format, group.tensor_count,
                        format_size(group.size_bytes),
                        fmt::format("{:.1f} %", percent(group.size_bytes, total)));
  }
  return text + fmt::format(kRow, "total", "", count, format_size(total), "");
}

std::string minimum_text(const ModelInspection& model) {
  const MemoryPlan& plan = model.minimum;
  std::string text = fmt::format("smallest budget for a context of {}: {}\n", plan.context,
                                 budget_text(plan.budget_bytes_min));
  const auto line = [&text](const std::string& label, std::uint64_t size) {
    text += fmt::format("  {:<52} {:>11}\n", label, format_size(size));
  };
  line("process: code, libraries, tokenizer, tables", plan.process_bytes);
  line("dense weights", plan.dense_bytes);
  line(fmt::format("KV cache in {}, {} per token", to_string(plan.kv_precision),
                   format_size(model.kv_bytes_per_token)),
       plan.kv_bytes);
  line("recurrent state", plan.recurrent_bytes);
  line(fmt::format("buffers, for {} prompt tokens at a time", plan.prefill_chunk),
       plan.buffer_bytes);
  if (plan.expert_slots > 0) {
    line(fmt::format("{} experts, as many as a token meets in a layer", plan.expert_slots),
         plan.expert_bytes);
  }
  line("and for serve: requests, up to their tokens", model.request_bytes_min);
  return text;
}

/// "640", or by size "256 + 384".
std::string slots_text(const MemoryPlan& plan) {
  std::vector<std::size_t> slots;
  for (const ExpertSlotClass& c : plan.expert_classes) slots.push_back(c.slots);
  return slots.size() < 2 ? std::to_string(plan.expert_slots)
                          : fmt::format("{}", fmt::join(slots, " + "));
}

/// "1.2 MiB of memory", or by size "in memory 1.4 MiB in 8 layers, 1.2 MiB in 12".
std::string slot_sizes_text(const ModelInspection& model) {
  if (model.expert_classes.size() < 2) {
    return format_size(model.minimum.expert_slot_bytes) + " of memory";
  }
  std::vector<std::string> sizes;
  for (const ExpertSlotClass& c : model.expert_classes) {
    const std::string_view layers = !sizes.empty() ? "" : c.layers == 1 ? " layer" : " layers";
    sizes.push_back(fmt::format("{} in {}{}", format_size(c.slot_bytes), c.layers, layers));
  }
  return fmt::format("in memory {}", fmt::join(sizes, ", "));
}

std::string budgets_text(const ModelInspection& model) {
  constexpr const char* kRow = "  {:>12} {:>16} {:>14} {:>10} {:>14}  {}\n";
  std::string text =
      fmt::format(kRow, "budget", "experts/layer", "experts", "of all", "prefill chunk", "");
  for (const MemoryPlan& plan : model.plans) {
    std::string_view note;
    if (plan.budget_bytes < plan.budget_bytes_min) note = "too small";
    if (plan.budget_bytes == plan.budget_bytes_min) note = "smallest";
    if (plan.budget_bytes == plan.budget_bytes_resident) note = "every expert stays in memory";
    text += fmt::format(kRow, format_size(plan.budget_bytes),
                        fmt::format("{:.1f}", experts_per_layer(plan, model)), slots_text(plan),
                        fmt::format("{:.1f} %", percent(plan.expert_slots, plan.expert_count)),
                        plan.prefill_chunk, note);
  }
  return text;
}

std::string tensors_text(const ModelInspection& model) {
  std::size_t width = 0;
  for (const InspectedTensor& tensor : model.tensors) width = std::max(width, tensor.name.size());
  std::string text;
  for (const InspectedTensor& tensor : model.tensors) {
    text += fmt::format("  {:<{}} {:<14} {:<5} {:<20} {:>11}  {}\n", tensor.name, width,
                        to_string(tensor.role), tensor.dtype,
                        fmt::format("[{}]", fmt::join(tensor.shape, ", ")),
                        format_size(tensor.size_bytes), tensor.file);
  }
  return text;
}

std::string to_text(const ModelInspection& model, bool with_tensors) {
  std::string text = architecture_text(model) + "\n" + groups_text(model) + "\n";
  if (with_tensors) text += tensors_text(model) + "\n";
  if (model.minimum.expert_count > 0) {
    text += fmt::format("one routed expert: {}{} in the files, {}; {} of them\n\n",
                        model.expert_classes.size() < 2 ? "" : "up to ",
                        format_size(model.expert_bytes), slot_sizes_text(model),
                        model.minimum.expert_count);
  }
  return text + minimum_text(model) + "\n" + budgets_text(model);
}

Status inspect(const InspectFlags& flags) {
  InspectOptions options = {.model = flags.model,
                            .context = flags.context,
                            .prefill_chunk = flags.prefill_chunk,
                            .kv_precision = flags.kv_precision};
  for (const std::string& budget : flags.budgets) {
    FM_ASSIGN_OR_RETURN(options.budgets.emplace_back(), parse_memory(budget));
  }
  FM_ASSIGN_OR_RETURN(const ModelInspection model, inspect_model(options));
  if (!flags.json) print_warnings(model.info);
  return flags.json ? print_json(to_json(model, flags.tensors))
                    : print(to_text(model, flags.tensors));
}

}  // namespace

void add_inspect(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand(
      "inspect", "What a model is made of, and what each memory budget holds of it");
  add_model_argument(*command, flags->model);
  command->add_option("--memory", flags->budgets, "More budgets to show, as 12GiB,17.7GB")
      ->delimiter(',')
      ->allow_extra_args(false)  // one list: the next word may be MODEL
      ->type_name("SIZE,...")
      ->configurable(false)
      ->group(kModelOptions);
  add_whole_number(*command, "-c,--context,--ctx-size", flags->context, {1, std::uint64_t{1} << 30},
                   fmt::format("Most tokens of a conversation; default: the model's limit, at most "
                               "{}",
                               kDefaultContext))
      ->default_str("")
      ->group(kModelOptions);
  add_kv_flag(*command, flags->kv_precision);
  add_whole_number(*command, "--prefill-chunk", flags->prefill_chunk, {1, 65536},
                   "Prompt tokens computed at a time; default: by the budget")
      ->default_str("")
      ->group(kSpeedOptions);
  command->add_flag("--tensors", flags->tensors, "List every tensor")->group(kOutputOptions);
  command->add_flag("--json", flags->json, "Print one JSON object, sizes in bytes")
      ->group(kOutputOptions);
  command->footer(kInspectExamples);
  command->callback([flags, &exit_code] {
    const Status status = inspect(*flags);
    exit_code = status.ok() ? kExitOk : report(status);
  });
}

}  // namespace flashmoe::cli
