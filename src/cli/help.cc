#include "cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace flashmoe::cli {
namespace {

constexpr std::size_t kWidthMin = 40;
constexpr std::size_t kWidthMax = 100;
constexpr std::size_t kColumn = 26;  // where descriptions begin

/// `text` in lines of `width`, each after `indent` blanks, without the first indent.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  const std::size_t room = width > indent + 20 ? width - indent : 20;
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (used > 0 && used + 1 + word.size() > room) {
      out += "\n" + std::string(indent, ' ');
      used = 0;
    }
    if (used > 0) out += ' ';
    out += word;
    used += (used > 0 ? 1 : 0) + word.size();
  }
  return out;
}

/// A name and what it means, beside it or below.
std::string entry(const std::string& heading, const std::string& meaning, std::size_t width) {
  const std::size_t column = width < 60 ? 6 : kColumn;
  const std::string line = "  " + heading;
  const bool fits = line.size() + 2 <= column;
  return line + (fits ? std::string(column - line.size(), ' ') : "\n" + std::string(column, ' ')) +
         wrapped(meaning, column, width) + "\n";
}

std::string meaning(const OptionFacts& option, bool all) {
  std::string text = option.description;
  // Where the description tells of each choice, a list would say it twice.
  const bool tells_of_all = std::ranges::all_of(option.choices, [&text](const std::string& choice) {
    return text.find(choice) != std::string::npos;
  });
  if (!tells_of_all) text += fmt::format(": {}", fmt::join(option.choices, ", "));
  if (option.is_required) text += " (required)";
  if (!option.default_value.empty()) text += fmt::format(" (default: {})", option.default_value);
  if (!all) return text;
  std::vector<std::string> aliases;
  bool has_long_name = false;
  for (const std::string& name : option.names) {
    if (has_long_name) aliases.push_back(name);
    has_long_name = has_long_name || name.starts_with("--");
  }
  if (!aliases.empty()) text += fmt::format(" (also {})", fmt::join(aliases, ", "));
  return text;
}

/// Examples as they stand, prose in lines that fit.
std::string footer_text(const std::string& footer, std::size_t width) {
  std::string out;
  std::string paragraph;
  const auto end_paragraph = [&] {
    if (!paragraph.empty()) out += wrapped(paragraph, 0, width) + "\n";
    paragraph.clear();
  };
  std::size_t at = footer.starts_with('\n') ? 1 : 0;
  while (at < footer.size()) {
    const std::size_t end = std::min(footer.find('\n', at), footer.size());
    const std::string line = footer.substr(at, end - at);
    at = end + 1;
    const bool is_prose = !line.empty() && line.front() != ' ';
    if (is_prose) {
      paragraph += (paragraph.empty() ? "" : " ") + line;
      if (line.back() == ':') end_paragraph();
    } else {
      end_paragraph();
      out += line + "\n";
    }
  }
  end_paragraph();
  return out;
}

}  // namespace

std::string help_text(const CommandFacts& command, bool all, std::size_t width) {
  std::string text = wrapped(command.description, 0, width) +
                     "\n\nUsage: " + wrapped(command.usage(), 7, width) + "\n";
  if (!command.arguments.empty()) text += "\n";
  for (const OptionFacts& argument : command.arguments) {
    text += entry(argument.heading(), meaning(argument, all), width);
  }
  std::string group;
  for (const CommandFacts& inner : command.commands) {
    if (inner.group != group) text += fmt::format("\n{}:\n", inner.group);
    group = inner.group;
    text += entry(inner.path.back(), inner.description, width);
  }
  bool leaves_out = false;
  for (const OptionGroupFacts& options : command.groups) {
    if (!options.is_main && !all) {
      leaves_out = true;
      continue;
    }
    text += fmt::format("\n{}:\n", options.name);
    for (const OptionFacts& option : options.options) {
      text += entry(option.heading(), meaning(option, all), width);
    }
  }
  if (leaves_out) text += "\n" + wrapped("--help-all lists the other options.", 0, width) + "\n";
  if (!command.footer.empty()) text += "\n" + footer_text(command.footer, width);
  return text;
}

std::size_t help_width() {
  winsize size = {};
  std::size_t columns = 0;
  if (isatty(STDOUT_FILENO) != 0) {
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
    if (const char* given = std::getenv("COLUMNS"); columns == 0 && given != nullptr) {
      columns = static_cast<std::size_t>(std::max(0, std::atoi(given)));
    }
  }
  return columns == 0 ? kWidthMax : std::clamp(columns, kWidthMin, kWidthMax);
}

}  // namespace flashmoe::cli
