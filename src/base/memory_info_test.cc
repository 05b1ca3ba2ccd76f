#include "base/memory_info.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/aligned_buffer.h"
#include "base/testing/temporary_folder.h"

namespace flashmoe {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

// A made-up file system root.
class MemoryInfoTest : public testing::Test {
 protected:
  void write_meminfo() {
    root_.write("proc/meminfo",
                "MemTotal:       16777216 kB\nMemFree:          100000 kB\n"
                "MemAvailable:   12582912 kB\nMemAvailableX: 1 kB\n");
  }
  MemoryInfo read() const { return read_memory_info(root_.path()); }

  TemporaryFolder root_;
};

TEST_F(MemoryInfoTest, KnowsNothingOnAnEmptySystem) {
  const MemoryInfo info = read();
  EXPECT_EQ(info.total_bytes, 0u);
  EXPECT_EQ(info.available_bytes, 0u);
  EXPECT_FALSE(info.cgroup.has_value());
  EXPECT_EQ(info.huge_page_mode, HugePageMode::kUnknown);
  EXPECT_EQ(default_budget_bytes(info), 0u);
  EXPECT_EQ(read_process_memory(root_.path()).rss_bytes, 0u);
}

TEST_F(MemoryInfoTest, ReadsAMachineWithoutGroups) {
  write_meminfo();
  root_.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const MemoryInfo info = read();
  EXPECT_EQ(info.total_bytes, 16 * kGib);
  EXPECT_EQ(info.available_bytes, 12 * kGib);
  EXPECT_FALSE(info.cgroup.has_value());
  EXPECT_EQ(info.limit_bytes(), 16 * kGib);
  EXPECT_EQ(info.headroom_bytes(), 12 * kGib);
  EXPECT_EQ(info.huge_page_mode, HugePageMode::kMadvise);
}

TEST_F(MemoryInfoTest, TakesTheTightestLimitOfAV2Hierarchy) {
  write_meminfo();
  root_.write("proc/self/cgroup", "0::/user.slice/run 1.scope\n");
  root_.write("proc/self/mountinfo",
              "24 1 8:1 / / rw - ext4 /dev/sda rw\n"
              "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  root_.write("sys/fs/cgroup/user.slice/run 1.scope/memory.max", "max\n");
  root_.write("sys/fs/cgroup/user.slice/run 1.scope/memory.high", "3221225472\n");
  root_.write("sys/fs/cgroup/user.slice/run 1.scope/memory.current", "1073741824\n");
  root_.write("sys/fs/cgroup/user.slice/run 1.scope/memory.stat",
              "anon 1\nfile 536870912\ninactive_file 268435456\nactive_file 268435456\n");
  root_.write("sys/fs/cgroup/user.slice/memory.max", "4294967296\n");
  root_.write("sys/fs/cgroup/user.slice/memory.current", "3221225472\n");
  const MemoryInfo info = read();
  ASSERT_TRUE(info.cgroup.has_value());
  EXPECT_EQ(info.cgroup->limit_bytes, 3 * kGib);
  EXPECT_EQ(info.cgroup->path, (root_ / "sys/fs/cgroup/user.slice/run 1.scope").string());
  // 3 - (1 - 0.5) GiB in the inner group, but only 4 - 3 GiB in the outer.
  EXPECT_EQ(info.cgroup->headroom_bytes, 1 * kGib);
  EXPECT_EQ(info.limit_bytes(), 3 * kGib);
  EXPECT_EQ(info.headroom_bytes(), 1 * kGib);
}

TEST_F(MemoryInfoTest, CountsPageCacheOfTheGroupAsFree) {
  write_meminfo();
  root_.write("proc/self/cgroup", "0::/a\n");
  root_.write("proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  root_.write("cg/a/memory.max", "4294967296\n");
  root_.write("cg/a/memory.current", "4294967296\n");
  root_.write("cg/a/memory.stat", "inactive_file 2147483648\nactive_file 1073741824\n");
  EXPECT_EQ(read().headroom_bytes(), 3 * kGib);
}

TEST_F(MemoryInfoTest, ReadsV1) {
  write_meminfo();
  root_.write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/ab\n0::/\n");
  root_.write("proc/self/mountinfo",
              "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
              "35 31 0:32 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,cpu,memory\n"
              "36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");
  root_.write("sys/fs/cgroup/mem ory/docker/ab/memory.limit_in_bytes", "2147483648\n");
  root_.write("sys/fs/cgroup/mem ory/docker/ab/memory.usage_in_bytes", "536870912\n");
  root_.write("sys/fs/cgroup/mem ory/docker/ab/memory.stat",
              "inactive_file 99\ntotal_inactive_file 134217728\ntotal_active_file 134217728\n");
  root_.write("sys/fs/cgroup/mem ory/memory.limit_in_bytes", "9223372036854771712\n");
  root_.write("sys/fs/cgroup/pids/memory.limit_in_bytes", "1\n");
  const MemoryInfo info = read();
  ASSERT_TRUE(info.cgroup.has_value());
  EXPECT_EQ(info.cgroup->limit_bytes, 2 * kGib);
  EXPECT_EQ(info.cgroup->headroom_bytes, 2 * kGib - 256 * kMib);
}

TEST_F(MemoryInfoTest, FindsItsGroupInAContainerWithoutNamespace) {
  root_.write("proc/self/cgroup", "4:memory:/docker/ab/inner\n");
  root_.write("proc/self/mountinfo",
              "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  root_.write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
  root_.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
  ASSERT_TRUE(read().cgroup.has_value());
  EXPECT_EQ(read().cgroup->limit_bytes, 1 * kGib);
  // The process is in a group that this mount does not show: the mount point is what there is.
  for (const char* path : {"/docker/abc", "/elsewhere", "/../outside", ""}) {
    root_.write("proc/self/cgroup", std::string("4:memory:") + path + "\n");
    ASSERT_TRUE(read().cgroup.has_value()) << path;
    EXPECT_EQ(read().cgroup->limit_bytes, 2 * kGib) << path;
  }
}

TEST_F(MemoryInfoTest, TakesTwoDotsInTheNameOfAGroupForAName) {
  root_.write("proc/self/cgroup", "0::/job..7/step\n");
  root_.write("proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  root_.write("cg/job..7/memory.max", "1073741824\n");
  ASSERT_TRUE(read().cgroup.has_value());
  EXPECT_EQ(read().cgroup->limit_bytes, 1 * kGib);
}

TEST_F(MemoryInfoTest, IsNotConfusedByGarbage) {
  root_.write("proc/meminfo", "MemTotal:\nMemAvailable: lots kB\n");
  root_.write("proc/self/cgroup", "::\n\nmemory\n0::no/slash\n4:memory\n");
  root_.write("proc/self/mountinfo", "\n1 2 3\n30 24 0:26 / /cg rw - cgroup2\n- - - - - - - -\n");
  root_.write("cg/memory.max", "-5\n");
  root_.write("cg/memory.stat", "inactive_file");
  root_.write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise never");
  const MemoryInfo info = read();
  EXPECT_EQ(info.total_bytes, 0u);
  EXPECT_FALSE(info.cgroup.has_value());
  EXPECT_EQ(info.huge_page_mode, HugePageMode::kUnknown);
}

TEST(DefaultBudget, LeavesAFifthOfWhatIsFree) {
  MemoryInfo info;
  info.total_bytes = 16 * kGib;
  info.available_bytes = 10 * kGib;
  EXPECT_EQ(default_budget_bytes(info), 8 * kGib);
  info.cgroup = CgroupMemory{.limit_bytes = 6 * kGib, .headroom_bytes = 5 * kGib, .path = ""};
  EXPECT_EQ(default_budget_bytes(info), 4 * kGib);
  info.cgroup->headroom_bytes = 100 * kGib;
  EXPECT_EQ(default_budget_bytes(info), 8 * kGib);
  info.cgroup->headroom_bytes = 0;
  EXPECT_EQ(default_budget_bytes(info), 0u);
}

TEST(MemoryOfThisMachine, IsPlausible) {
  const MemoryInfo info = read_memory_info();
  EXPECT_GT(info.total_bytes, 64 * kMib);
  EXPECT_GT(info.available_bytes, 0u);
  EXPECT_LE(info.available_bytes, info.total_bytes);
  EXPECT_LE(default_budget_bytes(info), info.limit_bytes());
}

TEST(MemoryOfThisProcess, GrowsWithWhatItTouches) {
  const ProcessMemory before = read_process_memory();
  EXPECT_GT(before.rss_bytes, 0u);
  constexpr std::size_t kSize = 64 << 20;
  auto buffer = AlignedBuffer::allocate(kSize);
  ASSERT_TRUE(buffer.ok());
  std::fill(buffer->bytes().begin(), buffer->bytes().end(), std::byte{1});
  const ProcessMemory with = read_process_memory();
  buffer->release();
  const ProcessMemory after = read_process_memory();
  constexpr std::uint64_t kSlack = 2 * kMib;  // the kernel's counters are approximate
  EXPECT_GE(with.rss_bytes + kSlack, before.rss_bytes + kSize);
  EXPECT_LE(after.rss_bytes + kSize, with.rss_bytes + kSlack);
  EXPECT_GE(after.peak_rss_bytes + kSlack, before.rss_bytes + kSize);
}

}  // namespace
}  // namespace flashmoe
