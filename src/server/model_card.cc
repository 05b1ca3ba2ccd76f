#include "server/model_card.h"

namespace flashmoe::server {
namespace {

/// What Ollama's clients show of a model, as far as it is known.
Json ollama_details(const ModelCard& card) {
  return {{"parent_model", ""},        {"format", "safetensors"},
          {"family", card.model_type}, {"families", Json::array({card.model_type})},
          {"parameter_size", ""},      {"quantization_level", ""}};
}

}  // namespace

Json openai_model_json(const ModelCard& card) {
  return {{"id", card.id},
          {"object", "model"},
          {"created", card.created},
          {"owned_by", "flash-moe"},
          {"max_model_len", card.context},
          {"context_length", card.context},
          {"meta", {{"n_ctx_train", card.context}, {"size", card.size}}}};
}

Json ollama_models_json(const ModelCard& card) {
  const Json model = {{"name", card.id},
                      {"model", card.id},
                      {"modified_at", "1970-01-01T00:00:00Z"},
                      {"size", card.size},
                      {"digest", card.digest},
                      {"details", ollama_details(card)},
                      {"expires_at", "2318-01-01T00:00:00Z"},  // never
                      {"size_vram", 0},
                      {"context_length", card.context}};
  return {{"models", Json::array({model})}};
}

Json ollama_show_json(const ModelCard& card, const ModelInfo& info, const ModelService& service) {
  Json capabilities = Json::array({"completion"});
  if (service.tool_syntax() != ToolSyntax::kNone) capabilities.push_back("tools");
  if (service.can_think()) capabilities.push_back("thinking");
  if (service.can_fill()) capabilities.push_back("insert");
  const Json about = {{"general.architecture", card.model_type},
                      {card.model_type + ".context_length", card.context},
                      {card.model_type + ".expert_count", info.num_experts},
                      {card.model_type + ".expert_used_count", info.num_experts_per_tok},
                      {card.model_type + ".block_count", info.layer_count},
                      {card.model_type + ".embedding_length", info.hidden_size}};
  return {{"modelfile", ""},     {"parameters", ""},
          {"template", ""},      {"details", ollama_details(card)},
          {"model_info", about}, {"capabilities", capabilities}};
}

}  // namespace flashmoe::server
