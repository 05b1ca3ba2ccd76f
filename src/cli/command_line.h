#ifndef FLASHMOE_CLI_COMMAND_LINE_H_
#define FLASHMOE_CLI_COMMAND_LINE_H_

#include <CLI/App.hpp>
#include <memory>
#include <string>
#include <vector>

namespace flashmoe::cli {

/// The program with all its commands. A command that is chosen runs while the line is parsed and
/// sets `exit_code`, which must outlive the result.
std::unique_ptr<CLI::App> make_app(int& exit_code);

/// Does what the arguments, without the program's name, ask for. The exit code.
int run_command_line(std::vector<std::string> arguments);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_COMMAND_LINE_H_
