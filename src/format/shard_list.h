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
  /// Every other model*.safetensors, which count where `files` lack a tensor of the index.
  std::vector<std::filesystem::path> others;
  /// What the index says of `files`, with indices into them; empty without a usable index.
  std::vector<std::pair<std::string, std::uint32_t>> tensor_files;
  /// What is wrong without harm if the files hold all that a model needs: an index that cannot be
  /// read, shards that it names or whose numbers say that they should be there. Else empty.
  std::string complaint;
};

/// The files named by the index. Where there is none, or one that cannot be read, or where files
/// that it names are missing: every model*.safetensors and what is there of those named. A file
/// whose download is under way counts as missing. Errors: kNotFound if there are none, kUnsupported
/// if the weights are in another format, kIo.
Result<ShardList> find_shards(const std::filesystem::path& folder);

}  // namespace flashmoe

#endif  // FLASHMOE_FORMAT_SHARD_LIST_H_
