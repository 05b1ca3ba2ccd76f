#ifndef FLASHMOE_EXPERTS_TRACE_GENERATOR_H_
#define FLASHMOE_EXPERTS_TRACE_GENERATOR_H_

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "experts/routing_trace.h"

namespace flashmoe {

struct TraceGeneratorOptions {
  std::size_t layer_count = 48;
  std::size_t token_count = 2048;
  std::size_t num_experts = 512;
  std::size_t experts_per_token = 10;
  std::uint64_t seed = 0;
  /// Every choice equally likely and independent: the worst case for any cache.
  bool uniform = false;
  /// A change of subject after every so many tokens; 0: none. Not if uniform.
  std::size_t switch_every = 0;
};

/// One sequence of made-up routing, the same on every machine for the same options. It meets the
/// published hit rates of LRU for routers of 512 experts, top 10, by construction: each expert is
/// drawn by how long ago it was routed, 67 % among the latest eighth of a layer's experts and 81 %
/// among the latest quarter. Within such a group popular experts are drawn more often. After a
/// change of subject, experts that the old subject did not use much come in at the published pace
/// (docs/traces.md). Errors: kInvalidArgument, naming what does not fit.
Result<RoutingTrace> generate_trace(const TraceGeneratorOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_TRACE_GENERATOR_H_
