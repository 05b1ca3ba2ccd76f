#ifndef FLASHMOE_FORMAT_SHARD_PLAN_H_
#define FLASHMOE_FORMAT_SHARD_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace flashmoe {

/// Consecutive groups of tensors that share a file: groups [begin, end).
struct Shard {
  std::string file_name;  // "model-00001-of-00009.safetensors"; alone: "model.safetensors"
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Cuts groups of tensors of these sizes, in their order, into files of at most `bytes_max` (a
/// larger group has a file of its own), as MLX's converter cuts single tensors.
std::vector<Shard> plan_shards(std::span<const std::uint64_t> group_sizes, std::uint64_t bytes_max);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SHARD_PLAN_H_
