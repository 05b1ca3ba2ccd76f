#include "cli/usage_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "cli/command_facts.h"
#include "format/printable.h"

namespace flashmoe::cli {
namespace {

/// How many slips of a finger make `b` of `a`: a character too many, missing, wrong, or two
/// swapped.
std::size_t slip_count(std::string_view a, std::string_view b) {
  // slips[i][j]: between the first i characters of a and the first j of b.
  std::vector<std::vector<std::size_t>> slips(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        slips[i][j] = i + j;
        continue;
      }
      slips[i][j] = std::min({slips[i - 1][j] + 1, slips[i][j - 1] + 1,
                              slips[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) slips[i][j] = std::min(slips[i][j], slips[i - 2][j - 2] + 1);
    }
  }
  return slips[a.size()][b.size()];
}

std::string with_guess(std::string text, std::string_view typed,
                       std::span<const std::string> names) {
  const std::string guess = closest(typed, names);
  return guess.empty() ? text : fmt::format("{}; did you mean {}?", text, guess);
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : all_options(command)) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// The option that is called `name`, with its dashes; null: there is none.
const CLI::Option* option_named(const CLI::App& command, std::string_view name) {
  for (const CLI::Option* option : all_options(command)) {
    for (const std::string& known : option->get_lnames()) {
      if (name == "--" + known) return option;
    }
    for (const std::string& known : option->get_snames()) {
      if (name == "-" + known) return option;
    }
  }
  return nullptr;
}

/// The long name that -NAME is, or the beginning of; empty: of none, or of several options.
std::string with_two_dashes(const CLI::App& command, std::string_view typed) {
  const std::string whole = fmt::format("-{}", typed);
  if (option_named(command, whole) != nullptr) return whole;
  constexpr std::size_t kSizeMin = 4;  // -pr could well be -p and a text
  if (typed.size() < kSizeMin) return "";
  const CLI::Option* meant = nullptr;
  std::string found;
  for (const std::string& name : option_names(command)) {
    if (!name.starts_with(whole)) continue;
    const CLI::Option* option = option_named(command, name);
    if (meant != nullptr && option != meant) return "";
    if (meant == nullptr) found = name;
    meant = option;
  }
  return found;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!command->get_name().empty() && !command->get_group().empty()) {
      names.push_back(command->get_name());
    }
  }
  return names;
}

/// An argument that nothing on the command line takes.
std::string explain_extra(const CLI::App& command, const std::string& argument) {
  const std::vector<std::string> commands = command_names(command);
  const std::string shown = printable(argument);
  if (!commands.empty()) {
    const std::string of = command.get_parent() == nullptr ? "" : command.get_name() + " ";
    return with_guess(fmt::format("unknown command {}{}", of, shown), argument, commands);
  }
  const bool takes_prompt = command.get_option_no_throw("PROMPT") != nullptr;
  return fmt::format("unexpected argument '{}'{}", shown,
                     takes_prompt ? "; a prompt of several words goes in quotes" : "");
}

/// Words that were meant for the model, though they begin with a dash.
bool is_prompt(const CLI::App& command, const std::string& typed) {
  const bool looks_like_option = std::isalpha(static_cast<unsigned char>(typed[1])) != 0;
  return looks_like_option && typed.find(' ') != std::string::npos &&
         command.get_option_no_throw("PROMPT") != nullptr;
}

std::string prompt_with_dash(const std::string& typed) {
  return fmt::format(
      "'{}' begins with a dash, as options do; such a prompt goes after -p, or after --",
      printable(typed));
}

/// An option that `command` does not have.
std::string explain_option(CLI::App& app, const CLI::App& command,
                           const std::vector<std::string>& arguments, const std::string& typed) {
  const std::string name = typed.substr(0, typed.find('='));
  if (&command == &app) {
    for (auto word = arguments.begin(); word != arguments.end(); ++word) {
      CLI::App& later = chosen_command(app, {word, arguments.end()});
      const CLI::Option* const option = &later == &app ? nullptr : option_named(later, name);
      if (option == nullptr) continue;
      return fmt::format(
          "{0} stands before the command; it goes after it, as in flash-moe {1} {0}{2}",
          printable(name), later.get_name(), option->get_items_expected_max() > 0 ? " ..." : "");
    }
  }
  if (is_prompt(command, typed)) return prompt_with_dash(typed);
  return with_guess(fmt::format("unknown option {}", printable(name)), name, option_names(command));
}

