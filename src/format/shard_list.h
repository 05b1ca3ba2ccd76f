#ifndef FLASHMOE_FORMAT_SHARD_LIST_H_
#define FLASHMOE_FORMAT_SHARD_LIST_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace flashmoe {

/// What model.safetensors.index.json says: which tensor lies in which file.
struct ShardIndex {
  std::vector<std::string> file_names;                              // sorted, each once
  std::vector<std::pair<std::string, std::uint32_t>> tensor_files;  // into file_names
};

/// Parses the text of an index. A file name must be a plain one that ends in .safetensors: an index
/// cannot point outside its folder. `file` is for messages. Errors: kCorrupt.
Result<ShardIndex> parse_shard_index(std::string_view text, std::string_view file);

/// The weight files of a model folder, sorted by name.
struct ShardList {
  std::vector<std::filesystem::path> files;
  /// What the index says of these files, with indices into `files`; empty without an index.
  std::vector<std::pair<std::string, std::uint32_t>> tensor_files;
  /// Which files the index names that are not there; empty where all are.
  std::string complaint;
};

/// The files named by the index, or without one every model*.safetensors. Where files that the
/// index names are missing, those that are there and every other model*.safetensors, with a
/// complaint: they may hold all that a model needs, as where the index is another build's. Errors:
/// kNotFound if there are none, or some are missing without an index (all of which it names),
/// kUnsupported if the weights are in another format, kCorrupt, kIo.
Result<ShardList> find_shards(const std::filesystem::path& folder);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SHARD_LIST_H_
