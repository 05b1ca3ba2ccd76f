#ifndef FLASHMOE_CLI_OUTPUT_H_
#define FLASHMOE_CLI_OUTPUT_H_

#include <nlohmann/json.hpp>
#include <string_view>

#include "flashmoe/result.h"

namespace flashmoe::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // what was asked for could not be done
inline constexpr int kExitUsage = 2;    // what was asked for makes no sense
/// The reader of standard output went away, as `head` does: 128 + SIGPIPE, as if that had ended us.
inline constexpr int kExitNoReader = 141;

/// Opens /dev/null in place of standard descriptors that the process was started without. Else the
/// next file to be opened would take their number, and messages would go into it. Output to a
/// closed stdout still fails.
void occupy_standard_descriptors();

/// Prints "flash-moe: MESSAGE" to stderr and returns the exit code for `status`. Once print() found
/// no reader there is nothing to say: that is how users of `head` end a command.
int report(const Status& status);

/// Whether what goes to this standard descriptor may be colored: a terminal shows it, and its user
/// has not said otherwise (NO_COLOR).
bool takes_colors(int descriptor);

/// Writes to stderr. A failure is ignored: there is no one left to tell.
void print_note(std::string_view text);

/// Writes to stdout at once. Errors: kIo, if stdout is closed, its disk full or its reader gone.
Status print(std::string_view text);

/// One JSON value, indented, and a newline.
Status print_json(const nlohmann::ordered_json& value);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_OUTPUT_H_
