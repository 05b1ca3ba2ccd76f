#ifndef FLASHMOE_CLI_USAGE_ERROR_H_
#define FLASHMOE_CLI_USAGE_ERROR_H_

#include <CLI/App.hpp>
#include <CLI/Error.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::cli {

/// What is wrong with the command line that `app` refused with `error`, in words that a user can
/// act on: a line for each option that there is not, in the order typed, or else one line.
std::vector<std::string> explain(CLI::App& app, const std::vector<std::string>& arguments,
                                 const CLI::ParseError& error);

/// Writes `arguments` of `command` as the library takes them: -n=3 as -n3. Returns a line for each
/// option that has one dash of the two it needs, as -threads: the library would take it for -t and
/// its value.
std::vector<std::string> respell(const CLI::App& command, std::vector<std::string>& arguments);

/// The one of `names` that somebody may have meant by `typed`; empty: none comes close.
std::string closest(std::string_view typed, std::span<const std::string> names);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_USAGE_ERROR_H_
