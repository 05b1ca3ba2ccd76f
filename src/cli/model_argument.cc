#include "cli/model_argument.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "cli/option_groups.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

/// What the command line says of the model and the prompt.
struct Given {
  std::string first;   // argument
  std::string second;  // argument, of commands that take a prompt
  std::string model;   // -m, or a preset
};

/// A folder that could hold a model, rather than the words of a prompt.
bool is_model(const std::string& text) {
  std::error_code ignored;
  const std::filesystem::path path(text);
  return std::filesystem::exists(path / "config.json", ignored) ||
         std::filesystem::is_directory(path / "snapshots", ignored);
}

[[noreturn]] void refuse_two_models(const std::string& a, const std::string& b) {
  throw CLI::ValidationError(
      "MODEL", "is given twice, as '" + printable(a) + "' and with -m as '" + printable(b) + "'");
}

CLI::Option* add_model_flag(CLI::App& command, Given& given) {
  return command.add_option("-m,--model", given.model, "Another way to name MODEL")
      ->type_name("MODEL")
      ->group(kModelOptions);
}

void require_model(const std::string& model) {
  if (model.empty()) throw CLI::RequiredError("MODEL");
}

/// `flash-moe run "What is a river?"` where no model is set: words are no folder's name.
void refuse_prompt_alone(const std::string& model) {
  std::error_code ignored;
  if (model.find(' ') == std::string::npos || std::filesystem::exists(model, ignored)) return;
  throw CLI::ValidationError("MODEL", "is missing before the prompt '" + printable(model) +
                                          "'; or set FLASHMOE_MODEL (docs/cli.md)");
}

}  // namespace

void add_model_argument(CLI::App& command, std::string& model, const std::string& help) {
  auto given = std::make_shared<Given>();
  command.add_option("MODEL", given->first, help);
  CLI::Option* const flag = add_model_flag(command, *given);
  command.parse_complete_callback([&model, given, flag] {
    if (flag->count() > 0 && !given->first.empty()) refuse_two_models(given->first, given->model);
    model = given->first.empty() ? given->model : given->first;
    require_model(model);
  });
}

void add_model_and_prompt_arguments(CLI::App& command, std::string& model,
                                    std::vector<std::string>& prompts) {
  auto given = std::make_shared<Given>();
  CLI::Option* const first =
      command.add_option("MODEL", given->first, "Model folder, as downloaded");
  CLI::Option* const second =
      command.add_option("PROMPT", given->second, "What to say to the model");
  CLI::Option* const flag = add_model_flag(command, *given);
  command.parse_complete_callback([&model, &prompts, given, first, second, flag] {
    const bool has_model_flag = flag->count() > 0;
    const bool is_prompt_alone = first->count() > 0 && second->count() == 0 &&
                                 !given->model.empty() &&
                                 (has_model_flag || !is_model(given->first));
    if (is_prompt_alone) std::swap(given->first, given->second);
    const bool has_prompt = second->count() > 0 || is_prompt_alone;
    if (has_model_flag && !given->first.empty()) refuse_two_models(given->first, given->model);
    if (has_prompt && !prompts.empty()) {
      throw CLI::ValidationError(
          "PROMPT", "is given twice, as '" + printable(given->second) + "' and with -p");
    }
    model = given->first.empty() ? given->model : given->first;
    require_model(model);
    if (!has_prompt) refuse_prompt_alone(model);
    if (has_prompt) prompts.push_back(given->second);
  });
}

}  // namespace flashmoe::cli
