#ifndef FLASHMOE_CLI_COMMANDS_H_
#define FLASHMOE_CLI_COMMANDS_H_

#include <CLI/App.hpp>

namespace flashmoe::cli {

// Each adds its subcommand to `app`; when the user chose it, it runs during parsing and sets
// `exit_code`.
void add_bench(CLI::App& app, int& exit_code);
void add_chat(CLI::App& app, int& exit_code);
void add_completion(CLI::App& app, int& exit_code);
void add_doctor(CLI::App& app, int& exit_code);
void add_eval(CLI::App& app, int& exit_code);
void add_forward(CLI::App& app, int& exit_code);
void add_inspect(CLI::App& app, int& exit_code);
void add_man(CLI::App& app, int& exit_code);
void add_render(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code);
void add_serve(CLI::App& app, int& exit_code);
void add_synth(CLI::App& app, int& exit_code);
void add_tokenize(CLI::App& app, int& exit_code);
void add_validate(CLI::App& app, int& exit_code);
void add_profile(CLI::App& app, int& exit_code);
void add_trace(CLI::App& app, int& exit_code);
void add_verify(CLI::App& app, int& exit_code);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_COMMANDS_H_
