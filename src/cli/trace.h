#ifndef FLASHMOE_CLI_TRACE_H_
#define FLASHMOE_CLI_TRACE_H_

#include <CLI/App.hpp>

namespace flashmoe::cli {

// The subcommands of `trace`; as in commands.h.
void add_trace_autotune(CLI::App& trace, int& exit_code);
void add_trace_compare(CLI::App& trace, int& exit_code);
void add_trace_generate(CLI::App& trace, int& exit_code);
void add_trace_info(CLI::App& trace, int& exit_code);
void add_trace_replay(CLI::App& trace, int& exit_code);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_TRACE_H_
