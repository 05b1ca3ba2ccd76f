// What a newcomer meets: `run` answers, the command line explains itself, defaults can be set,
// shells complete, manual pages are well-formed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "base/testing/repository.h"
#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

class FirstContact : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// `arguments` as a shell takes them, with an environment and redirections of its own.
  CommandResult shell(const std::string& environment, const std::string& arguments,
                      const std::string& rest = "</dev/null") const {
    const std::string line = "cd '" + path("") + "' && env -u FLASHMOE_PRESETS HOME='" +
                             path("home") + "' XDG_CONFIG_HOME='" + path("config") +
                             "' XDG_CACHE_HOME=/dev/null " + environment + " '" +
                             program_path().string() + "' " + arguments + " >'" + path("out") +
                             "' 2>'" + path("errors") + "' " + rest;
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out"), read("errors")};
  }

  void configure(const std::string& text) const {
    fs::create_directories(folder_ / "config" / "flash-moe");
    std::ofstream(path("config/flash-moe/config.toml")) << text;
  }

  static CommandResult run(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"run",  model(),          "--memory",
                                          "1GiB", "--resident-set", "off"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_flash_moe(arguments);
  }
  static Json run_json(std::vector<std::string> more) {
    more.emplace_back("--json");
    const CommandResult result = run(std::move(more));
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }
  static std::string model() { return sprout_folder().string(); }

  TemporaryFolder folder_;
};

TEST_F(FirstContact, RunAnswersThroughTheChatTemplate) {
  const Json answer = run_json({"What is a river?", "--seed", "1", "-n", "8"});
  const Json raw = run_json({"--raw", "What is a river?", "--seed", "1", "-n", "8"});
  // <|im_start|>user\n ... <|im_end|>\n<|im_start|>assistant\n stand around the words.
  EXPECT_GT(answer["statistics"]["prompt_tokens"], raw["statistics"]["prompt_tokens"]);
  EXPECT_EQ(answer["sampling"]["temperature"], 0.7) << "as generation_config.json recommends";
  EXPECT_EQ(answer["sampling"]["top_p"], 0.9);
  const Json system = run_json({"--system", "Be brief.", "What is a river?", "-n", "1"});
  EXPECT_GT(system["statistics"]["prompt_tokens"], answer["statistics"]["prompt_tokens"]);
}

TEST_F(FirstContact, SeveralPromptsAreTheTurnsThatChatHas) {
  const CommandResult turns =
      run({"-p", "Tell me a story.", "-p", "And then?", "--seed", "7", "-n", "12"});
  ASSERT_EQ(turns.exit_code, 0) << turns.errors;
  std::ofstream(path("in")) << "Tell me a story.\nAnd then?\n";
  const CommandResult chat =
      shell("FLASHMOE_PRESETS=off",
            "chat '" + model() + "' --memory 1GiB --resident-set off --seed 7 -n 12",
            "<'" + path("in") + "'");
  EXPECT_EQ(chat.exit_code, 0) << chat.errors;
  EXPECT_EQ(turns.output, chat.output);
}

TEST_F(FirstContact, TheLastLineSaysHowTheTextComesAgain) {
  const CommandResult first = run({"Tell me a story.", "-n", "24"});
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  std::smatch seed;
  ASSERT_TRUE(std::regex_search(first.errors, seed, std::regex(R"(\| --seed (\d+)\n$)")))
      << first.errors;
  EXPECT_EQ(run({"Tell me a story.", "-n", "24", "--seed", seed[1]}).output, first.output);
  const CommandResult second = run({"Tell me a story.", "-n", "24"});
  std::smatch other;
  ASSERT_TRUE(std::regex_search(second.errors, other, std::regex(R"(--seed (\d+)\n$)")));
  EXPECT_NE(other[1], seed[1]) << "2^-32 of a chance";
  EXPECT_THAT(first.errors, AllOf(HasSubstr("room for 1024 of 1024"), Not(HasSubstr("in memory"))));
}

TEST_F(FirstContact, IdsStayRawAndGreedy) {
  const std::string ids = folder_.write("ids", "[5, 6, 7]").string();
  const Json answer = run_json({"--ids-file", ids, "-n", "4"});
  EXPECT_EQ(answer["statistics"]["prompt_tokens"], 3);
  EXPECT_EQ(answer["sampling"]["temperature"], 0);
}

