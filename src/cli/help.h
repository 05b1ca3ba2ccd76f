#ifndef FLASHMOE_CLI_HELP_H_
#define FLASHMOE_CLI_HELP_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "cli/command_facts.h"

namespace flashmoe::cli {

/// Help on a command, in lines of at most `width` columns as far as words allow. `all`: also of
/// options that few people need.
std::string help_text(const CommandFacts& command, bool all, std::size_t width);

/// `text` in lines of `width`, each but the first after `indent` blanks. Line ends in it stay.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t width);

/// A name and what it means, beside it or below.
std::string help_entry(const std::string& heading, const std::string& meaning, std::size_t width);

/// The columns that text written to `descriptor` may take: of its terminal, else what COLUMNS says,
/// between 40 and 100; 100 where neither tells.
std::size_t text_width(int descriptor);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_HELP_H_
