#include "cli/presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <vector>

#include "cli/option_groups.h"
#include "cli/option_values.h"

namespace flashmoe::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Two commands with options of every kind.
class Presets : public ::testing::Test {
 protected:
  Presets() {
    app_.require_subcommand(0, 1);
    for (CLI::App* command : {run_, app_.add_subcommand("serve")}) {
      const bool is_run = command == run_;
      command->add_option("-m,--model", is_run ? model_ : other_)->group(kModelOptions);
      add_whole_number(*command, "-t,--threads", is_run ? threads_ : other_threads_, {1, 64}, "")
          ->group(kModelOptions);
    }
    run_->add_option("--stop", stop_)->allow_extra_args(false)->group(kAnswerOptions);
    run_->add_flag("--ignore-eos", ignore_eos_)->group(kAnswerOptions);
    run_->add_flag("--json", json_)->group(kOutputOptions);
  }
  ~Presets() override {
    for (const char* name : {"FLASHMOE_THREADS", "FLASHMOE_MODEL", "FLASHMOE_JSON"}) unsetenv(name);
  }
  Status apply(const std::string& text) { return apply_config(app_, *run_, text, "config.toml"); }

  CLI::App app_{"", "flash-moe"};
  CLI::App* run_ = app_.add_subcommand("run");
  std::string model_, other_;
  std::size_t threads_ = 0, other_threads_ = 0;
  std::vector<std::string> stop_;
  bool ignore_eos_ = false, json_ = false;
};

TEST_F(Presets, ACommandsTableComesBeforeTheTop) {
  ASSERT_TRUE(apply("[run]\nthreads = 3\n[serve]\nthreads = 4\n").ok());
  EXPECT_EQ(threads_, 3u);
  EXPECT_EQ(other_threads_, 0u) << "another command's";
  ASSERT_TRUE(apply("threads = 2\nmodel = \"m\"\nstop = [\"a\", \"b\"]\nignore-eos = true\n"
                    "[run]\nthreads = 5\n")
                  .ok());
  EXPECT_EQ(threads_, 5u);
  EXPECT_EQ(model_, "m");
  EXPECT_THAT(stop_, ElementsAre("a", "b"));
  EXPECT_TRUE(ignore_eos_);
}

TEST_F(Presets, WhatIsTypedComesFirstAndReplaces) {
  ASSERT_TRUE(apply("threads = 2\nstop = [\"a\", \"b\"]\n").ok());
  EXPECT_EQ(run_->get_option("--threads")->count(), 0u) << "a preset does not count as typed";
  EXPECT_EQ(run_->get_option("--threads")->get_default_str(), "2") << "the help shows it";
  app_.parse(std::vector<std::string>{"c", "--stop", "7", "-t", "run"});
  EXPECT_EQ(threads_, 7u);
  EXPECT_THAT(stop_, ElementsAre("c"));
}

TEST_F(Presets, TheEnvironmentComesBeforeTheFile) {
  setenv("FLASHMOE_THREADS", "6", 1);
  setenv("FLASHMOE_MODEL", "", 1);
  setenv("FLASHMOE_JSON", "true", 1);
  setenv("FLASHMOE_PRESETS", "on", 1);
  setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
  ASSERT_TRUE(apply("threads = 2\nmodel = 'm'\n").ok());
  ASSERT_TRUE(apply_presets(app_, *run_).ok());
  EXPECT_EQ(threads_, 6u);
  EXPECT_EQ(model_, "m") << "an empty variable is none";
  EXPECT_FALSE(json_) << "what a script prints cannot be preset";
  setenv("FLASHMOE_THREADS", "9", 1);
  for (const char* off : {"off", "OFF", "0", "false", "No"}) {
    setenv("FLASHMOE_PRESETS", off, 1);
    ASSERT_TRUE(apply_presets(app_, *run_).ok());
    EXPECT_EQ(threads_, 6u) << off;
  }
  setenv("FLASHMOE_PRESETS", "of", 1);
  EXPECT_EQ(apply_presets(app_, *run_).message(), "FLASHMOE_PRESETS: 'of' is neither on nor off");
  setenv("FLASHMOE_PRESETS", "on", 1);
  setenv("FLASHMOE_THREADS", "many", 1);
  EXPECT_EQ(apply_presets(app_, *run_).message(),
            "FLASHMOE_THREADS: 'many' is not a whole number from 1 to 64");
  unsetenv("FLASHMOE_PRESETS");
  unsetenv("XDG_CONFIG_HOME");
}

TEST_F(Presets, UnknownKeysAndBadValuesNameTheFileAndTheKey) {
  struct Case {
    const char* text;
    const char* message;
  };
  const Case cases[] = {
      {"\nthreds = 2",
       "config.toml, line 2: threds: no option of that name can be preset; did you "
       "mean threads?"},
      {"[serve]\nstop = 'x'", "config.toml, line 2: serve.stop: no option of that name"},
      {"json = true", "config.toml, line 1: json: no option of that name can be preset"},
      {"t = 2", "config.toml, line 1: t: no option of that name"},
      {"json = true", "remove the line (docs/cli.md"},
      {"[rnu]\nthreads = 2", "config.toml, line 1: there is no command rnu; did you mean run?"},
      {"[run.fast]", "config.toml, line 1: there is no command run fast"},
      {"zebra.threads = 2",
       "config.toml, line 1: zebra.threads: there is no command zebra; remove"},
      {"threads = 0", "config.toml, line 1: threads: '0' is not a whole number from 1 to 64"},
      {"threads = [1, 2]", "config.toml, line 1: threads: "},
      {"threads", "config.toml, line 1: expected '='"},
  };
  for (const Case& c : cases) {
    const Status status = apply(c.text);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(status.message(), HasSubstr(c.message));
  }
  // A value is looked at when its command is used.
  EXPECT_TRUE(apply("[serve]\nthreads = 0").ok());
}

}  // namespace
}  // namespace flashmoe::cli
