#include "cli/command_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/command_facts.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/option_groups.h"
#include "cli/output.h"
#include "cli/presets.h"
#include "cli/usage_error.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kDescription =
    "Runs Mixture-of-Experts models larger than memory, exactly: experts stay on disk and are read "
    "as they are needed, within the memory you allow.";

constexpr const char* kAboutCommands = "About flash-moe";

constexpr const char* kVersion = "flash-moe " FLASHMOE_VERSION;

constexpr const char* kMainExamples = R"(
Examples:
  flash-moe run MODEL "What is a river?"
  flash-moe chat MODEL --memory 12GiB
  flash-moe serve MODEL
  flash-moe COMMAND --help

MODEL is a folder as downloaded: config.json, tokenizer.json and *.safetensors. FLASHMOE_MODEL, FLASHMOE_MEMORY and the
like in the environment, and lines as memory = "12GiB" in ~/.config/flash-moe/config.toml, are defaults for options.)";

constexpr const char* kHelpExamples = R"(
Examples:
  flash-moe help run
  flash-moe help trace replay)";

constexpr const char* kVersionExamples = R"(
Examples:
  flash-moe version
  flash-moe --version)";

/// `flash-moe help run` and `flash-moe -h run` are `flash-moe run --help`.
void spell_out(std::vector<std::string>& arguments) {
  if (arguments.empty()) return;
  const std::string first = arguments[0] == "help" ? "--help" : arguments[0];
  if (first != "--help" && first != "-h" && first != "--help-all") return;
  if (arguments.size() == 1) {
    arguments = {first};
  } else if (!arguments[1].starts_with('-')) {
    std::rotate(arguments.begin(), arguments.begin() + 1, arguments.end());
    arguments.back() = first;
  }
}

void add_help(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand("help", "Show the help on a command");
  // spell_out() has turned these words into the command's own --help.
  command->add_option(
      "COMMAND", [](const std::vector<std::string>&) { return true; },
      "The command, as run, or trace replay");
  command->footer(kHelpExamples);
}

void add_version(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("version", "Show which version of flash-moe this is");
  command->footer(kVersionExamples);
  command->callback([&exit_code] {
    const Status printed = print(fmt::format("{}\n", kVersion));
    exit_code = printed.ok() ? kExitOk : report(printed);
  });
}

int print_help(const CLI::App& app, const CLI::App& command, bool all) {
  std::vector<std::string> path;
  for (const CLI::App* parent = command.get_parent(); parent != nullptr;
       parent = parent->get_parent()) {
    path.insert(path.begin(), parent == &app ? app.get_name() : parent->get_name());
  }
  const Status printed =
      print(help_text(command_facts(command, std::move(path)), all, text_width(STDOUT_FILENO)));
  return printed.ok() ? kExitOk : report(printed);
}

int refuse(CLI::App& app, const std::vector<std::string>& arguments,
           const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    print_note(fmt::format("flash-moe: {}\n", line));
  }
  std::string command;
  for (const CLI::App* chosen = &chosen_command(app, arguments); chosen != &app;
       chosen = chosen->get_parent()) {
    command = fmt::format(" {}{}", chosen->get_name(), command);
  }
  print_note(fmt::format("`flash-moe{} --help` says what there is.\n", command));
  return kExitUsage;
}

}  // namespace

std::unique_ptr<CLI::App> make_app(int& exit_code) {
  auto app = std::make_unique<CLI::App>(kDescription, "flash-moe");
  app->set_help_flag("-h,--help", "Say what there is to choose");
  app->set_help_all_flag("--help-all", "Say all of it");
  app->set_version_flag("--version", kVersion, "Say which version this is")->group(kHelpOptions);
  app->footer(kMainExamples);
  // Were a command required here, a misspelt one would be reported as none.
  app->require_subcommand(0, 1);
  const auto add = [&](const char* group, void (*add_command)(CLI::App&, int&)) {
    const std::size_t count = app->get_subcommands({}).size();
    add_command(*app, exit_code);
    for (std::size_t i = count; i < app->get_subcommands({}).size(); ++i) {
      app->get_subcommands({})[i]->group(group);
    }
  };
  for (const auto add_command : {add_run, add_chat, add_serve})
    add("Talk with a model", add_command);
  for (const auto add_command : {add_inspect, add_doctor, add_tokenize, add_render}) {
    add("Look at a model and a machine", add_command);
  }
  for (const auto add_command : {add_verify, add_bench, add_eval, add_forward, add_validate}) {
    add("Measure and prove", add_command);
  }
  for (const auto add_command : {add_trace, add_profile, add_synth}) {
    add("Study which experts are used", add_command);
  }
  for (const auto add_command : {add_help, add_completion, add_man, add_version}) {
    add(kAboutCommands, add_command);
  }
  return app;
}

int run_command_line(std::vector<std::string> arguments) {
  spell_out(arguments);
  int exit_code = kExitOk;
  const std::unique_ptr<CLI::App> app = make_app(exit_code);
  CLI::App& command = chosen_command(*app, arguments);
  // Help on what is no command is a misspelt command.
  const bool is_unknown =
      &command == app.get() && arguments.size() == 2 && !arguments[0].starts_with('-');
  if (is_unknown && arguments[1] == "--help") arguments.pop_back();
  const std::vector<std::string> misspelt = respell(command, arguments);
  if (!misspelt.empty()) return refuse(*app, arguments, misspelt);
  // What a shell reads when it starts must not fail for a line in somebody's config file.
  const bool is_about_us = command.get_group() == kAboutCommands;
  const Status presets = is_about_us ? Status() : apply_presets(*app, command);
  // Help has been given by then, and no command has begun.
  app->parse_complete_callback([&presets] {
    if (!presets.ok()) throw CLI::RuntimeError(kExitUsage);
  });
  try {
    app->parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return print_help(*app, command, /*all=*/false);
  } catch (const CLI::CallForAllHelp&) {
    return print_help(*app, command, /*all=*/true);
  } catch (const CLI::CallForVersion& version) {
    const Status printed = print(std::string(version.what()) + "\n");
    return printed.ok() ? kExitOk : report(printed);
  } catch (const CLI::ParseError& error) {
    return presets.ok() ? refuse(*app, arguments, explain(*app, arguments, error))
                        : report(presets);
  }
  if (app->get_subcommands().empty()) {
    print_note(help_text(command_facts(*app), /*all=*/false, text_width(STDOUT_FILENO)));
    return kExitUsage;
  }
  return exit_code;
}

}  // namespace flashmoe::cli
