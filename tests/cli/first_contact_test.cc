// What a newcomer meets: `run` answers, the command line explains itself, defaults can be set,
// shells complete, manual pages are well-formed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <thread>
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

TEST_F(FirstContact, SeedMinusOneIsDrawnAsByLlamaCpp) {
  std::vector<Json> seeds;
  for (int i = 0; i < 2; ++i) {
    seeds.push_back(run_json({"Tell me a story.", "-n", "1", "--seed", "-1"})["sampling"]["seed"]);
    EXPECT_LT(seeds.back(), std::uint64_t{1} << 32);
  }
  EXPECT_NE(seeds[0], seeds[1]) << "2^-32 of a chance";
  // It also takes back a seed that is preset.
  const CommandResult preset = shell(
      "FLASHMOE_SEED=5", "run '" + model() + "' x -n 1 --memory 1GiB --resident-set off --seed -1");
  EXPECT_EQ(preset.exit_code, 0) << preset.errors;
  EXPECT_THAT(preset.errors, Not(HasSubstr("--seed 5\n")));
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

/// The program at a terminal of its own.
class AtATerminal : public FirstContact {
 protected:
  static void keyed(int terminal, const std::string& typed) {
    EXPECT_EQ(write(terminal, typed.data(), typed.size()), static_cast<ssize_t>(typed.size()));
  }

  /// Whether the terminal hands over whole lines, as where none are edited.
  static bool is_canonical(int terminal) {
    termios settings = {};
    return tcgetattr(terminal, &settings) == 0 && (settings.c_lflag & ICANON) != 0;
  }

  /// What the program writes to standard output: a file, or the terminal, as `is_all` says.
  std::string type(const std::string& typed, std::vector<std::string> arguments,
                   bool is_all = false) const {
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    EXPECT_GE(terminal, 0);
    EXPECT_EQ(grantpt(terminal), 0);
    EXPECT_EQ(unlockpt(terminal), 0);
    const std::string name = ptsname(terminal);
    const std::string out = path("out");
    const int typing =
        open(name.c_str(), O_RDWR | O_NOCTTY);  // keeps what is typed until it is read
    if (!is_all) keyed(terminal, typed);
    std::vector<char*> words = {const_cast<char*>("flash-moe")};
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      const int file = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(typing, STDIN_FILENO);
      dup2(is_all ? typing : file, STDOUT_FILENO);
      if (is_all) dup2(typing, STDERR_FILENO);
      setenv("FLASHMOE_PRESETS", "off", 1);
      setenv("XDG_CACHE_HOME", "/dev/null", 1);
      // libedit keeps the names of functions that are added to it until the process ends.
      setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
      alarm(120);  // rather than wait for a second Ctrl-D for ever
      execv(program_path().c_str(), words.data());
      _exit(127);
    }
    int status = 0;
    std::string shown;
    char buffer[4096];
    if (is_all) {
      // An editor takes Ctrl-D for a key from when it has the terminal; without one it is an end.
      const auto latest = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (is_canonical(terminal) && std::chrono::steady_clock::now() < latest) {
        std::this_thread::yield();
      }
      keyed(terminal, typed);
    }
    close(typing);
    for (ssize_t count = 0; is_all && (count = ::read(terminal, buffer, sizeof(buffer))) > 0;) {
      shown.append(buffer, static_cast<std::size_t>(count));
    }
    EXPECT_EQ(waitpid(child, &status, 0), child);
    close(terminal);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    return is_all ? shown : read("out");
  }
};

// After a word, and on a line of its own.
TEST_F(AtATerminal, OneCtrlDEndsATypedPrompt) {
  const Json plain = run_json({"--raw", "-p", "The sea", "-n", "1"});
  for (const char* typed : {"The sea\x04", "The sea\n\x04"}) {
    const Json json = Json::parse(type(typed, {"run", model(), "--raw", "-n", "1", "--memory",
                                               "1GiB", "--resident-set", "off", "--json"}),
                                  nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["statistics"]["prompt_tokens"], plain["statistics"]["prompt_tokens"]);
  }
}

