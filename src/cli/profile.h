#ifndef FLASHMOE_CLI_PROFILE_H_
#define FLASHMOE_CLI_PROFILE_H_

#include <CLI/App.hpp>

namespace flashmoe::cli {

// The subcommands of `flash-moe profile`.
void add_profile_make(CLI::App& profile, int& exit_code);
void add_profile_merge(CLI::App& profile, int& exit_code);
void add_profile_inspect(CLI::App& profile, int& exit_code);
void add_profile_compare(CLI::App& profile, int& exit_code);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_PROFILE_H_
