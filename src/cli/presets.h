#ifndef FLASHMOE_CLI_PRESETS_H_
#define FLASHMOE_CLI_PRESETS_H_

#include <CLI/App.hpp>
#include <filesystem>
#include <string>

#include "flashmoe/result.h"

namespace flashmoe::cli {

/// The user's config file: $XDG_CONFIG_HOME/flash-moe/config.toml, or below ~/.config; empty if
/// neither is known.
std::filesystem::path config_path();

/// The environment variable of an option that may be preset, as "FLASHMOE_MEMORY"; else empty.
std::string variable_of(const CLI::Option& option);

/// Gives the options of `command`, one of the commands of `app`, the defaults that the environment
/// and the config file hold. What is typed comes before the environment, that before the file, and
/// in the file the command's table before the lines above all tables. FLASHMOE_PRESETS=off (0,
/// false, no) leaves both aside, for scripts that must not depend on who runs them.
///
/// Errors: kInvalidArgument for a key that no option has, whichever command it is for, and for a
/// value that the option refuses, naming the file, the line and the key, or the variable; kIo.
Status apply_presets(CLI::App& app, CLI::App& command);

/// As above, with the file's text at hand.
Status apply_config(CLI::App& app, CLI::App& command, const std::string& text,
                    const std::string& source);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_PRESETS_H_
