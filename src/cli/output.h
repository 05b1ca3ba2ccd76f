#ifndef FLASHMOE_CLI_OUTPUT_H_
#define FLASHMOE_CLI_OUTPUT_H_

#include <nlohmann/json.hpp>
#include <string_view>

#include "flashmoe/result.h"

namespace flashmoe::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // what was asked for could not be done
inline constexpr int kExitUsage = 2;    // what was asked for makes no sense

/// Opens /dev/null in place of standard descriptors that the process was started without. Else the
/// next file to be opened would take their number, and messages would go into it. Output to a
/// closed stdout still fails.
void occupy_standard_descriptors();

/// Prints "flash-moe: MESSAGE" to stderr and returns the exit code for `status`.
int report(const Status& status);

/// Writes to stderr. A failure is ignored: there is no one left to tell.
void print_note(std::string_view text);

/// Writes to stdout at once. Errors: kIo, if stdout is closed or its disk is full.
Status print(std::string_view text);

/// One JSON value, indented, and a newline.
Status print_json(const nlohmann::ordered_json& value);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_OUTPUT_H_
