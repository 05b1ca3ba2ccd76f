// Command `completion`: what a shell reads so that it completes flash-moe.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/command_facts.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/output.h"

namespace flashmoe::cli {
namespace {

constexpr const char* kCompletionExamples = R"(
Examples:
  source <(flash-moe completion bash)
  flash-moe completion zsh > ~/.zfunc/_flash-moe
  flash-moe completion fish > ~/.config/fish/completions/flash-moe.fish)";

/// Every command below `program`, with the words that choose it, as "trace replay".
void for_each_command(
    const CommandFacts& program,
    const std::function<void(const std::string&, const CommandFacts&)>& on_command) {
  for (const CommandFacts& command : program.commands) {
    const std::vector<std::string> words(command.path.begin() + 1, command.path.end());
    on_command(fmt::format("{}", fmt::join(words, " ")), command);
    for_each_command(command, on_command);
  }
}

std::vector<std::string> names_of(const std::vector<CommandFacts>& commands) {
  std::vector<std::string> names;
  for (const CommandFacts& command : commands) names.push_back(command.path.back());
  return names;
}

/// `commands` as the words that may follow those of `path`, without options.
std::vector<CommandFacts> as_words(const std::vector<CommandFacts>& commands,
                                   const std::vector<std::string>& path) {
  std::vector<CommandFacts> words;
  for (const CommandFacts& command : commands) {
    CommandFacts& word = words.emplace_back();
    word.path = path;
    word.path.push_back(command.path.back());
    word.description = command.description;
    word.commands = as_words(command.commands, word.path);
  }
  return words;
}

/// The program as shells complete it: `help` takes the words of any command.
CommandFacts completed_facts(const CLI::App& app) {
  CommandFacts program = command_facts(app);
  const std::vector<CommandFacts> commands = program.commands;
  for (CommandFacts& command : program.commands) {
    if (command.path.back() == "help") command.commands = as_words(commands, command.path);
  }
  return program;
}

std::vector<OptionFacts> options_of(const CommandFacts& command) {
  std::vector<OptionFacts> options;
  for (const OptionGroupFacts& group : command.groups) {
    options.insert(options.end(), group.options.begin(), group.options.end());
  }
  return options;
}

/// `text` as one word in single quotes.
std::string in_quotes(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

// --- bash ---

std::string bash_action(const OptionFacts& option) {
  if (!option.choices.empty()) {
    return fmt::format("_flash_moe_words '{}'", fmt::join(option.choices, " "));
  }
  if (option.takes_folders()) return "_flash_moe_paths -d";
  if (option.takes_files()) return "_flash_moe_paths -f";
  return ":";
}

std::string bash_script(const CommandFacts& program) {
  std::string cases;
  std::string words =
      fmt::format("    '') commands='{}' ;;\n", fmt::join(names_of(program.commands), " "));
  for_each_command(program, [&](const std::string& path, const CommandFacts& command) {
    if (!command.commands.empty()) {
      words += fmt::format("    {}) commands='{}' ;;\n", in_quotes(path),
                           fmt::join(names_of(command.commands), " "));
    }
  });
  const auto add_command = [&](const std::string& path, const CommandFacts& command) {
    std::vector<std::string> names;
    std::string values;
    for (const OptionFacts& option : options_of(command)) {
      for (const std::string& name : option.names) {
        if (name.starts_with("--")) names.push_back(name);
      }
      if (option.value.empty()) continue;
      values +=
          fmt::format("        {}) {} ;;\n", fmt::join(option.names, "|"), bash_action(option));
    }
    cases += fmt::format("    {})\n      options='{}'\n", in_quotes(path), fmt::join(names, " "));
    cases += fmt::format(
        "      arguments={}\n",
        command.arguments.empty() ? "''" : in_quotes(bash_action(command.arguments.front())));
    cases +=
        fmt::format("      case $previous in\n{}        *) return 1 ;;\n      esac ;;\n", values);
  };
  add_command("", program);
  for_each_command(program, add_command);
  return fmt::format(R"(# bash completion for flash-moe
_flash_moe_words() {{ mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }}
_flash_moe_paths() {{
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}}

# Completes what follows an option, and tells of the command whether there is such an option.
_flash_moe_value() {{
  case $command in
{0}    *) return 1 ;;
  esac
}}

_flash_moe() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous='' command='' commands options='' arguments='' i
  ((COMP_CWORD > 0)) && previous=${{COMP_WORDS[COMP_CWORD - 1]}}
  # --option=value comes as three words
  if [[ $current == '=' ]]; then
    current=''
  elif [[ $previous == '=' ]] && ((COMP_CWORD > 1)); then
    previous=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  COMPREPLY=()
  for ((i = 1; i <= COMP_CWORD; i++)); do
    commands=''
    case $command in
{1}    esac
    ((i < COMP_CWORD)) && [[ -n $commands && " $commands " == *" ${{COMP_WORDS[i]}} "* ]] || break
    command+=${{command:+ }}${{COMP_WORDS[i]}}
  done
  _flash_moe_value && return
  if [[ $current == -* ]]; then
    _flash_moe_words "$options"
  elif [[ -n $commands ]]; then
    _flash_moe_words "$commands"
  elif [[ -n $arguments ]]; then
    eval "$arguments"
  fi
}}
complete -F _flash_moe flash-moe
)",
                     cases, words);
}

