#ifndef FLASHMOE_SERVER_MODEL_CARD_H_
#define FLASHMOE_SERVER_MODEL_CARD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/fields.h"

namespace flashmoe::server {

/// What clients are told of the model.
struct ModelCard {
  std::string id;                      // the name it answers to
  std::string model_type;              // as config.json has it
  std::string digest;                  // of the model's identity, hexadecimal
  std::size_t context = 0;             // tokens
  std::uint64_t size = 0;              // of the files, bytes
  std::string format = "safetensors";  // of the files
  std::int64_t created = 0;
};

/// GET /v1/models/ID.
Json openai_model_json(const ModelCard& card);
Json anthropic_model_json(const ModelCard& card);
/// GET /v1/models. Anthropic's is in pages: `query` may say what to begin after or to end before.
Json openai_models_json(const ModelCard& card);
Json anthropic_models_json(const ModelCard& card, std::string_view query);
}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_MODEL_CARD_H_
