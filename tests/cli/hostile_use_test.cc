// The program where its surroundings fail it: signals in the middle of work, closed or full
// standard output, input that cannot be computed.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/testing/repository.h"
#include "base/testing/temporary_folder.h"
#include "format/safetensors_file.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;

class HostileUse : public ::testing::Test {
 protected:
  std::string path(std::string_view name) const { return (folder_.path() / name).string(); }

  std::string write_ids(std::size_t count) const {
    std::string ids;
    for (std::size_t i = 0; i < count; ++i) ids += "7 ";
    return folder_.write("ids", ids).string();
  }

  /// The exit code of flash-moe as a shell runs it, and its messages, where `redirections` say.
  static int shell(const std::string& arguments, const std::string& redirections) {
    const std::string line = "FLASHMOE_PRESETS=off XDG_CACHE_HOME=/dev/null '" +
                             program_path().string() + "' " + arguments + " " + redirections;
    const int status = std::system(line.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string read(std::string_view name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// Some file in `out` is being written.
  bool has_begun() const { return !fs::is_empty(folder_.path() / "out"); }

  TemporaryFolder folder_;
};

TEST_F(HostileUse, AnInterruptedForwardLeavesNoFile) {
  const std::string model = sprout_folder().string(), ids = write_ids(4000);
  fs::create_directory(folder_.path() / "out");
  const std::string out = path("out/logits.safetensors");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const pid_t child = fork();
    if (child == 0) {
      execl(program_path().c_str(), "flash-moe", "forward", model.c_str(), "--memory", "1GiB",
            "--hidden", "--prefill-chunk", "16", "--ids-file", ids.c_str(), "--out", out.c_str(),
            nullptr);
      _exit(127);
    }
    int status = 0;
    pid_t ended = 0;
    while (!has_begun() && (ended = waitpid(child, &status, WNOHANG)) == 0) {
      std::this_thread::yield();
    }
    ASSERT_EQ(ended, 0) << "ended before it began to write: " << status;
    kill(child, signal);
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << strsignal(WTERMSIG(status));
    EXPECT_EQ(WEXITSTATUS(status), 128 + signal);
    EXPECT_TRUE(fs::is_empty(folder_.path() / "out")) << signal;
  }
}

TEST_F(HostileUse, ForwardRefusesTooManyIdsBeforeItWritesAnything) {
  const std::string ids = write_ids(100);
  const CommandResult result =
      run_flash_moe({"forward", sprout_folder().string(), "--memory", "1GiB", "--context", "64",
                     "--ids-file", ids, "--out", path("logits.safetensors")});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("--context"));
  EXPECT_THAT(result.errors, HasSubstr(ids));
}

// The next file to be opened would take the number of a closed descriptor.
TEST_F(HostileUse, ClosedStandardOutputIsAnErrorAndSpoilsNoFile) {
  const std::string model = fmt::format("'{}' --memory 1GiB ", sprout_folder().string());
  const std::string out = path("logits.safetensors");
  const std::string forward = "forward " + model + "--io pread --ids-file '" + write_ids(4) +
                              "' --json --out '" + out + "'";
  EXPECT_EQ(shell(forward, "<&- >&- 2>&-"), 1);
  EXPECT_TRUE(SafetensorsFile::open(out).ok());
  EXPECT_EQ(shell("run " + model + "-n 2 -p Once", ">&- 2>'" + path("errors") + "'"), 1);
  EXPECT_THAT(read("errors"), HasSubstr("standard output"));
}

TEST_F(HostileUse, HelpThatReachesNobodyIsAFailure) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "this system has no /dev/full";
  for (const char* arguments : {"--version", "--help", "run --help"}) {
    EXPECT_EQ(shell(arguments, ">/dev/full 2>/dev/null"), 1) << arguments;
    EXPECT_EQ(shell(arguments, ">/dev/null"), 0) << arguments;
  }
}

// Nothing can be said; the exit code still can.
TEST_F(HostileUse, MessagesThatReachNobodyChangeNoExitCode) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "this system has no /dev/full";
  const std::string model = fmt::format("'{}' --memory 1GiB ", sprout_folder().string());
  EXPECT_EQ(shell("run " + model + "-n 2 -p Once", ">/dev/null 2>/dev/full"), 0);
  EXPECT_EQ(shell("run /nonexistent -p Once", ">/dev/null 2>/dev/full"), 1);
}

TEST_F(HostileUse, ValuesThatMakeNoSenseAreRefused) {
  const std::string model = sprout_folder().string();
  const std::vector<std::vector<std::string>> flags = {
      {"--memory", ""},       {"--memory", "-1"}, {"--memory", "60e6"},
      {"--memory", "0"},      {"--memory", "60"}, {"--seed", "99999999999999999999"},
      {"--seed", "-2"},       {"--seed", "-01"},  {"--seed", ""},
      {"--top-k", "-1"},      {"--top-p", "2"},   {"--temperature", "nan"},
      {"--max-tokens", "-1"}, {"--threads", "0"}, {"--context", "0"},
      {"--io", "mmap"},       {"--stop", ""}};
  for (const std::vector<std::string>& flag : flags) {
    std::vector<std::string> arguments = {"run", model, "-p", "Once"};
    if (flag[0] != "--memory") arguments.insert(arguments.end(), {"--memory", "64MiB"});
    arguments.insert(arguments.end(), flag.begin(), flag.end());
    const CommandResult result = run_flash_moe(arguments);
    EXPECT_EQ(result.exit_code, 2) << flag[0] << " " << flag[1];
    EXPECT_EQ(result.output, "") << flag[0] << " " << flag[1];
    EXPECT_THAT(result.errors, HasSubstr(flag[0].substr(2, 4))) << flag[1];
  }
}

TEST_F(HostileUse, FlagsThatMayBeRepeatedLeaveTheModelAlone) {
  const std::string model = sprout_folder().string();
  const std::vector<std::vector<std::string>> commands = {
      {"run", "--memory", "64MiB", "-p", "Once", "-n", "1", "--stop", "x", "--stop", "y", model},
      {"inspect", "--memory", "64MiB,1GiB", "--memory", "2GiB", model},
      {"verify", "-n", "1", "--memory", "64MiB,65MiB", "-p", "Once", "-p", "Twice", model}};
  for (const std::vector<std::string>& command : commands) {
    const CommandResult result = run_flash_moe(command);
    EXPECT_EQ(result.exit_code, 0) << command[0] << ": " << result.errors;
  }
}

TEST_F(HostileUse, AMisspeltCommandIsNamedAndNoneShowsTheHelp) {
  const CommandResult misspelt = run_flash_moe({"rnu", "model"});
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_THAT(misspelt.errors, HasSubstr("rnu"));
  const CommandResult none = run_flash_moe({});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.errors, HasSubstr("Examples:"));
}

TEST_F(HostileUse, TokenizeNamesTheLineOfAnIdThatIsNone) {
  const std::string lines = folder_.write("lines", "[1]\n[99999]\n[2]\n").string();
  const CommandResult result =
      run_flash_moe({"tokenize", sprout_folder().string(), "--jsonl", "--decode", "--file", lines});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr(lines + ", line 2: token id 99999"));
}

TEST_F(HostileUse, VerifyRefusesABudgetTooSmallBeforeItRunsOthers) {
  const CommandResult result =
      run_flash_moe({"verify", sprout_folder().string(), "--memory", "64MiB,1MiB"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr("--memory 1MiB: the smallest budget that works is"));
}

}  // namespace
}  // namespace flashmoe::testing
