#ifndef FLASHMOE_CLI_USER_FOLDER_H_
#define FLASHMOE_CLI_USER_FOLDER_H_

#include <filesystem>
#include <optional>

namespace flashmoe::cli {

/// The folder that the environment's `variable` names, as XDG_CACHE_HOME does, or else
/// $HOME/`below_home`. Values that are not absolute count as unset, as the XDG specification has
/// it. None if neither is known. Looks at no disk.
std::optional<std::filesystem::path> user_folder(const char* variable,
                                                 const std::filesystem::path& below_home);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_USER_FOLDER_H_