TEST_F(FirstContact, ANewlineAtTheEndOfAPromptIsDropped) {
  const Json plain = run_json({"--raw", "-p", "The sea", "-n", "1"});
  for (const char* text : {"The sea", "The sea\n", "The sea\r\n"}) {
    const std::string file = folder_.write("prompt", text).string();
    const Json read = run_json({"--raw", "-f", file, "-n", "1"});
    EXPECT_EQ(read["statistics"]["prompt_tokens"], plain["statistics"]["prompt_tokens"]);
  }
  const std::string two = folder_.write("prompt", "The sea\n\n").string();
  EXPECT_GT(run_json({"--raw", "-f", two, "-n", "1"})["statistics"]["prompt_tokens"],
            plain["statistics"]["prompt_tokens"]);
  const std::string nothing = folder_.write("prompt", "\n").string();
  const CommandResult empty = run({"-f", nothing});
  EXPECT_EQ(empty.exit_code, 2);
  EXPECT_THAT(empty.errors, HasSubstr("the prompt is empty"));
}

// Typed on a terminal, where one Ctrl-D ends a prompt: after a word, and on a line of its own.
TEST_F(FirstContact, OneCtrlDEndsATypedPrompt) {
  const Json plain = run_json({"--raw", "-p", "The sea", "-n", "1"});
  for (const char* typed : {"The sea\x04", "The sea\n\x04"}) {
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    ASSERT_GE(terminal, 0);
    ASSERT_EQ(grantpt(terminal), 0);
    ASSERT_EQ(unlockpt(terminal), 0);
    const std::string name = ptsname(terminal);
    const std::string out = path("out"), folder = model();
    const int typing =
        open(name.c_str(), O_RDWR | O_NOCTTY);  // keeps what is typed until it is read
    ASSERT_EQ(write(terminal, typed, std::strlen(typed)), static_cast<ssize_t>(std::strlen(typed)));
    const pid_t child = fork();
    if (child == 0) {
      dup2(typing, STDIN_FILENO);
      dup2(open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
      setenv("FLASHMOE_PRESETS", "off", 1);
      alarm(120);  // rather than wait for a second one for ever
      execl(program_path().c_str(), "flash-moe", "run", folder.c_str(), "--raw", "-n", "1",
            "--memory", "1GiB", "--resident-set", "off", "--json", nullptr);
      _exit(127);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    close(typing);
    close(terminal);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    const Json json = Json::parse(read("out"), nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["statistics"]["prompt_tokens"], plain["statistics"]["prompt_tokens"]);
  }
}

TEST_F(FirstContact, TheModelAndThePromptAreFoundWhereverTheyStand) {
  const std::string quick = " -n 1 --memory 1GiB --resident-set off --raw --json";
  const auto prompt_tokens = [&](const std::string& environment, const std::string& arguments) {
    const CommandResult result = shell(environment, "run " + arguments + quick);
    EXPECT_EQ(result.exit_code, 0) << arguments << ": " << result.errors;
    const Json json = Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
    return json.is_object() ? json["statistics"]["prompt_tokens"].get<int>() : -1;
  };
  const std::string folder = "'" + model() + "'";
  const int expected = prompt_tokens("", folder + " 'The sea'");
  EXPECT_EQ(prompt_tokens("", "-m " + folder + " 'The sea'"), expected);
  EXPECT_EQ(prompt_tokens("", "'The sea' --model=" + folder), expected);
  const std::string preset = "FLASHMOE_MODEL=" + folder;
  EXPECT_EQ(prompt_tokens(preset, "'The sea'"), expected);
  EXPECT_EQ(prompt_tokens(preset, folder + " -p 'The sea'"), expected);
  EXPECT_EQ(prompt_tokens("FLASHMOE_MODEL=/nonexistent", folder + " 'The sea'"), expected);

  struct Case {
    std::string arguments;
    const char* said;
  };
  const Case refused[] = {
      {"run", "MODEL is missing"},
      {"run 'What is a river?'", "MODEL is missing before the prompt 'What is a river?'"},
      {"run -m " + folder + " a b", "MODEL is given twice"},
      {"run " + folder + " a b", "unexpected argument 'b'; a prompt of several words"},
      {"run " + folder + " a -p b", "PROMPT is given twice"},
      {"run " + folder + " a -f b", "the prompt is given twice"},
      {"run " + folder + " --raw --system x a", "--system: what --raw continues"},
      {"inspect a -m b", "MODEL is given twice"},
  };
  for (const Case& c : refused) {
    const CommandResult result = shell("", c.arguments);
    EXPECT_EQ(result.exit_code, 2) << c.arguments;
    EXPECT_THAT(result.errors, StartsWith("flash-moe: ")) << c.arguments;
    EXPECT_THAT(result.errors, HasSubstr(c.said));
  }
}

TEST_F(FirstContact, DefaultsComeFromTheEnvironmentAndTheConfigFile) {
  const auto budget = [&](const std::string& environment, const std::string& flags) {
    const CommandResult result =
        shell(environment, "run '" + model() + "' x -n 1 --resident-set off --json " + flags);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    const Json json = Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
    return json.is_object() ? json["statistics"]["budget_bytes"].get<int>() >> 20 : -1;
  };
  configure("memory = \"70MiB\"\n[run]\nmemory = \"71MiB\"\n[chat]\nmemory = \"72MiB\"\n");
  EXPECT_EQ(budget("", ""), 71);
  EXPECT_EQ(budget("FLASHMOE_MEMORY=73MiB", ""), 73);
  EXPECT_EQ(budget("FLASHMOE_MEMORY=73MiB", "--memory 74MiB"), 74);
  // A list of budgets is no default's business.
  EXPECT_EQ(shell("FLASHMOE_MEMORY=1", "inspect '" + model() + "'").exit_code, 0);

  configure("[run]\ntempreature = 1\n");
  for (const char* command : {"run x", "doctor", "inspect x"}) {
    const CommandResult result = shell("", command);
    EXPECT_EQ(result.exit_code, 2) << command;
    EXPECT_THAT(result.errors, AllOf(HasSubstr("config.toml, line 2: run.tempreature: "),
                                     HasSubstr("did you mean temperature?")));
  }
  EXPECT_EQ(shell("", "run --help").exit_code, 0);
  EXPECT_EQ(shell("", "completion bash").exit_code, 0) << "every new shell reads it";
  EXPECT_THAT(shell("FLASHMOE_PRESETS=off", "run").errors, HasSubstr("MODEL is missing"));
  configure("");
  const CommandResult bad = shell("FLASHMOE_PORT=0x1F90", "serve x");
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.errors,
              HasSubstr("FLASHMOE_PORT: '0x1F90' is not a whole number from 0 to 65535"));
}

TEST_F(FirstContact, IdsAreContinuedGreedilyWhateverIsPreset) {
  std::ofstream(path("ids.json")) << "[100, 200, 300]";
  configure("temperature = 2\n");
  const std::string arguments =
      "run '" + model() + "' --ids-file ids.json -n 12 --resident-set off";
  const std::string text = shell("FLASHMOE_PRESETS=off", arguments).output;
  for (const char* environment : {"", "FLASHMOE_TOP_K=50", "FLASHMOE_REPEAT_PENALTY=2"}) {
    EXPECT_EQ(shell(environment, arguments).output, text) << environment;
  }
}

TEST_F(FirstContact, HelpAndVersionGoByTheirNames) {
  EXPECT_EQ(shell("", "help rnu").exit_code, 2);
  EXPECT_THAT(shell("", "help rnu").errors, HasSubstr("did you mean run?"));
  EXPECT_EQ(shell("", "help version").exit_code, 0);
  const std::string help = run_flash_moe({"run", "--help"}).output;
  EXPECT_THAT(help, HasSubstr("Usage: flash-moe run"));
  EXPECT_EQ(run_flash_moe({"help", "run"}).output, help);
  EXPECT_EQ(run_flash_moe({"help"}).output, run_flash_moe({"--help"}).output);
  EXPECT_EQ(run_flash_moe({"version"}).output, run_flash_moe({"--version"}).output);
  EXPECT_THAT(run_flash_moe({"trace", "replay", "--help"}).output,
              HasSubstr("Usage: flash-moe trace replay [OPTIONS] TRACE"));
  EXPECT_GT(run_flash_moe({"run", "--help-all"}).output.size(), help.size());
  EXPECT_THAT(run_flash_moe({"--help"}).output, Not(HasSubstr("completion")));
}

TEST_F(FirstContact, AReaderThatLeavesEndsARunQuietly) {
  const std::string line = "env FLASHMOE_PRESETS=off XDG_CACHE_HOME=/dev/null bash -c \"'" +
                           program_path().string() + "' run '" + model() +
                           "' --memory 1GiB --raw --ignore-eos -n 4000 Once 2>'" + path("errors") +
                           "' | head -c 1 >/dev/null; exit \\${PIPESTATUS[0]}\"";
  const int status = std::system(line.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 141);
  EXPECT_EQ(read("errors"), "");
}

TEST_F(FirstContact, VerboseTellsWhatHappensWhen) {
  const CommandResult result = run({"What is a river?", "-n", "4", "--verbose"});
  ASSERT_EQ(result.exit_code, 0);
  std::size_t at = 0;
  for (const char* event :
       {"opening ", "reading ", "plan: ", "prefill: ", "first token", "decode: "}) {
    const std::size_t found = result.errors.find(event, at);
    EXPECT_NE(found, std::string::npos) << event << " in " << result.errors;
    if (found != std::string::npos) at = found;
  }
}

/// What bash offers for a command line that is typed up to its last word.
class BashCompletion : public FirstContact {
 protected:
  std::vector<std::string> offered(const std::vector<std::string>& words) const {
    std::ofstream(path("flash-moe.bash")) << run_flash_moe({"completion", "bash"}).output;
    std::string list;
    for (const std::string& word : words) list += " '" + word + "'";
    std::ofstream(path("drive.bash"))
        << "source '" << path("flash-moe.bash") << "'\ncd '" << path("") << "'\nCOMP_WORDS=("
        << list << ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        << "$(complete -p flash-moe | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        << "printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    const std::string line =
        "bash '" + path("drive.bash") + "' >'" + path("out") + "' 2>'" + path("errors") + "'";
    EXPECT_EQ(std::system(line.c_str()), 0);
    EXPECT_EQ(read("errors"), "");
    std::vector<std::string> lines;
    std::istringstream stream(read("out"));
    for (std::string one; std::getline(stream, one);) {
      if (!one.empty()) lines.push_back(one);
    }
    return lines;
  }
};

TEST_F(BashCompletion, OffersCommandsOptionsAndValues) {
  EXPECT_THAT(offered({"flash-moe", "in"}), ElementsAre("inspect"));
  EXPECT_THAT(offered({"flash-moe", ""}), AllOf(Contains("run"), Contains("serve")));
  EXPECT_THAT(offered({"flash-moe", "trace", "a"}), ElementsAre("autotune"));
  EXPECT_THAT(offered({"flash-moe", "run", "--temp"}), ElementsAre("--temperature", "--temp"));
  EXPECT_THAT(offered({"flash-moe", "trace", "replay", "--pol"}), ElementsAre("--policy"));
  EXPECT_THAT(offered({"flash-moe", "run", "--io", "io"}), ElementsAre("io_uring"));
  EXPECT_THAT(offered({"flash-moe", "run", "--io", "=", "p"}), ElementsAre("pread"));
  EXPECT_THAT(offered({"flash-moe", "run", "--io", "="}), Contains("auto"));
  EXPECT_THAT(offered({"flash-moe", "run", "--seed", ""}), ElementsAre());
  fs::create_directories(folder_ / "model-a");
  folder_.write("model-b.txt", "");
  EXPECT_THAT(offered({"flash-moe", "run", "model-"}), ElementsAre("model-a"));
  EXPECT_THAT(offered({"flash-moe", "run", "-m", "model-"}), ElementsAre("model-a"));
  EXPECT_THAT(offered({"flash-moe", "run", "m", "-f", "model-"}),
              ::testing::UnorderedElementsAre("model-a", "model-b.txt"));
}

TEST_F(FirstContact, OtherShellsTakeTheirCompletion) {
  for (const std::string shell_name : {"zsh", "fish"}) {
    const CommandResult script = run_flash_moe({"completion", shell_name});
    ASSERT_EQ(script.exit_code, 0);
    EXPECT_THAT(script.output, AllOf(HasSubstr("temperature"), HasSubstr("autotune")));
    if (std::system(("command -v " + shell_name + " >/dev/null").c_str()) != 0) continue;
    const std::string file = folder_.write("script", script.output).string();
    EXPECT_EQ(std::system((shell_name + " -n '" + file + "'").c_str()), 0) << shell_name;
  }
  EXPECT_THAT(run_flash_moe({"completion", "csh"}).errors,
              HasSubstr("'csh' is not one of bash, zsh, fish"));
}

TEST_F(FirstContact, ManualPagesAreWellFormed) {
  fs::create_directories(folder_ / "man");
  ASSERT_EQ(run_flash_moe({"man", path("man")}).exit_code, 0);
  EXPECT_THAT(read("man/flash-moe-run.1"), HasSubstr("\\fB\\-\\-temperature\\fR"));
  EXPECT_TRUE(fs::exists(folder_ / "man" / "flash-moe-trace-replay.1"));
  if (std::system("command -v groff >/dev/null") != 0) GTEST_SKIP() << "groff is not installed";
  for (const auto& page : fs::directory_iterator(folder_ / "man")) {
    const std::string line = "groff -man -ww -Tutf8 '" + page.path().string() + "' >/dev/null 2>'" +
                             path("errors") + "'";
    EXPECT_EQ(std::system(line.c_str()), 0);
    EXPECT_EQ(read("errors"), "") << page.path();
  }
}

}  // namespace
}  // namespace flashmoe::testing
