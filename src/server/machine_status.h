#ifndef FLASHMOE_SERVER_MACHINE_STATUS_H_
#define FLASHMOE_SERVER_MACHINE_STATUS_H_

#include "flashmoe/engine.h"
#include "flashmoe/scheduler.h"
#include "server/fields.h"
#include "server/model_card.h"

namespace flashmoe::server {

/// GET /v1/cache/status: memory, experts, prompts seen before and requests. `with_map`: also "map",
/// a text for each layer, a letter for each expert: "." not in memory; "r" in memory and not used
/// of late; "a" to "i" used, from little to much; "A" to "I" likewise, but mostly missed.
Json machine_status_json(const ModelCard& card, const Engine& engine, const Scheduler& scheduler,
                         bool with_map);

}  // namespace flashmoe::server

#endif  // FLASHMOE_SERVER_MACHINE_STATUS_H_
