#include "cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace flashmoe::cli {
namespace {

constexpr std::size_t kWidthMin = 40;
constexpr std::size_t kWidthMax = 100;
constexpr std::size_t kColumn = 26;  // where descriptions begin

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

/// The words of a shell command; what is in quotes stays together.
std::vector<std::string> shell_words(std::string_view command) {
  std::vector<std::string> words;
  std::string word;
  char quote = 0;
  for (const char c : command) {
    if (quote == 0 && c == ' ') {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
      continue;
    }
    word += c;
    if (quote == c) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

/// A command of the examples in lines that fit, as a shell takes them: a backslash ends each but
/// the last. A remark behind it then stands above.
std::string wrapped_command(const std::string& line, std::size_t width) {
  if (line.size() <= width) return line + "\n";
  const std::size_t remark = line.find("  # ");
  const std::string before =
      remark == std::string::npos ? "" : "  " + wrapped(line.substr(remark + 2), 2, width) + "\n";
  std::string out;
  std::string part = "  ";
  for (const std::string& word : shell_words(std::string_view(line).substr(0, remark))) {
    const bool begins = part.find_first_not_of(' ') == std::string::npos;
    if (!begins && part.size() + 1 + word.size() + 2 > width) {
      out += part + " \\\n";
      part = "      " + word;
    } else {
      part += (begins ? "" : " ") + word;
    }
  }
  return before + out + part + "\n";
}

/// Examples and prose in lines that fit; what else is indented, as JSON, stays as it is.
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
      const bool is_command =
          line.size() > 2 && std::isalpha(static_cast<unsigned char>(line[2])) != 0;
      out += is_command ? wrapped_command(line, width) : line + "\n";
    }
  }
  end_paragraph();
  return out;
}

}  // namespace

std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  const std::size_t room = width > indent + 20 ? width - indent : 20;
  const std::string new_line = "\n" + std::string(indent, ' ');
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    const bool ends_line = end < text.size() && text[end] == '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
    if (used > 0 && used + 1 + word.size() > room) {
      out += new_line;
      used = 0;
    }
    if (used > 0) out += ' ';
    out += word;
    used += (used > 0 ? 1 : 0) + word.size();
    if (ends_line) {
      out += text.empty() ? "\n" : new_line;
      used = 0;
    }
  }
  return out;
}

std::string help_entry(const std::string& heading, const std::string& meaning, std::size_t width) {
  const std::size_t column = width < 60 ? 6 : kColumn;
  const std::string line = "  " + heading;
  const bool fits = line.size() + 2 <= column;
  return line + (fits ? std::string(column - line.size(), ' ') : "\n" + std::string(column, ' ')) +
         wrapped(meaning, column, width) + "\n";
}

std::string help_text(const CommandFacts& command, bool all, std::size_t width) {
  std::string text = wrapped(command.description, 0, width) +
                     "\n\nUsage: " + wrapped(command.usage(), 7, width) + "\n";
  if (!command.arguments.empty()) text += "\n";
  for (const OptionFacts& argument : command.arguments) {
    text += help_entry(argument.heading(), meaning(argument, all), width);
  }
  std::string group;
  for (const CommandFacts& inner : command.commands) {
    if (inner.group != group) text += fmt::format("\n{}:\n", inner.group);
    group = inner.group;
    text += help_entry(inner.path.back(), inner.description, width);
  }
  bool leaves_out = false;
  for (const OptionGroupFacts& options : command.groups) {
    if (!options.is_main && !all) {
      leaves_out = true;
      continue;
    }
    text += fmt::format("\n{}:\n", options.name);
    for (const OptionFacts& option : options.options) {
      text += help_entry(option.heading(), meaning(option, all), width);
    }
  }
  if (leaves_out) text += "\n" + wrapped("--help-all lists the other options.", 0, width) + "\n";
  if (!command.footer.empty()) text += "\n" + footer_text(command.footer, width);
  return text;
}

std::size_t text_width(int descriptor) {
  winsize size = {};
  std::size_t columns = 0;
  if (isatty(descriptor) != 0 && ioctl(descriptor, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
  if (const char* given = std::getenv("COLUMNS"); columns == 0 && given != nullptr) {
    columns = static_cast<std::size_t>(std::max(0, std::atoi(given)));
  }
  return columns == 0 ? kWidthMax : std::clamp(columns, kWidthMin, kWidthMax);
}

}  // namespace flashmoe::cli
