#include "cli/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
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
      CommandFacts without_examples = command;  // which stand as they are
      without_examples.footer.clear();
      for (const std::string& line : lines_of(help_text(without_examples, /*all=*/true, width))) {
        EXPECT_LE(line.size(), width) << command.name() << ": " << line;
      }
    });
  }
}

}  // namespace
}  // namespace flashmoe::cli
