#ifndef FLASHMOE_MODEL_FAMILIES_HYBRID_H_
#define FLASHMOE_MODEL_FAMILIES_HYBRID_H_

#include "model/families/fields.h"

namespace flashmoe {

// What Qwen's hybrids share: gated attention, Gated DeltaNet and experts beside a gated shared one.

Result<AttentionSpec> read_hybrid_attention(const ConfigReader& reader);

Result<DeltaNetSpec> read_delta_net(const ConfigReader& reader);

Result<MoeSpec> read_hybrid_experts(const ConfigReader& reader);

}  // namespace flashmoe

#endif  // FLASHMOE_MODEL_FAMILIES_HYBRID_H_
