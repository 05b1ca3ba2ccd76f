#include "cli/help.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "cli/command_line.h"

namespace flashmoe::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

void for_each_command(const CommandFacts& command,
                      const std::function<void(const CommandFacts&)>& visit) {
  visit(command);
  for (const CommandFacts& inner : command.commands) for_each_command(inner, visit);
}

class Help : public ::testing::Test {
 protected:
  int exit_code_ = 0;
  std::unique_ptr<CLI::App> app_ = make_app(exit_code_);
  const CommandFacts program_ = command_facts(*app_);
};

TEST_F(Help, TellsAScreenOfMainOptionsAndAllOnDemand) {
  for_each_command(program_, [](const CommandFacts& command) {
    std::size_t main_count = 0;
    for (const OptionGroupFacts& group : command.groups) {
      if (group.is_main) main_count += group.options.size();
      for (const OptionFacts& option : group.options) {
        EXPECT_NE(option.description, "") << command.name() << " " << option.names.front();
      }
    }
    EXPECT_LE(main_count, 20u) << command.name();
    EXPECT_NE(command.description, "") << command.name();
  });
  const CommandFacts& run = program_.commands.front();
  ASSERT_EQ(run.name(), "flash-moe run");
  EXPECT_EQ(run.usage(), "flash-moe run [OPTIONS] [MODEL] [PROMPT]");
  const std::string brief = help_text(run, /*all=*/false, 100);
  EXPECT_THAT(brief, HasSubstr("  -n, --max-tokens N"));
  EXPECT_THAT(brief, HasSubstr("--help-all lists the other options."));
  EXPECT_THAT(brief, Not(HasSubstr("--refresh-every")));
  const std::string all = help_text(run, /*all=*/true, 100);
  EXPECT_THAT(all, HasSubstr("--refresh-every"));
  EXPECT_THAT(all, HasSubstr("--n-predict)"));
}

TEST_F(Help, FitsTheTerminal) {
  for (const std::size_t width : {60u, 80u, 100u}) {
    for_each_command(program_, [width](const CommandFacts& command) {
      for (const std::string& line : lines_of(help_text(command, /*all=*/true, width))) {
        // What is in quotes stays in one piece, and so does JSON.
        const bool may_be_long = line.find(R"("role")") != std::string::npos ||
                                 line.find(R"("tools")") != std::string::npos;
        if (may_be_long) continue;
        EXPECT_LE(line.size(), width) << command.name() << ": " << line;
      }
    });
  }
}

TEST_F(Help, ExamplesStayCommandsThatAShellTakes) {
  CommandFacts command;
  command.path = {"x"};
  command.footer = "\nExamples:\n  x run MODEL --memory 12GiB \"two  words here\"  # a remark";
  EXPECT_THAT(help_text(command, /*all=*/false, 40),
              HasSubstr("Examples:\n  # a remark\n  x run MODEL --memory 12GiB \\\n"
                        "      \"two  words here\"\n"));
  EXPECT_THAT(help_text(command, /*all=*/false, 80), HasSubstr("here\"  # a remark\n"));
}

TEST(TextWidth, IsWhatColumnsSaysWhereThereIsNoTerminal) {
  const int file = open("/dev/null", O_WRONLY);
  setenv("COLUMNS", "70", 1);
  EXPECT_EQ(text_width(file), 70u);
  setenv("COLUMNS", "7000", 1);
  EXPECT_EQ(text_width(file), 100u);
  setenv("COLUMNS", "1", 1);
  EXPECT_EQ(text_width(file), 40u);
  unsetenv("COLUMNS");
  EXPECT_EQ(text_width(file), 100u);
  close(file);
}

}  // namespace
}  // namespace flashmoe::cli