// --- zsh ---

/// Text inside a specification of _arguments, where brackets and colons mean something.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const OptionFacts& option) {
  if (!option.choices.empty()) return fmt::format("({})", fmt::join(option.choices, " "));
  if (option.takes_folders()) return "_files -/";
  if (option.takes_files()) return "_files";
  return " ";
}

void add_zsh_function(const CommandFacts& command, const std::string& function, std::string& out) {
  for (const CommandFacts& inner : command.commands) {
    add_zsh_function(inner, function + "_" + inner.path.back(), out);
  }
  out += fmt::format("{}() {{\n", function);
  if (!command.commands.empty()) {
    out += "  local line state\n  local -a commands=(\n";
    for (const CommandFacts& inner : command.commands) {
      out += fmt::format(
          "    {}\n", in_quotes(zsh_text(inner.path.back()) + ":" + zsh_text(inner.description)));
    }
    out += "  )\n";
  }
  out += "  _arguments -S";
  for (const OptionFacts& option : options_of(command)) {
    for (const std::string& name : option.names) {
      std::string spec = (option.value.empty() || !name.starts_with("--") ? name : name + "=");
      spec += fmt::format("[{}]", zsh_text(option.description));
      if (!option.value.empty()) {
        spec += fmt::format(":{}:{}", zsh_text(option.value), zsh_action(option));
      }
      out += " \\\n    " + in_quotes(spec);
    }
  }
  if (!command.commands.empty()) {
    out +=
        " \\\n    '1: :->command' '*:: :->rest'\n  case $state in\n"
        "    command) _describe command commands ;;\n    rest)\n      case $line[1] in\n";
    for (const CommandFacts& inner : command.commands) {
      out += fmt::format("        {}) {}_{} ;;\n", inner.path.back(), function, inner.path.back());
    }
    out += "      esac ;;\n  esac\n";
  } else {
    for (std::size_t i = 0; i < command.arguments.size(); ++i) {
      out +=
          " \\\n    " + in_quotes(fmt::format("{}:{}:{}", i + 1, command.arguments[i].names.front(),
                                              zsh_action(command.arguments[i])));
    }
    out += "\n";
  }
  out += "}\n";
}

std::string zsh_script(const CommandFacts& program) {
  std::string out = "#compdef flash-moe\n";
  add_zsh_function(program, "_flash-moe", out);
  return out + "_flash-moe \"$@\"\n";
}

// --- fish ---

std::string fish_script(const CommandFacts& program) {
  std::string out = "# fish completion for flash-moe\ncomplete -c flash-moe -f\n";
  const auto add_commands = [&out](const std::string& path, const CommandFacts& command) {
    for (const CommandFacts& inner : command.commands) {
      out += fmt::format("complete -c flash-moe -n '__flash_moe_at \"{}\"' -a {} -d {}\n", path,
                         inner.path.back(), in_quotes(inner.description));
    }
  };
  // True where exactly the words of a command have been typed.
  out +=
      "function __flash_moe_at\n"
      "  set -l typed (commandline -opc)[2..-1]\n"
      "  test \"$typed\" = \"$argv[1]\"\nend\n"
      "function __flash_moe_in\n"
      "  set -l typed (commandline -opc)[2..-1]\n"
      "  string match -q -- \"$argv[1] *\" \"$typed \"\nend\n";
  add_commands("", program);
  for_each_command(program, [&](const std::string& path, const CommandFacts& command) {
    add_commands(path, command);
    if (!command.commands.empty()) return;
    const std::string at = fmt::format("complete -c flash-moe -n '__flash_moe_in \"{}\"'", path);
    for (const OptionFacts& option : options_of(command)) {
      out += at;
      for (const std::string& name : option.names) {
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (!option.choices.empty()) {
        out += fmt::format(" -x -a '{}'", fmt::join(option.choices, " "));
      } else if (option.takes_folders()) {
        out += " -x -a '(__fish_complete_directories)'";
      } else if (option.takes_files()) {
        out += " -r -F";
      } else if (!option.value.empty()) {
        out += " -x";
      }
      out += " -d " + in_quotes(option.description) + "\n";
    }
    if (command.arguments.empty()) return;
    const OptionFacts& first = command.arguments.front();
    if (!first.choices.empty()) {
      out += fmt::format("{} -a '{}'\n", at, fmt::join(first.choices, " "));
    }
    if (first.takes_folders()) out += at + " -a '(__fish_complete_directories)'\n";
    if (first.takes_files()) out += at + " -F\n";
  });
  return out;
}

}  // namespace

void add_completion(CLI::App& app, int& exit_code) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print the completion of flash-moe for a shell");
  choose_from(command->add_option("SHELL", *shell, "The shell"), {"bash", "zsh", "fish"})
      ->required();
  command->footer(kCompletionExamples);
  command->callback([&app, &exit_code, shell] {
    const CommandFacts program = completed_facts(app);
    const Status printed = print(*shell == "bash"  ? bash_script(program)
                                 : *shell == "zsh" ? zsh_script(program)
                                                   : fish_script(program));
    exit_code = printed.ok() ? kExitOk : report(printed);
  });
}

}  // namespace flashmoe::cli
