// What Ollama's clients are told of the models that there are: the one that is served.
#include "server/ollama_library.h"

#include <fmt/format.h>

#include "server/reply_writer.h"

namespace flashmoe::server {
namespace {

/// What Ollama's clients show of a model, as far as it is known.
Json ollama_details(const ModelCard& card) {
  return {{"parent_model", ""},        {"format", card.format},
          {"family", card.model_type}, {"families", Json::array({card.model_type})},
          {"parameter_size", ""},      {"quantization_level", ""}};
}

/// The name that a request means: "model", or "name" of older clients.
std::string model_of(Fields& fields) {
  const std::optional<std::string> model = fields.text("model");
  return model && !model->empty() ? *model : fields.text("name").value_or("");
}

/// Ollama's names have a tag, and "latest" goes without saying.
std::string_view without_tag(std::string_view name) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.remove_suffix(kLatest.size());
  return name;
}

}  // namespace

Json ollama_models_json(const ModelCard& card) {
  const Json model = {{"name", card.id},
                      {"model", card.id},
                      {"modified_at", rfc3339(card.created)},
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

ApiResult<HttpResponse> ollama_pull(const ModelCard& card, const Json& body) {
  Fields fields(body);
  const std::string name = model_of(fields);
  const bool is_stream = fields.boolean("stream").value_or(true);
  if (fields.error()) return *fields.error();
  if (name.empty()) return bad_request("model", "model: is missing");
  if (without_tag(name) != without_tag(card.id)) {
    return ApiError{.status = 404,
                    .message = fmt::format("{} is not here: this server has {} and downloads no "
                                           "other; start it with the model that is wanted",
                                           name, card.id)};
  }
  const Json success = {{"status", "success"}};
  if (!is_stream) return HttpResponse{.body = dump(success)};
  return HttpResponse{.content_type = "application/x-ndjson",
                      .body = dump({{"status", "pulling manifest"}}) + "\n" + dump(success) + "\n"};
}

ApiError ollama_unchangeable(std::string_view path) {
  return {.status = 501,
          .message = fmt::format("{} is not supported: this server has one model, the one that it "
                                 "was started with",
                                 path),
          .code = "not_supported"};
}

}  // namespace flashmoe::server
