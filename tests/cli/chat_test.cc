// The program itself, with its input from a pipe.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/testing/repository.h"
#include "base/testing/temporary_folder.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;

class ChatProgram : public ::testing::Test {
 protected:
  struct Ran {
    int exit_code = -1;
    std::string out;
    std::string err;
  };
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  Ran chat(const std::string& input, const std::string& flags, const fs::path& model) const {
    std::ofstream(path("in"), std::ios::binary) << input;
    const std::string command = "FLASHMOE_PRESETS=off XDG_CACHE_HOME=/dev/null '" +
                                program_path().string() + "' chat '" + model.string() +
                                "' --memory 1GiB " + flags + " <'" + path("in") + "' >'" +
                                path("out") + "' 2>'" + path("err") + "'";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out"), read("err")};
  }

  TemporaryFolder folder_;
};

TEST_F(ChatProgram, AnswersEachLineAndSavesTheConversation) {
  const Ran ran =
      chat("/system Be brief.\nHello\n\"\"\"two\nlines\"\"\"\n/save " + path("talk") + "\n",
           "--temperature 0 -n 8", sprout_folder());
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto messages = nlohmann::json::parse(read("talk"))["messages"];
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_EQ(messages[0]["role"], "system");
  EXPECT_EQ(messages[3]["content"], "two\nlines");
  // Replies are all that is printed: no prompt, no escape code.
  EXPECT_EQ(ran.out, messages[2]["content"].get<std::string>() + "\n" +
                         messages[4]["content"].get<std::string>() + "\n");
}

TEST_F(ChatProgram, ChangesModesAndSubjects) {
  const std::string flags = "--temperature 0 -n 12 --capacity 24";
  const Ran exact = chat("Hello\n/switch\nWhat is a prime?\n", flags, sprout_folder());
  ASSERT_EQ(exact.exit_code, 0) << exact.err;
  const Ran read =
      chat("/residency delta read\nHello\n/switch\nWhat is a prime?\n/residency\n/reset cold\n",
           flags, sprout_folder());
  ASSERT_EQ(read.exit_code, 0) << read.err;
  EXPECT_EQ(read.out, exact.out);
  EXPECT_NE(read.err.find("residency delta, on a miss read; 192 of 1024 experts have a slot, 184"),
            std::string::npos)
      << read.err;
  const Ran stale =
      chat("Hello\n/residency async-delta\n/retry\n/switch\nWhat is a prime?\n/residency\n", flags,
           sprout_folder());
  ASSERT_EQ(stale.exit_code, 0) << stale.err;
  EXPECT_NE(stale.err.find("approximate (--on-miss stale)"), std::string::npos) << stale.err;
  const Ran bad = chat("/residency all\n/residency lru stale\n/residency pinned\n/reset warm\n",
                       flags, sprout_folder());
  EXPECT_EQ(bad.exit_code, 1);
  for (const char* part :
       {"all is no residency mode", "only a fixed set", "--profile", "/reset warm"}) {
    EXPECT_NE(bad.err.find(part), std::string::npos) << part;
  }
}

TEST_F(ChatProgram, TheSameSeedGivesTheSameConversation) {
  const std::string input = "Tell me a story.\n/retry\n";
  const Ran first = chat(input, "-n 16 --seed 7", sprout_folder());
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(chat(input, "-n 16 --seed 7", sprout_folder()).out, first.out);
  EXPECT_NE(chat(input, "-n 16 --seed 8", sprout_folder()).out, first.out);
}

TEST_F(ChatProgram, GoesOnAfterBadTurnsAndTellsInItsExitCode) {
  const Ran ran = chat("/nope\n\xff\n/retry\n" + std::string(2000, 'x') + "\n/save\n/stats\n",
                       "-n 4 --context 64", sprout_folder());
  EXPECT_EQ(ran.exit_code, 1);
  for (const char* expected :
       {"/nope: no such command", "byte 0 of the message is not valid UTF-8",
        "there is no message to answer yet", "--context", "/save needs a file"}) {
    EXPECT_NE(ran.err.find(expected), std::string::npos) << expected << " in " << ran.err;
  }
  EXPECT_NE(ran.out.find("replies    0\n"), std::string::npos) << ran.out;
}

TEST_F(ChatProgram, HelpFitsAndASlipIsGuessed) {
  setenv("COLUMNS", "60", 1);
  const Ran ran = chat("/help\n/hlep\n", "", sprout_folder());
  unsetenv("COLUMNS");
  EXPECT_NE(ran.err.find("/hlep: no such command; did you mean /help?"), std::string::npos)
      << ran.err;
  EXPECT_NE(ran.out.find("--system"), std::string::npos);
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 60u) << line;
}

TEST_F(ChatProgram, AModelWithoutATemplateIsAnErrorThatNamesRun) {
  const fs::path model = folder_ / "model";
  fs::create_directories(model);
  for (const auto& entry : fs::directory_iterator(sprout_folder())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") || name == "config.json" || name == "tokenizer.json") {
      fs::create_symlink(fs::absolute(entry.path()), model / name);
    }
  }
  const Ran ran = chat("Hello\n", "", model);
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_NE(ran.err.find("flash-moe run"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace flashmoe::testing
