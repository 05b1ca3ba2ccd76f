#include "cli/resident_set_path.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/testing/temporary_folder.h"

namespace flashmoe::cli {
namespace {

namespace fs = std::filesystem;

class ResidentSetPath : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "model");
    fs::create_directories(folder_ / "other");
    for (const char* name : {"HOME", "XDG_CACHE_HOME"}) {
      if (const char* value = std::getenv(name)) saved_.emplace_back(name, value);
    }
    setenv("HOME", folder_.path().c_str(), 1);
    unsetenv("XDG_CACHE_HOME");
  }
  void TearDown() override {
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    for (const auto& [name, value] : saved_) setenv(name.c_str(), value.c_str(), 1);
  }
  std::optional<fs::path> path() const { return resident_set_path(folder_ / "model"); }

  TemporaryFolder folder_;
  std::vector<std::pair<std::string, std::string>> saved_;
};

TEST_F(ResidentSetPath, IsInACacheFolderForTheUserAlone) {
  const std::optional<fs::path> found = path();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->parent_path(), folder_ / ".cache" / "flash-moe");
  EXPECT_EQ(fs::status(found->parent_path()).permissions(), fs::perms::owner_all);
  EXPECT_FALSE(fs::exists(*found));
}

TEST_F(ResidentSetPath, IsOneForEachModelHoweverItIsSpelled) {
  fs::create_symlink(folder_ / "model", folder_ / "link");
  EXPECT_EQ(resident_set_path(folder_ / "link"), path());
  EXPECT_EQ(resident_set_path(folder_ / "other" / ".." / "model"), path());
  EXPECT_NE(resident_set_path(folder_ / "other"), path());
}

TEST_F(ResidentSetPath, FollowsXdgCacheHome) {
  setenv("XDG_CACHE_HOME", (folder_ / "xdg").c_str(), 1);
  ASSERT_TRUE(path().has_value());
  EXPECT_EQ(path()->parent_path(), folder_ / "xdg" / "flash-moe");
  EXPECT_FALSE(fs::exists(folder_ / ".cache"));
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(path()->parent_path(), folder_ / ".cache" / "flash-moe");
}

TEST_F(ResidentSetPath, IsNoneWhereNothingCanBeKept) {
  folder_.write("file", "");
  setenv("XDG_CACHE_HOME", (folder_ / "file").c_str(), 1);
  EXPECT_EQ(path(), std::nullopt);
  setenv("XDG_CACHE_HOME", (folder_ / "absent" / "deeper").c_str(), 1);
  EXPECT_EQ(path(), std::nullopt);
  unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(resident_set_path(folder_ / "no_model"), std::nullopt);
  unsetenv("HOME");
  EXPECT_EQ(path(), std::nullopt);
}

}  // namespace
}  // namespace flashmoe::cli
