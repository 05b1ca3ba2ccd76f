#ifndef FLASHMOE_CLI_RESIDENT_SET_PATH_H_
#define FLASHMOE_CLI_RESIDENT_SET_PATH_H_

#include <filesystem>
#include <optional>

namespace flashmoe::cli {

/// Where the set of experts in use is kept for the model in folder `model`: in the user's cache
/// folder ($XDG_CACHE_HOME/flash-moe, else ~/.cache/flash-moe), which is created, for the user
/// alone. None if there is no such folder and none can be made, or if it belongs to somebody else.
std::optional<std::filesystem::path> resident_set_path(const std::filesystem::path& model);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_RESIDENT_SET_PATH_H_