TEST_F(AtATerminal, OneCtrlDEndsTypedTextOfOtherCommands) {
  EXPECT_EQ(type("The sea\x04", {"tokenize", model()}),
            run_flash_moe({"tokenize", model(), "--text", "The sea"}).output);
  EXPECT_EQ(type("The sea\n\x04", {"tokenize", model()}),
            run_flash_moe({"tokenize", model(), "--text", "The sea\n"}).output);
  EXPECT_EQ(type("5 6\x04", {"tokenize", model(), "--decode"}),
            run_flash_moe({"tokenize", model(), "--decode", "--text", "5 6"}).output);
}

// With standard output on the terminal too, keys edit the line, where there is libedit.
TEST_F(AtATerminal, OneCtrlDEndsAnEditedText) {
  const std::string ids = run_flash_moe({"tokenize", model(), "--text", "The sea"}).output;
  const std::string shown = type("The sea\x04", {"tokenize", model()}, /*is_all=*/true);
  EXPECT_THAT(shown, HasSubstr(ids.substr(0, ids.size() - 1))) << "ends in another newline";
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
      {"run " + folder + " a --ids-file b", "the prompt is given twice"},
      {"run " + folder + " -p a -p b -f c", "--prompt-file: adds to one prompt, and there are 2"},
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

TEST_F(FirstContact, AFileIsAddedToThePromptAndStandardInputOnlyWhenAsked) {
  const auto prompt_tokens = [](const CommandResult& result) {
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    const Json json = Json::parse(result.output, nullptr, /*allow_exceptions=*/false);
    return json.is_object() ? json["statistics"]["prompt_tokens"].get<int>() : -1;
  };
  const std::string flags = "--raw -n 1 --memory 1GiB --resident-set off --json";
  const std::string command = "run '" + model() + "' Sum " + flags;
  std::ofstream(path("text")) << "One and two.\n";
  const int both = prompt_tokens(run({"Sum\n\nOne and two.", "--raw", "-n", "1", "--json"}));
  EXPECT_EQ(prompt_tokens(shell("", command + " -f text")), both);
  EXPECT_EQ(prompt_tokens(shell("", command + " -f -", "<'" + path("text") + "'")), both);
  EXPECT_EQ(shell("", command + " -f -").exit_code, 2) << "nothing to add";

  const CommandResult untold = shell("", command);
  EXPECT_EQ(untold.errors, "");
  const CommandResult told = shell("", command, "<'" + path("text") + "'");
  EXPECT_EQ(prompt_tokens(told), prompt_tokens(untold));
  EXPECT_THAT(told.errors, HasSubstr("standard input is not read, since there is a prompt; -f -"));
}

TEST_F(FirstContact, EachTurnHasItsOwnSeedAndItsOwnReads) {
  const Json turns =
      run_json({"-p", "Tell me a story.", "-p", "And then?", "--seed", "7", "-n", "9"});
  EXPECT_EQ(turns["seed"], 7);
  const Json& first = turns["answers"][0];
  const Json& second = turns["answers"][1];
  EXPECT_EQ(first["sampling"]["seed"], 7);
  EXPECT_EQ(second["sampling"]["seed"], 8);
  const Json alone = run_json({"Tell me a story.", "--seed", "7", "-n", "9"});
  EXPECT_EQ(first["text"], alone["text"]);
  EXPECT_EQ(alone["sampling"]["seed"], 7);
  // The weights that stay were read before the first answer.
  EXPECT_GT(first["statistics"]["bytes_read"], first["statistics"]["expert_bytes_read"]);
  EXPECT_EQ(second["statistics"]["bytes_read"], second["statistics"]["expert_bytes_read"]);
}

TEST_F(FirstContact, WhatDidNotHappenHasNoFigures) {
  const CommandResult nothing = run({"Tell me a story.", "-n", "0"});
  ASSERT_EQ(nothing.exit_code, 0) << nothing.errors;
  EXPECT_THAT(nothing.errors, AllOf(HasSubstr("prefill "), Not(HasSubstr("first token")),
                                    Not(HasSubstr("decode")), Not(HasSubstr(" 0.0"))));
  const Json json = run_json({"Tell me a story.", "-n", "0"});
  EXPECT_TRUE(json["statistics"]["time_to_first_token_seconds"].is_null());
  EXPECT_TRUE(json["statistics"]["decode_tokens_per_second"].is_null());
  const CommandResult one = run({"Tell me a story.", "-n", "1"});
  EXPECT_THAT(one.errors,
              AllOf(HasSubstr("| decode 1 token | first token "), Not(HasSubstr("0.0/"))));
}

TEST_F(FirstContact, AFullContextAdvisesWhatHelps) {
  const std::string ids = folder_
                              .write("ids",
                                     [] {
                                       std::string text;
                                       for (int i = 0; i < 65; ++i) text += "5 ";
                                       return text;
                                     }())
                              .string();
  EXPECT_THAT(run({"--ids-file", ids, "--context", "64"}).errors,
              HasSubstr("raise --context or shorten the input"));
  const Json config = Json::parse(std::ifstream(sprout_folder() / "config.json"), nullptr,
                                  /*allow_exceptions=*/false);
  const auto most = config["max_position_embeddings"].get<std::size_t>();
  std::string text;
  for (std::size_t i = 0; i <= most; ++i) text += "5 ";
  const std::string too_many = folder_.write("ids", text).string();
  EXPECT_THAT(run({"--ids-file", too_many, "--context", std::to_string(most)}).errors,
              HasSubstr("the model has no larger one, so shorten the input"));
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
  for (const char* first : {"-h", "--help"}) {
    EXPECT_EQ(run_flash_moe({first, "run"}).output, help) << first;
  }
  for (const std::string name : {"help", "completion", "man", "version"}) {
    EXPECT_THAT(run_flash_moe({"--help"}).output, HasSubstr("\n  " + name + "  ")) << name;
    const std::string own = run_flash_moe({name, "--help"}).output;
    EXPECT_THAT(own, AllOf(HasSubstr("Usage: flash-moe " + name), HasSubstr("flash-moe " + name),
                           Not(HasSubstr("flash-moe run MODEL"))));
    EXPECT_EQ(run_flash_moe({"help", name}).output, own);
  }
  EXPECT_THAT(run_flash_moe({"man", path("absent")}).errors, HasSubstr("absent: no such folder"));
  EXPECT_THAT(run_flash_moe({"man", "/proc"}).errors, HasSubstr("/proc/flash-moe.1: "));
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
  EXPECT_THAT(offered({"flash-moe", ""}), AllOf(Contains("help"), Contains("completion"),
                                                Contains("man"), Contains("version")));
  EXPECT_THAT(offered({"flash-moe", "completion", ""}), ElementsAre("bash", "zsh", "fish"));
  EXPECT_THAT(offered({"flash-moe", "help", "in"}), ElementsAre("inspect"));
  EXPECT_THAT(offered({"flash-moe", "help", "trace", "a"}), ElementsAre("autotune"));
  EXPECT_THAT(offered({"flash-moe", "version", ""}), ElementsAre());
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
  EXPECT_THAT(offered({"flash-moe", "man", "model-"}), ElementsAre("model-a"));
  EXPECT_THAT(offered({"flash-moe", "run", "-m", "model-"}), ElementsAre("model-a"));
  EXPECT_THAT(offered({"flash-moe", "run", "m", "-f", "model-"}),
              ::testing::UnorderedElementsAre("model-a", "model-b.txt"));
}

TEST_F(FirstContact, OtherShellsTakeTheirCompletion) {
  for (const std::string shell_name : {"zsh", "fish"}) {
    const CommandResult script = run_flash_moe({"completion", shell_name});
    ASSERT_EQ(script.exit_code, 0);
    EXPECT_THAT(script.output, AllOf(HasSubstr("temperature"), HasSubstr("autotune"),
                                     HasSubstr("bash zsh fish"), HasSubstr("version")));
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
