#include "experts/routing_trace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace flashmoe {
namespace {

constexpr std::size_t kExpertsMax = std::size_t{1} << 16;

Status check_sizes(const RoutingTraceData& data) {
  if (data.layer_count == 0 || data.token_count == 0 || data.experts_per_token == 0) {
    return error(StatusCode::kCorrupt, "no layers, tokens or experts: {} x {} x {}",
                 data.layer_count, data.token_count, data.experts_per_token);
  }
  std::size_t count = data.layer_count;
  if (__builtin_mul_overflow(count, data.token_count, &count) ||
      __builtin_mul_overflow(count, data.experts_per_token, &count) || count != data.ids.size()) {
    return error(StatusCode::kCorrupt, "{} ids for {} layers x {} tokens x {} experts",
                 data.ids.size(), data.layer_count, data.token_count, data.experts_per_token);
  }
  if (!data.weights.empty() && data.weights.size() != count) {
    return error(StatusCode::kCorrupt, "{} weights for {} ids", data.weights.size(), count);
  }
  if (!data.num_experts.empty() && data.num_experts.size() != data.layer_count) {
    return error(StatusCode::kCorrupt, "num_experts has {} entries for {} layers",
                 data.num_experts.size(), data.layer_count);
  }
  return Status();
}

Status check_boundaries(const RoutingTraceData& data) {
  if (data.starts.empty() || data.starts.front() != 0) {
    return error(StatusCode::kCorrupt, "the first sequence does not begin with token 0");
  }
  const auto check = [&](const char* name, const std::vector<std::size_t>& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= data.token_count || (i > 0 && tokens[i] <= tokens[i - 1])) {
        return error(StatusCode::kCorrupt, "{}: entry {}, token {}, does not ascend within {}",
                     name, i, tokens[i], data.token_count);
      }
    }
    return Status();
  };
  FM_RETURN_IF_ERROR(check("starts", data.starts));
  return check("switches", data.switches);
}

/// Ids of one layer: in range, and no expert twice in one choice.
Status check_ids(const RoutingTraceData& data, std::size_t layer, std::size_t num_experts) {
  const std::size_t k = data.experts_per_token;
  std::vector<std::size_t> last_token(num_experts, std::numeric_limits<std::size_t>::max());
  for (std::size_t t = 0; t < data.token_count; ++t) {
    for (std::size_t r = 0; r < k; ++r) {
      const std::uint16_t id = data.ids[(layer * data.token_count + t) * k + r].value;
      if (id >= num_experts) {
        return error(StatusCode::kCorrupt, "layer {} token {}: expert {} of {}", layer, t, id,
                     num_experts);
      }
      if (std::exchange(last_token[id], t) == t) {
        return error(StatusCode::kCorrupt, "layer {} token {}: expert {} twice", layer, t, id);
      }
    }
  }
  return Status();
}

}  // namespace

Result<RoutingTrace> RoutingTrace::create(RoutingTraceData data) {
  FM_RETURN_IF_ERROR(check_sizes(data));
  FM_RETURN_IF_ERROR(check_boundaries(data));
  const bool declared = !data.num_experts.empty();
  const std::size_t ids_per_layer = data.token_count * data.experts_per_token;
  for (std::size_t l = 0; l < data.layer_count; ++l) {
    if (!declared) {
      const auto ids = std::span(data.ids).subspan(l * ids_per_layer, ids_per_layer);
      data.num_experts.push_back(std::size_t{std::ranges::max(ids).value} + 1);
    }
    const std::size_t num_experts = data.num_experts[l];
    if (num_experts > kExpertsMax) {
      return error(StatusCode::kCorrupt, "layer {} has {} experts, more than {}", l, num_experts,
                   kExpertsMax);
    }
    FM_RETURN_IF_ERROR(check_ids(data, l, num_experts));
  }
  for (std::size_t i = 0; i < data.weights.size(); ++i) {
    if (!std::isfinite(data.weights[i]) || data.weights[i] < 0) {
      return error(StatusCode::kCorrupt, "layer {} token {}: weight {}", i / ids_per_layer,
                   i % ids_per_layer / data.experts_per_token, data.weights[i]);
    }
  }
  return RoutingTrace(std::move(data), declared);
}

}  // namespace flashmoe
