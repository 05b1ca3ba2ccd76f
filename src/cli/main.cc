#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "base/file_limit.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace {

constexpr const char* kDescription =
    "Runs Mixture-of-Experts models larger than memory, exactly: experts stay on disk and are read "
    "as they are needed, within the memory you allow.";

constexpr const char* kMainExamples = R"(
Examples:
  flash-moe run MODEL --memory 12GiB -p "Once upon a time"
  flash-moe COMMAND --help

MODEL is a folder as downloaded: config.json, tokenizer.json and *.safetensors.)";

}  // namespace

int main(int argc, char** argv) {
  flashmoe::cli::occupy_standard_descriptors();
  // A reader that went away (| head) is an error to report, not a reason to die silently.
  std::signal(SIGPIPE, SIG_IGN);
  flashmoe::raise_file_limit();
  CLI::App app(kDescription, "flash-moe");
  app.set_version_flag("--version", "flash-moe " FLASHMOE_VERSION);
  app.footer(kMainExamples);
  // Were a command required here, a misspelt one would be reported as none.
  app.require_subcommand(0, 1);
  int exit_code = flashmoe::cli::kExitOk;
  flashmoe::cli::add_run(app, exit_code);
  flashmoe::cli::add_chat(app, exit_code);
  flashmoe::cli::add_serve(app, exit_code);
  flashmoe::cli::add_eval(app, exit_code);
  flashmoe::cli::add_forward(app, exit_code);
  flashmoe::cli::add_inspect(app, exit_code);
  flashmoe::cli::add_doctor(app, exit_code);
  flashmoe::cli::add_synth(app, exit_code);
  flashmoe::cli::add_bench(app, exit_code);
  flashmoe::cli::add_tokenize(app, exit_code);
  flashmoe::cli::add_render(app, exit_code);
  flashmoe::cli::add_trace(app, exit_code);
  flashmoe::cli::add_profile(app, exit_code);
  flashmoe::cli::add_validate(app, exit_code);
  flashmoe::cli::add_verify(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& parse_error) {
    if (app.exit(parse_error) != 0) return flashmoe::cli::kExitUsage;
    // --help and --version are printed by the library, which does not look whether they were.
    return std::cout.flush() ? flashmoe::cli::kExitOk : flashmoe::cli::kExitFailure;
  }
  if (app.get_subcommands().empty()) {
    flashmoe::cli::print_note(app.help());
    return flashmoe::cli::kExitUsage;
  }
  return exit_code;
}
