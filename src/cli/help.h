#ifndef FLASHMOE_CLI_HELP_H_
#define FLASHMOE_CLI_HELP_H_

#include <cstddef>
#include <string>

#include "cli/command_facts.h"

namespace flashmoe::cli {

/// Help on a command, in lines of at most `width` columns as far as words allow. `all`: also of
/// options that few people need.
std::string help_text(const CommandFacts& command, bool all, std::size_t width);

/// The columns that help may take: the terminal's, between 40 and 100; 100 where there is none.
std::size_t help_width();

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_HELP_H_
