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
  /// What the index promises, with file indices into `files`; empty without an index.
  std::vector<std::pair<std::string, std::uint32_t>> tensor_files;
};

/// The files named by the index, or without one every model*.safetensors. Errors: kNotFound if
/// there are none or some are missing (all of which it names), kUnsupported if the weights are in
/// another format, kCorrupt, kIo.
Result<ShardList> find_shards(const std::filesystem::path& folder);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SHARD_LIST_H_
