#include "cli/command_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <utility>

#include "cli/option_groups.h"

namespace flashmoe::cli {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (std::size_t end = 0; end != std::string::npos; at = end + 1) {
    end = text.find(separator, at);
    parts.push_back(text.substr(at, end - at));
  }
  return parts;
}

OptionFacts option_facts(const CLI::Option& option) {
  OptionFacts facts;
  if (option.get_positional()) {
    facts.names.push_back(option.get_name(/*positional=*/true));
  } else {
    for (const std::string& name : option.get_snames()) facts.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) facts.names.push_back("--" + name);
  }
  facts.description = option.get_description();
  facts.is_required = option.get_required();
  if (option.get_expected_max() == 0) return facts;  // a flag
  facts.value = option.get_type_name();
  if (facts.value.find('|') != std::string::npos) {
    facts.choices = split(facts.value, '|');
    facts.value = "NAME";
  }
  if (option.get_default_str() != "[]" && option.get_default_str() != "{}") {
    facts.default_value = option.get_default_str();
  }
  return facts;
}

/// Options by heading: those of kOptionGroups in its order, others before them as they come.
std::vector<OptionGroupFacts> group_facts(const CLI::App& app) {
  std::vector<OptionGroupFacts> groups;
  const auto group_named = [&groups](const std::string& name) -> OptionGroupFacts& {
    const auto found = std::ranges::find(groups, name, &OptionGroupFacts::name);
    if (found != groups.end()) return *found;
    return groups.emplace_back(OptionGroupFacts{.name = name, .is_main = true, .options = {}});
  };
  for (const CLI::Option* option : all_options(app)) {
    if (option->get_positional() || option->get_group().empty()) continue;
    const bool is_help = option == app.get_help_ptr() || option == app.get_help_all_ptr();
    group_named(is_help ? kHelpOptions : option->get_group())
        .options.push_back(option_facts(*option));
  }
  const auto rank = [](const OptionGroupFacts& group) {
    const auto known =
        std::ranges::find(kOptionGroups, std::string_view(group.name),
                          [](const OptionGroup& g) { return std::string_view(g.name); });
    return known == kOptionGroups.end() ? 0 : known - kOptionGroups.begin() + 1;
  };
  std::ranges::stable_sort(groups, {}, rank);
  for (OptionGroupFacts& group : groups) {
    for (const OptionGroup& known : kOptionGroups) {
      if (group.name == known.name) group.is_main = known.is_main;
    }
  }
  return groups;
}

}  // namespace

std::string OptionFacts::heading() const {
  // An alias is for who knows it from elsewhere: a short name and a long one are enough to learn.
  std::string text;
  for (const std::string& name : names) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
    if (name.starts_with("--")) break;
  }
  if (!value.empty() && names.front().starts_with('-')) text += " " + value;
  return text;
}

bool OptionFacts::takes_files() const {
  return value == "FILE" || value == "TRACE" || names.front() == "FILE";
}

bool OptionFacts::takes_folders() const {
  for (const std::string& name : {value, names.front()}) {
    if (name == "MODEL" || name == "DIR" || name == "FOLDER" || name == "OUT") return true;
  }
  return false;
}

std::string CommandFacts::name() const { return fmt::format("{}", fmt::join(path, " ")); }

std::string CommandFacts::usage() const {
  std::string text = name();
  if (!commands.empty()) return text + " COMMAND";
  text += " [OPTIONS]";
  for (const OptionFacts& argument : arguments) {
    const std::string& name = argument.names.front();
    text += argument.is_required ? " " + name : " [" + name + "]";
  }
  return text;
}

CommandFacts command_facts(const CLI::App& app, std::vector<std::string> path) {
  path.push_back(app.get_name());
  CommandFacts facts{.path = path,
                     .group = app.get_group(),
                     .description = app.get_description(),
                     .footer = app.get_footer(),
                     .arguments = {},
                     .groups = group_facts(app),
                     .commands = {}};
  for (const CLI::Option* option : all_options(app)) {
    if (option->get_positional()) facts.arguments.push_back(option_facts(*option));
  }
  for (const CLI::App* command : app.get_subcommands({})) {
    const bool is_hidden = command->get_group().empty();
    if (!command->get_name().empty() && !is_hidden) {
      facts.commands.push_back(command_facts(*command, path));
    }
  }
  return facts;
}

CLI::App& chosen_command(CLI::App& app, const std::vector<std::string>& words) {
  CLI::App* command = &app;
  for (const std::string& word : words) {
    const std::vector<CLI::App*> inner = command->get_subcommands(
        [&word](const CLI::App* c) { return !c->get_name().empty() && c->check_name(word); });
    if (inner.empty()) break;
    command = inner.front();
  }
  return *command;
}

std::vector<const CLI::Option*> all_options(const CLI::App& app) {
  std::vector<const CLI::Option*> options = app.get_options();
  for (const CLI::App* group :
       app.get_subcommands([](const CLI::App* a) { return a->get_name().empty(); })) {
    for (const CLI::Option* option : group->get_options()) options.push_back(option);
  }
  return options;
}

}  // namespace flashmoe::cli
