#include "server/model_card.h"

#include "server/reply_writer.h"

namespace flashmoe::server {
Json openai_model_json(const ModelCard& card) {
  return {{"id", card.id},
          {"object", "model"},
          {"created", card.created},
          {"owned_by", "flash-moe"},
          {"max_model_len", card.context},
          {"context_length", card.context},
          {"meta", {{"n_ctx_train", card.context}, {"size", card.size}}}};
}

Json openai_models_json(const ModelCard& card) {
  return {{"object", "list"}, {"data", Json::array({openai_model_json(card)})}};
}

Json anthropic_model_json(const ModelCard& card) {
  return {{"type", "model"},           {"id", card.id},
          {"display_name", card.id},   {"created_at", rfc3339(card.created)},
          {"lifecycle", "active"},     {"max_input_tokens", card.context},
          {"max_tokens", card.context}};
}

Json anthropic_models_json(const ModelCard& card, std::string_view query) {
  // Of one model, what comes after any or before any is nothing.
  const bool is_beside = query.find("after_id=") != std::string_view::npos ||
                         query.find("before_id=") != std::string_view::npos;
  Json data = Json::array();
  if (!is_beside) data.push_back(anthropic_model_json(card));
  const Json id = is_beside ? Json() : Json(card.id);
  return {{"data", data}, {"has_more", false}, {"first_id", id}, {"last_id", id}};
}

}  // namespace flashmoe::server
