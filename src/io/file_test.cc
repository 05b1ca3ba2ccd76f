#include "io/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/testing/temporary_folder.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

TEST(File, ReadsAnyRange) {
  const TemporaryFile contents(10000, 1);
  const auto file = File::open(contents.path(), File::Mode::kBuffered);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->size(), 10000u);
  EXPECT_EQ(file->direct_alignment(), 1u);
  EXPECT_EQ(file->path(), contents.path().string());
  std::vector<std::byte> got(777);
  EXPECT_TRUE(file->read_at(1234, got).ok());
  EXPECT_TRUE(std::ranges::equal(got, contents.contents().subspan(1234, 777)));
  EXPECT_TRUE(file->read_at(10000, {}).ok());
}

TEST(File, SaysWhereAFileEnds) {
  const TemporaryFile contents(10000, 1);
  const auto file = File::open(contents.path(), File::Mode::kBuffered);
  ASSERT_TRUE(file.ok());
  std::vector<std::byte> got(777);
  const Status beyond = file->read_at(9999, got);
  EXPECT_EQ(beyond.code(), StatusCode::kCorrupt);
  EXPECT_NE(beyond.message().find("read 0 of 777 bytes at 9999"), std::string::npos)
      << beyond.message();
  contents.truncate(9500);
  const Status cut = file->read_at(9200, got);
  EXPECT_EQ(cut.code(), StatusCode::kCorrupt);
  EXPECT_NE(cut.message().find("read 300 of 777 bytes at 9200"), std::string::npos)
      << cut.message();
}

TEST(File, NamesWhatCannotBeOpened) {
  const auto missing = File::open("no/such/file", File::Mode::kDirect);
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("no/such/file"), std::string::npos);
  for (const auto mode : {File::Mode::kBuffered, File::Mode::kDirect}) {
    EXPECT_EQ(File::open(".", mode).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(File::open("/dev/null", mode).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(File, DoesNotHangOnAPipe) {
  const TemporaryFolder folder;
  const auto pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto opened = File::open(pipe, File::Mode::kBuffered);
  EXPECT_EQ(opened.status().code(), StatusCode::kInvalidArgument);
}

TEST(File, SaysThatAFileIsNotReadable) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const TemporaryFile contents(10, 1);
  std::filesystem::permissions(contents.path(), std::filesystem::perms::none);
  const auto opened = File::open(contents.path(), File::Mode::kBuffered);
  EXPECT_EQ(opened.status().code(), StatusCode::kIo);
}

TEST(File, FallsBackToThePageCacheWhereDirectReadsAreRefused) {
  if (!std::filesystem::exists("/proc/self/status")) GTEST_SKIP() << "no /proc here";
  const auto file = File::open("/proc/self/status", File::Mode::kDirect);  // procfs has no O_DIRECT
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->direct_alignment(), 1u);
}

TEST(File, MovesWithItsDescriptor) {
  const TemporaryFile contents(100, 1), others(200, 2);
  auto first = File::open(contents.path(), File::Mode::kBuffered);
  auto second = File::open(others.path(), File::Mode::kBuffered);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(second.ok());
  File moved(std::move(*first));
  moved = std::move(*second);
  EXPECT_EQ(moved.size(), 200u);
  std::vector<std::byte> got(200);
  EXPECT_TRUE(moved.read_at(0, got).ok());
  EXPECT_TRUE(std::ranges::equal(got, others.contents()));
}

}  // namespace
}  // namespace flashmoe
