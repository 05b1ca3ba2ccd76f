// `run --resident-set`: what an earlier run had in memory comes back, and changes no text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/temporary_folder.h"
#include "support/command.h"
#include "support/test_files.h"

namespace flashmoe::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

class RunResidentSet : public ::testing::Test {
 protected:
  struct Ran {
    Json json;
    std::string notes;
  };
  Ran run(std::vector<std::string> flags) const {
    flags.insert(flags.begin(),
                 {"run", sprout_folder().string(), "--memory", "1GiB", "--raw", "--temperature",
                  "0", "-p", "Once upon a time", "--max-tokens", "48", "--ignore-eos", "--json"});
    const CommandResult result =
        run_flash_moe(flags, "XDG_CACHE_HOME=" + (folder_.path() / "cache").string());
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return {Json::parse(result.output, nullptr, /*allow_exceptions=*/false), result.errors};
  }
  std::string file() const { return (folder_.path() / "set").string(); }
  std::size_t cached_count() const {
    const fs::path cache = folder_.path() / "cache" / "flash-moe";
    return fs::exists(cache) ? std::distance(fs::directory_iterator(cache), {}) : 0;
  }

  const TemporaryFolder folder_;
};

TEST_F(RunResidentSet, BringsBackTheExpertsOfAnEarlierRun) {
  const Ran plain = run({"--resident-set", "off"});
  EXPECT_EQ(plain.json["statistics"]["experts_restored"], 0);
  EXPECT_EQ(cached_count(), 0u);

  const Ran first = run({});
  EXPECT_EQ(first.json["statistics"]["experts_restored"], 0);
  EXPECT_EQ(cached_count(), 1u);
  const Ran second = run({"--resident-set", "auto"});
  EXPECT_GT(second.json["statistics"]["experts_restored"], 0);
  EXPECT_EQ(cached_count(), 1u);
  for (const Ran& ran : {first, second}) {
    EXPECT_EQ(ran.json["token_ids"], plain.json["token_ids"]);
    EXPECT_EQ(ran.json["text"], plain.json["text"]);
    EXPECT_THAT(ran.notes, IsEmpty());
  }
}

TEST_F(RunResidentSet, TakesAFileAndTellsWhyItCannot) {
  EXPECT_THAT(run({"--resident-set", file()}).notes, IsEmpty());
  const Ran again = run({"--resident-set", file()});
  EXPECT_GT(again.json["statistics"]["experts_restored"], 0);
  EXPECT_EQ(cached_count(), 0u);

  std::ofstream(file()) << "a letter";
  EXPECT_THAT(run({"--resident-set", file()}).notes, HasSubstr(file()));
  EXPECT_EQ(fs::file_size(file()), 8u);
  const std::string absent = (folder_.path() / "absent" / "set").string();
  EXPECT_THAT(run({"--resident-set", absent}).notes, HasSubstr(absent));
}

TEST_F(RunResidentSet, IsOffUnderARoutingThatIsKnown) {
  const std::string trace = (folder_.path() / "trace").string();
  run({"--resident-set", "off", "--record-trace", trace});
  run({"--routing-trace", trace});
  EXPECT_EQ(cached_count(), 0u);
}

TEST_F(RunResidentSet, WithoutACacheFolderIsSilentlyNone) {
  std::ofstream(folder_.path() / "cache") << "";
  EXPECT_THAT(run({}).notes, IsEmpty());
}

}  // namespace
}  // namespace flashmoe::testing
