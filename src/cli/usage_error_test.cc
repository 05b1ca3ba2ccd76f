#include "cli/usage_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "cli/command_facts.h"
#include "cli/option_values.h"

namespace flashmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// What is said of a command line of a small program.
std::vector<std::string> said_of(std::vector<std::string> arguments) {
  CLI::App app("", "flash-moe");
  app.require_subcommand(0, 1);
  CLI::App* run = app.add_subcommand("run");
  std::string model, prompt, out;
  double temperature = 0;
  std::size_t context = 0;
  bool json = false;
  run->add_option("MODEL", model)->required();
  run->add_option("PROMPT", prompt);
  add_decimal(*run, "--temperature,--temp", temperature, {0, 1}, "");
  add_whole_number(*run, "-c,--context", context, {}, "");
  run->add_option("-p,--prompt", prompt);
  run->add_flag("--json", json);
  CLI::App* trace = app.add_subcommand("trace");
  trace->require_subcommand(1);
  trace->add_subcommand("info")->add_option("--out", out)->required();
  choose_from(app.add_subcommand("completion")->add_option("SHELL", out), {"bash", "zsh"})
      ->required();
  const std::vector<std::string> misspelt = respell(chosen_command(app, arguments), arguments);
  if (!misspelt.empty()) return misspelt;
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return explain(app, arguments, error);
  }
  return {};
}

TEST(UsageError, NamesUnknownOptionsInTheOrderTypedAndGuesses) {
  EXPECT_THAT(said_of({"run", "m", "--tempreature", "0.7", "hello"}),
              ElementsAre("unknown option --tempreature; did you mean --temperature?"));
  EXPECT_THAT(said_of({"run", "--zebra=1", "m", "--jsno", "-q"}),
              ElementsAre("unknown option --zebra", "unknown option --jsno; did you mean --json?",
                          "unknown option -q"));
  EXPECT_THAT(said_of({"run", "m", "--cont", "5"}),
              ElementsAre("unknown option --cont; did you mean --context?"));
  // Before what is missing: an unknown option may have been meant to give it.
  EXPECT_THAT(said_of({"run", "--modle", "--json"}), ElementsAre("unknown option --modle"));
}

TEST(UsageError, ALongNameNeedsTwoDashes) {
  EXPECT_THAT(said_of({"run", "m", "-temp", "0"}),
              ElementsAre("unknown option -temp; did you mean --temp?"));
  EXPECT_THAT(said_of({"run", "m", "-context=4", "-json"}),
              ElementsAre("unknown option -context; did you mean --context?",
                          "unknown option -json; did you mean --json?"));
  EXPECT_THAT(said_of({"run", "m", "-cont", "4"}),
              ElementsAre("unknown option -cont; did you mean --context?"));
  // What is a value, or stands after --, is no option.
  EXPECT_THAT(said_of({"run", "m", "-p", "-temp"}), IsEmpty());
  EXPECT_THAT(said_of({"run", "m", "--", "-temp"}), IsEmpty());
  EXPECT_THAT(said_of({"run", "m", "-pr"}), IsEmpty());
}

TEST(UsageError, AShortNameTakesItsValueInAnyWay) {
  for (const char* typed : {"-c=3", "-c3"}) EXPECT_THAT(said_of({"run", "m", typed}), IsEmpty());
  EXPECT_THAT(said_of({"run", "m", "-c", "3"}), IsEmpty());
  std::vector<std::string> arguments = {"-p=x", "-p", "-p=x", "--prompt", "-p=x", "--", "-p=x"};
  CLI::App run("", "run");
  std::string prompt;
  run.add_option("-p,--prompt", prompt);
  EXPECT_THAT(respell(run, arguments), IsEmpty());
  EXPECT_THAT(arguments, ElementsAre("-px", "-p", "-p=x", "--prompt", "-p=x", "--", "-p=x"));
}

TEST(UsageError, OptionsStandAfterTheCommandAndBeforeTwoDashes) {
  EXPECT_THAT(said_of({"--context", "4", "run", "m"}),
              ElementsAre("--context stands before the command; it goes after it, as in flash-moe "
                          "run --context"));
  EXPECT_THAT(said_of({"--zebra", "run", "m"}), ElementsAre("unknown option --zebra"));
  EXPECT_THAT(said_of({"run", "m", "--", "-hi"}), IsEmpty());
  EXPECT_THAT(said_of({"run", "m", "--", "-hi", "-c", "3"}),
              ElementsAre("unexpected argument '-c': after -- nothing is an option, so options "
                          "stand before it"));
  EXPECT_THAT(said_of({"run", "m", "-jc"}), ElementsAre("unknown option -jc"));
  EXPECT_THAT(said_of({"run", "m", "-hello there"}),
              ElementsAre("'-hello there' begins with a dash, as options do; such a prompt goes "
                          "after -p, or after --"));
}

TEST(UsageError, APromptMayBeginWithADashAndANumber) {
  EXPECT_THAT(said_of({"run", "m", "-5 + 3 = ?"}), IsEmpty());
}

TEST(UsageError, NamesUnknownCommands) {
  EXPECT_THAT(said_of({"rnu", "m"}), ElementsAre("unknown command rnu; did you mean run?"));
  EXPECT_THAT(said_of({"trace", "inof"}),
              ElementsAre("unknown command trace inof; did you mean info?"));
  EXPECT_THAT(said_of({"trace"}), ElementsAre("trace: needs one of info"));
  EXPECT_THAT(said_of({"frobnicate"}), ElementsAre("unknown command frobnicate"));
}

TEST(UsageError, SaysInPlainWordsWhatIsWrong) {
  EXPECT_THAT(said_of({"run"}), ElementsAre("MODEL is missing"));
  EXPECT_THAT(said_of({"trace", "info"}), ElementsAre("--out is missing"));
  EXPECT_THAT(said_of({"completion"}), ElementsAre("SHELL is missing: one of bash zsh"));
  EXPECT_THAT(said_of({"run", "m", "--temperature"}), ElementsAre("--temperature: needs a value"));
  EXPECT_THAT(said_of({"run", "m", "--temp", "1", "--temperature", "1"}),
              ElementsAre("--temperature: is given more than once"));
  EXPECT_THAT(said_of({"run", "m", "--json=maybe"}), ElementsAre("--json: takes no such value"));
  EXPECT_THAT(said_of({"run", "m", "-c", "0x10"}),
              ElementsAre("--context: '0x10' is not a whole number from 0 to 2^64 - 1"));
  EXPECT_THAT(said_of({"run", "m", "What", "is", "it"}),
              ElementsAre("unexpected argument 'is'; a prompt of several words goes in quotes"));
  EXPECT_THAT(said_of({"run", "m", "hi"}), IsEmpty());
}

TEST(UsageError, GuessesOnlyWhatComesClose) {
  const std::vector<std::string> names = {"--temperature", "--top-k", "--top-p"};
  EXPECT_EQ(closest("--temperatur", names), "--temperature");
  EXPECT_EQ(closest("--topk", names), "--top-k");
  EXPECT_EQ(closest("--temp", names), "--temperature");
  EXPECT_EQ(closest("--to", names), "") << "the beginning of two";
  EXPECT_EQ(closest("--verbose", names), "");
}

}  // namespace
}  // namespace flashmoe::cli
