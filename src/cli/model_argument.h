#ifndef FLASHMOE_CLI_MODEL_ARGUMENT_H_
#define FLASHMOE_CLI_MODEL_ARGUMENT_H_

#include <CLI/App.hpp>
#include <string>
#include <vector>

namespace flashmoe::cli {

/// Adds MODEL as the command's first argument, and as -m, which may be preset. `model`, which must
/// outlive `command`, is set once the command line is read; without any it is an error.
void add_model_argument(CLI::App& command, std::string& model,
                        const std::string& help = "Model folder, as downloaded");

/// As add_model_argument(), and after MODEL a PROMPT, which is added to `prompts`. Where -m names
/// the model, the one argument is the PROMPT; where the model is preset, it is unless there is a
/// model of that name.
void add_model_and_prompt_arguments(CLI::App& command, std::string& model,
                                    std::vector<std::string>& prompts);

}  // namespace flashmoe::cli

#endif  // FLASHMOE_CLI_MODEL_ARGUMENT_H_
