// Command `man`: manual pages, made of the same definitions as the help.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/result.h"
#include "cli/command_facts.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace flashmoe::cli {
namespace {

/// Text as roff takes it: nothing in it is a command or a hyphen to break at.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string page_name(const CommandFacts& command) {
  return fmt::format("{}", fmt::join(command.path, "-"));
}

std::string option_entry(const OptionFacts& option) {
  std::string text = ".TP\n";
  for (std::size_t i = 0; i < option.names.size(); ++i) {
    text += fmt::format("{}\\fB{}\\fR", i == 0 ? "" : ", ", roff(option.names[i]));
  }
  if (!option.value.empty() && option.names.front().starts_with('-')) {
    text += fmt::format(" \\fI{}\\fR", roff(option.value));
  }
  text += "\n" + roff(option.description);
  if (!option.choices.empty()) {
    text += roff(fmt::format(": {}", fmt::join(option.choices, ", ")));
  }
  text += ".\n";
  if (!option.default_value.empty()) {
    text += roff(fmt::format("Default: {}.", option.default_value)) + "\n";
  }
  return text;
}

/// Examples as they stand, prose filled.
std::string footer_section(const std::string& footer) {
  std::string out;
  bool is_code = false;
  std::size_t at = 0;
  while (at < footer.size()) {
    const std::size_t end = std::min(footer.find('\n', at), footer.size());
    const std::string line = footer.substr(at, end - at);
    at = end + 1;
    if (line.empty()) continue;
    if ((line.front() == ' ') != is_code) {
      is_code = !is_code;
      out += is_code ? ".PP\n.nf\n.RS\n" : ".RE\n.fi\n.PP\n";
    }
    out += roff(is_code ? std::string_view(line).substr(
                              std::min(line.find_first_not_of(' '), std::size_t{2}))
                        : std::string_view(line)) +
           "\n";
  }
  return out + (is_code ? ".RE\n.fi\n" : "");
}

constexpr const char* kManExamples = R"(
Examples:
  mkdir -p ~/.local/share/man/man1
  flash-moe man ~/.local/share/man/man1
  man flash-moe-run)";

constexpr const char* kDefaultsSection = R"(.SH ENVIRONMENT
.TP
\fBFLASHMOE_MODEL\fR, \fBFLASHMOE_MEMORY\fR, \fBFLASHMOE_CONTEXT\fR, ...
Defaults for the options of these names, in every command that takes a single value for them.
What is typed comes first, then the environment, then the config file.
.TP
\fBFLASHMOE_PRESETS\fR
\fBoff\fR, or \fB0\fR, \fBfalse\fR, \fBno\fR, leaves the environment and the config file aside.
.TP
\fBNO_COLOR\fR
If it is set, remarks and thoughts are not dimmed.
.SH FILES
.TP
\fI$XDG_CONFIG_HOME/flash\-moe/config.toml\fR, or \fI~/.config/flash\-moe/config.toml\fR
Defaults for options by their long names, as \fBmemory = "12GiB"\fR; below \fB[run]\fR for that command alone.
.SH EXIT STATUS
0: done. 1: what was asked for could not be done. 2: what was asked for makes no sense.
130: ended by Ctrl\-C. 141: the reader of standard output went away, as \fBhead\fR does.
)";

std::string page(const CommandFacts& command, const std::string& version) {
  std::string text = fmt::format(".TH {} 1 \"\" \"flash\\-moe {}\" \"User Commands\"\n",
                                 upper(roff(page_name(command))), version);
  text += fmt::format(".SH NAME\n{} \\- {}\n", roff(page_name(command)), roff(command.description));
  text += fmt::format(".SH SYNOPSIS\n\\fB{}\\fR{}\n", roff(command.name()),
                      roff(command.usage().substr(command.name().size())));
  if (!command.arguments.empty()) text += ".SH ARGUMENTS\n";
  for (const OptionFacts& argument : command.arguments) text += option_entry(argument);
  if (!command.commands.empty()) text += ".SH COMMANDS\n";
  for (const CommandFacts& inner : command.commands) {
    text +=
        fmt::format(".TP\n\\fB{}\\fR(1)\n{}.\n", roff(page_name(inner)), roff(inner.description));
  }
  if (!command.groups.empty()) text += ".SH OPTIONS\n";
  for (const OptionGroupFacts& group : command.groups) {
    text += fmt::format(".SS {}\n", roff(group.name));
    for (const OptionFacts& option : group.options) text += option_entry(option);
  }
  if (command.path.size() == 1) text += kDefaultsSection;
  if (!command.footer.empty()) text += ".SH EXAMPLES\n" + footer_section(command.footer);
  if (command.path.size() > 1) text += ".SH SEE ALSO\n\\fBflash\\-moe\\fR(1)\n";
  return text;
}

/// Writes the page of `command`, and those of its commands, to `folder`.
Status write_pages(const CommandFacts& command, const std::string& version,
                   const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / (page_name(command) + ".1");
  std::ofstream file(path, std::ios::binary);
  file << page(command, version);
  file.close();
  if (!file) {
    return error(StatusCode::kIo, "{}: {}", path.string(), std::strerror(errno));
  }
  for (const CommandFacts& inner : command.commands) {
    FM_RETURN_IF_ERROR(write_pages(inner, version, folder));
  }
  return Status();
}

}  // namespace

void add_man(CLI::App& app, int& exit_code) {
  auto folder = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("man", "Write the manual pages to a folder");
  command->add_option("DIR", *folder, "An existing folder")->required();
  command->footer(kManExamples);
  command->callback([&app, &exit_code, folder] {
    std::error_code ignored;
    const Status written =
        std::filesystem::is_directory(*folder, ignored)
            ? write_pages(command_facts(app), FLASHMOE_VERSION, *folder)
            : error(StatusCode::kNotFound, "{}: no such folder; make it first, as with mkdir -p",
                    *folder);
    exit_code = written.ok() ? kExitOk : report(written);
  });
}

}  // namespace flashmoe::cli