/// The library's words, put as ours are.
std::string reworded(const CLI::App& command, const CLI::ParseError& error) {
  const std::string text = error.what();
  const std::string option = text.substr(0, text.find(':'));
  if (error.get_name() == "ArgumentMismatch") {
    if (text.ends_with("missing")) return option + ": needs a value";
    if (text.find("At Most") != std::string::npos) return option + ": is given more than once";
  }
  if (error.get_name() == "ValidationError" && text.starts_with("MODEL: ")) {
    return "MODEL " + text.substr(7);
  }
  if (error.get_name() == "ValidationError" && text.starts_with("PROMPT: ")) {
    return "PROMPT " + text.substr(8);
  }
  if (error.get_name() == "RequiredError" && text.ends_with(" is required")) {
    const std::string name = text.substr(0, text.size() - std::string_view(" is required").size());
    const CLI::Option* missing = option_named(command, name);
    if (missing == nullptr) missing = command.get_option_no_throw(name);
    std::string choices = missing == nullptr ? "" : missing->get_type_name();
    const bool has_choices = choices.find('|') != std::string::npos;
    std::ranges::replace(choices, '|', ' ');
    return name + " is missing" + (has_choices ? ": one of " + choices : "");
  }
  if (error.get_name() == "ExcludesError") {
    const std::size_t at = text.find(" excludes ");
    if (at != std::string::npos) {
      return fmt::format("{} and {} do not go together", text.substr(0, at), text.substr(at + 10));
    }
  }
  constexpr std::string_view kNotConverted = "Could not convert: ";  // NAME = VALUE
  if (text.starts_with(kNotConverted)) {
    const std::size_t begin = kNotConverted.size();
    return text.substr(begin, text.find(" = ", begin) - begin) + ": takes no such value";
  }
  return text;
}

}  // namespace

std::string closest(std::string_view typed, std::span<const std::string> names) {
  std::string best;
  std::size_t best_count = typed.size() / 4 + 1;
  for (const std::string& name : names) {
    const std::size_t count = slip_count(typed, name);
    if (count <= best_count && (best.empty() || count < best_count)) {
      best = name;
      best_count = count;
    }
  }
  if (!best.empty()) return best;
  // The beginning of a name, if it is the beginning of one alone.
  for (const std::string& name : names) {
    if (typed.size() < 4 || !name.starts_with(typed)) continue;
    if (!best.empty()) return "";
    best = name;
  }
  return best;
}

std::vector<std::string> respell(const CLI::App& command, std::vector<std::string>& arguments) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    std::string& typed = arguments[i];
    if (typed.size() < 2 || typed[0] != '-') continue;
    const bool is_long = typed[1] == '-';
    const std::string name = typed.substr(0, typed.find('='));
    if (!is_long && name.size() > 2) {
      const std::string meant = with_two_dashes(command, name);
      if (!meant.empty()) {
        lines.push_back(fmt::format("unknown option {}; did you mean {}?", printable(name), meant));
        continue;
      }
    }
    const CLI::Option* const option = option_named(command, is_long ? name : typed.substr(0, 2));
    if (option == nullptr || option->get_expected_min() == 0) {
      if (!is_long && is_prompt(command, typed)) lines.push_back(prompt_with_dash(typed));
      continue;
    }
    if (!is_long && typed.size() > 3 && typed[2] == '=') typed.erase(2, 1);
    const bool has_value = is_long ? name.size() < typed.size() : typed.size() > 2;
    if (!has_value) ++i;  // it is the next one, whatever that looks like
  }
  return lines;
}

std::vector<std::string> explain(CLI::App& app, const std::vector<std::string>& arguments,
                                 const CLI::ParseError& error) {
  const CLI::App& command = chosen_command(app, arguments);
  const std::vector<std::string> extras = command.remaining();
  const auto options_end = std::ranges::find(arguments, "--");
  const auto is_option = [&](const std::string& extra) {
    return extra.size() > 1 && extra[0] == '-' &&
           std::find(options_end, arguments.end(), extra) == arguments.end();
  };
  // The library takes -vx apart where it knows -v, and then tells of -x.
  const auto as_typed = [&](const std::string& extra) {
    const auto whole = std::find_if(arguments.begin(), options_end, [&](const std::string& typed) {
      return typed.starts_with('-') && typed.ends_with(extra.substr(1));
    });
    return whole == options_end ? extra : *whole;
  };
  // An option that is not known may have had a value, which then stands where it makes no sense:
  // nothing else is worth telling before it is put right.
  std::vector<std::string> lines;
  for (const std::string& extra : extras) {
    if (!is_option(extra)) continue;
    lines.push_back(explain_option(app, command, arguments, as_typed(extra)));
  }
  if (!lines.empty()) return lines;
  for (const std::string& extra : extras) {
    if (extra == "--") continue;
    const bool looks_like_option = extra.size() > 1 && extra[0] == '-';
    return {looks_like_option
                ? fmt::format("unexpected argument '{}': after -- nothing is an option, so options "
                              "stand before it",
                              printable(extra))
                : explain_extra(command, extra)};
  }
  const std::vector<std::string> commands = command_names(command);
  if (!commands.empty()) {
    return {fmt::format("{}: needs one of {}", command.get_name(), fmt::join(commands, ", "))};
  }
  return {reworded(command, error)};
}

}  // namespace flashmoe::cli
