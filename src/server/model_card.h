#ifndef FLASHMOE_SERVER_MODEL_CARD_H_
#define FLASHMOE_SERVER_MODEL_CARD_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "flashmoe/engine.h"
#include "server/fields.h"
#include "server/model_service.h"

namespace flashmoe::server {

/// What clients are told of the model.
struct ModelCard {
  std::string id;           // the name it answers to
  std::string model_type;   // as config.json has it
  std::string digest;       // of the model's identity, hexadecimal
  std::size_t context = 0;  // tokens
  std::uint64_t size = 0;   // of the files, bytes
  std::int64_t created = 0;
};

/// An entry of GET /v1/models.
Json openai_model_json(const ModelCard& card);
/// GET /api/tags and /api/ps.
Json ollama_models_json(const ModelCard& card);
/// POST /api/show.
Json ollama_show_json(const ModelCard& card, const ModelInfo& info, const ModelService& service);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_MODEL_CARD_H_
