#ifndef FLASHMOE_SERVER_OLLAMA_LIBRARY_H_
#define FLASHMOE_SERVER_OLLAMA_LIBRARY_H_

#include "flashmoe/engine.h"
#include "http/http_message.h"
#include "server/api_error.h"
#include "server/fields.h"
#include "server/model_card.h"
#include "server/model_service.h"

namespace flashmoe::server {

/// GET /api/tags and /api/ps.
Json ollama_models_json(const ModelCard& card);
/// POST /api/show.
Json ollama_show_json(const ModelCard& card, const ModelInfo& info, const ModelService& service);

/// POST /api/pull: of the model that is here there is nothing left to do. Errors: 400 where no
/// model is named; 404 for any other, since this server downloads none.
ApiResult<HttpResponse> ollama_pull(const ModelCard& card, const Json& body);
/// Requests that would change which models there are: 501, saying what to do instead.
ApiError ollama_unchangeable(std::string_view path);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_OLLAMA_LIBRARY_H_
