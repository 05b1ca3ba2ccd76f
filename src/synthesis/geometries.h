#ifndef FLASHMOE_SYNTHESIS_GEOMETRIES_H_
#define FLASHMOE_SYNTHESIS_GEOMETRIES_H_

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "flashmoe/synthesis.h"

namespace flashmoe {

/// The config.json that `options` ask for, without quantisation: a named geometry or a file, with
/// the numbers of layers and experts replaced. Errors: kInvalidArgument, naming the option; those
/// of load_json_file.
Result<nlohmann::json> geometry_config(const SynthesisOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_SYNTHESIS_GEOMETRIES_H_
