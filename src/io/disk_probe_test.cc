#include "io/disk_probe.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/testing/temporary_folder.h"
#include "io/file.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

TEST(ProbeIoUring, AgreesWithTheReadQueue) {
  const Status status = probe_io_uring();
  const auto queue = make_read_queue({.backend = IoBackend::kAuto});
  ASSERT_TRUE(queue.ok());
  EXPECT_EQ(status.ok(), (*queue)->backend() == IoBackend::kIoUring) << status.message();
  if (!status.ok()) {
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_NE(status.message().find("--io pread"), std::string::npos);
  }
}

TEST(ProbeDirectIo, AgreesWithTheFile) {
  const TemporaryFile contents(100000, 1);
  const auto file = File::open(contents.path(), File::Mode::kDirect);
  ASSERT_TRUE(file.ok());
  const auto probe = probe_direct_io(contents.path());
  ASSERT_TRUE(probe.ok()) << probe.status().message();
  EXPECT_EQ(probe->path, contents.path().string());
  EXPECT_EQ(probe->alignment, file->direct_alignment() == 1 ? 0 : file->direct_alignment());
  EXPECT_EQ(probe->remedy.empty(), probe->alignment != 0);
}

TEST(ProbeDirectIo, NamesTheRemedyWhereItIsRefused) {
  if (!std::filesystem::exists("/proc/self/status")) GTEST_SKIP() << "no /proc here";
  const auto probe = probe_direct_io("/proc/self/status");
  ASSERT_TRUE(probe.ok());
  EXPECT_EQ(probe->alignment, 0u);
  EXPECT_NE(probe->remedy.find("local disk"), std::string::npos);
}

TEST(ProbeDirectIo, TakesTheLargestFileOfAFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "folder");
  EXPECT_EQ(probe_direct_io(folder.path()).status().code(), StatusCode::kNotFound);
  folder.write("small", "abc");
  folder.write("large", std::string(10000, 'x'));
  const auto probe = probe_direct_io(folder.path());
  ASSERT_TRUE(probe.ok()) << probe.status().message();
  EXPECT_EQ(probe->path, (folder / "large").string());
  EXPECT_EQ(probe_direct_io("no/such/file").status().code(), StatusCode::kNotFound);
}

TEST(MeasureReadSpeed, ReadsForNoLongerThanAsked) {
  const TemporaryFile contents(9000000, 1);
  for (const auto backend : {IoBackend::kAuto, IoBackend::kPread}) {
    const auto speed =
        measure_read_speed(contents.path(), {.seconds_max = 0.02, .backend = backend});
    ASSERT_TRUE(speed.ok()) << speed.status().message();
    EXPECT_EQ(speed->read_size, 2u << 20);
    EXPECT_EQ(speed->bytes_read % speed->read_size, 0u);
    EXPECT_GE(speed->bytes_read, 4 * speed->read_size);
    EXPECT_GT(speed->bytes_per_second, 0);
  }
  const auto expert_sized =
      measure_read_speed(contents.path(), {.seconds_max = 0, .read_size = 40 * 1000});
  ASSERT_TRUE(expert_sized.ok());
  EXPECT_EQ(expert_sized->read_size, 40960u);
  // No time at all: what was started first is all there is.
  const auto speed = measure_read_speed(contents.path(), {.seconds_max = 0, .depth = 3});
  ASSERT_TRUE(speed.ok());
  EXPECT_EQ(speed->bytes_read, 3 * speed->read_size);
}

TEST(MeasureReadSpeed, ReadsLessOfASmallFile) {
  const TemporaryFile contents(10000, 1), tiny(100, 2);
  const auto speed = measure_read_speed(contents.path(), {.seconds_max = 0.001});
  ASSERT_TRUE(speed.ok()) << speed.status().message();
  EXPECT_EQ(speed->read_size, 8192u);
  EXPECT_EQ(measure_read_speed(tiny.path(), {}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace flashmoe
