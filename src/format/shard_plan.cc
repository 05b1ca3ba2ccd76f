#include "format/shard_plan.h"

#include <fmt/format.h>

namespace flashmoe {

std::vector<Shard> plan_shards(std::span<const std::uint64_t> group_sizes,
                               std::uint64_t bytes_max) {
  std::vector<Shard> shards;
  std::uint64_t size = 0;  // of the last shard
  for (std::size_t i = 0; i < group_sizes.size(); ++i) {
    const bool fits = group_sizes[i] <= bytes_max && size <= bytes_max - group_sizes[i];
    if (shards.empty() || !fits) {
      shards.push_back({.begin = i});
      size = 0;
    }
    shards.back().end = i + 1;
    size += group_sizes[i];
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    shards[i].file_name =
        shards.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

}  // namespace flashmoe
