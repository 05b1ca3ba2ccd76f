#include "cli/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/result.h"
#include "cli/command_facts.h"
#include "cli/input.h"
#include "cli/option_groups.h"
#include "cli/toml.h"
#include "cli/usage_error.h"
#include "cli/user_folder.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

bool may_be_preset(const CLI::Option& option) {
  if (option.get_positional() || option.get_lnames().empty()) return false;
  return option.get_configurable() &&
         std::ranges::any_of(kOptionGroups, [&option](const OptionGroup& group) {
           return group.may_be_preset && option.get_group() == group.name;
         });
}

/// The option that may be preset as `key`, which is its first long name; null: there is none.
CLI::Option* find_option(CLI::App& command, const std::string& key) {
  for (CLI::Option* option :
       command.get_options([](CLI::Option* o) { return may_be_preset(*o); })) {
    if (option->get_lnames().front() == key) return option;
  }
  return nullptr;
}

void collect_keys(CLI::App& app, std::vector<std::string>& keys) {
  for (const CLI::Option* option :
       app.get_options([](CLI::Option* o) { return may_be_preset(*o); })) {
    keys.push_back(option->get_lnames().front());
  }
  for (CLI::App* command : app.get_subcommands({})) collect_keys(*command, keys);
}

/// Where in the file, and what.
std::string place(const TomlEntry& entry, const std::string& source) {
  std::vector<std::string> path = entry.table;
  path.push_back(entry.key);
  return fmt::format("{}, line {}: {}", source, entry.line,
                     printable(fmt::format("{}", fmt::join(path, "."))));
}

Status preset(CLI::Option& option, const std::vector<std::string>& values,
              const std::string& source) {
  try {
    option.add_result(values);
    option.run_callback();
  } catch (const CLI::ParseError& refused) {
    option.clear();
    const std::string_view text = refused.what();
    const std::string name = option.get_name() + ": ";
    return error(StatusCode::kInvalidArgument, "{}: {}", source,
                 text.starts_with(name) ? text.substr(name.size()) : text);
  }
  option.clear();  // it does not count as typed
  option.default_str(fmt::format("{}", fmt::join(values, ",")));
  return Status();
}

/// The command that a table is for; null: there is none.
CLI::App* command_of(CLI::App& app, const std::vector<std::string>& table) {
  CLI::App& command = chosen_command(app, table);
  std::size_t depth = 0;
  for (const CLI::App* c = &command; c != &app; c = c->get_parent()) ++depth;
  return depth == table.size() ? &command : nullptr;
}

/// The tables that there may be.
void collect_tables(CLI::App& app, const std::string& before, std::vector<std::string>& tables) {
  for (CLI::App* command : app.get_subcommands({})) {
    if (command->get_name().empty()) continue;
    const std::string name = before + command->get_name();
    tables.push_back(name);
    collect_tables(*command, name + ".", tables);
  }
}

Status no_command(CLI::App& app, const std::vector<std::string>& table, const std::string& at) {
  std::vector<std::string> tables;
  collect_tables(app, "", tables);
  const std::string guess = closest(fmt::format("{}", fmt::join(table, ".")), tables);
  return error(StatusCode::kInvalidArgument, "{}: there is no command {}; {}", at,
               printable(fmt::format("{}", fmt::join(table, " "))),
               guess.empty() ? "remove that, or name a command (flash-moe --help)"
                             : fmt::format("did you mean {}?", guess));
}

Status check(CLI::App& app, const TomlEntry& entry, const std::string& source) {
  CLI::App* const command = command_of(app, entry.table);
  if (command == nullptr) return no_command(app, entry.table, place(entry, source));
  std::vector<std::string> keys;
  collect_keys(*command, keys);
  if (std::ranges::find(keys, entry.key) != keys.end()) return Status();
  const std::string guess = closest(entry.key, keys);
  return error(StatusCode::kInvalidArgument, "{}: no option of that name can be preset; {}",
               place(entry, source),
               guess.empty() ? "remove the line (docs/cli.md says what can be set)"
                             : fmt::format("did you mean {}?", guess));
}

/// What FLASHMOE_PRESETS says. Errors: kInvalidArgument if that is neither on nor off.
Result<bool> presets_are_on() {
  const char* const value = std::getenv("FLASHMOE_PRESETS");
  std::string text = value == nullptr ? "" : value;
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (text == "off" || text == "0" || text == "false" || text == "no") return false;
  if (text.empty() || text == "on" || text == "1" || text == "true" || text == "yes") return true;
  return error(StatusCode::kInvalidArgument, "FLASHMOE_PRESETS: '{}' is neither on nor off",
               printable(text));
}

}  // namespace

std::filesystem::path config_path() {
  const auto folder = user_folder("XDG_CONFIG_HOME", ".config");
  return folder ? *folder / "flash-moe" / "config.toml" : std::filesystem::path();
}

std::string variable_of(const CLI::Option& option) {
  if (!may_be_preset(option)) return "";
  std::string name = "FLASHMOE_";
  for (const char c : option.get_lnames().front()) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

Status apply_config(CLI::App& app, CLI::App& command, const std::string& text,
                    const std::string& source) {
  FM_ASSIGN_OR_RETURN(const TomlDocument document, parse_toml(text, source));
  for (const TomlTable& table : document.tables) {
    if (command_of(app, table.name) != nullptr) continue;
    return no_command(app, table.name, fmt::format("{}, line {}", source, table.line));
  }
  const std::vector<TomlEntry>& entries = document.entries;
  for (const TomlEntry& entry : entries) FM_RETURN_IF_ERROR(check(app, entry, source));
  // The command's own table comes last, so that it counts.
  for (const bool is_own : {false, true}) {
    for (const TomlEntry& entry : entries) {
      if (entry.table.empty() == is_own ||
          command_of(app, entry.table) != (is_own ? &command : &app)) {
        continue;
      }
      CLI::Option* const option = find_option(command, entry.key);
      if (option != nullptr) {
        FM_RETURN_IF_ERROR(preset(*option, entry.values, place(entry, source)));
      }
    }
  }
  return Status();
}

Status apply_presets(CLI::App& app, CLI::App& command) {
  FM_ASSIGN_OR_RETURN(const bool is_on, presets_are_on());
  if (!is_on) return Status();
  const std::filesystem::path path = config_path();
  std::error_code ignored;
  if (!path.empty() && std::filesystem::exists(path, ignored)) {
    FM_ASSIGN_OR_RETURN(const std::string text, read_text_file(path.string()));
    FM_RETURN_IF_ERROR(apply_config(app, command, text, path.string()));
  }
  for (CLI::Option* option : command.get_options([](CLI::Option*) { return true; })) {
    const std::string variable = variable_of(*option);
    const char* const value = variable.empty() ? nullptr : std::getenv(variable.c_str());
    if (value != nullptr && *value != '\0') {
      FM_RETURN_IF_ERROR(preset(*option, {value}, variable));
    }
  }
  return Status();
}

}  // namespace flashmoe::cli
