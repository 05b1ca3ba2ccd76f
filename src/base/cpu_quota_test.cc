#include "base/cpu_quota.h"

#include <gtest/gtest.h>

#include "base/testing/temporary_folder.h"
#include "base/thread_pool.h"

namespace flashmoe {
namespace {

// A made-up file system root.
class CpuQuotaTest : public testing::Test {
 protected:
  void be_in_v2(const std::string& group) {
    root_.write("proc/self/cgroup", "0::" + group + "\n");
    root_.write("proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  }
  void be_in_v1(const std::string& group) {
    root_.write("proc/self/cgroup", "5:memory:/other\n2:cpu,cpuacct:" + group + "\n0::/\n");
    root_.write("proc/self/mountinfo",
                "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n"
                "36 31 0:33 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  }
  std::optional<CpuQuota> read() const { return read_cpu_quota(root_.path()); }

  TemporaryFolder root_;
};

TEST_F(CpuQuotaTest, IsNoneOnAnEmptySystem) { EXPECT_FALSE(read().has_value()); }

TEST_F(CpuQuotaTest, ReadsV2) {
  be_in_v2("/docker/ab");
  root_.write("cg/docker/ab/cpu.max", "150000 100000\n");
  ASSERT_TRUE(read().has_value());
  EXPECT_DOUBLE_EQ(read()->cores, 1.5);
  EXPECT_EQ(read()->thread_count(), 2u);
  EXPECT_EQ(read()->path, (root_ / "cg/docker/ab").string());
}

TEST_F(CpuQuotaTest, ReadsV1) {
  be_in_v1("/docker/ab");
  root_.write("cg/cpu,cpuacct/docker/ab/cpu.cfs_quota_us", "400000\n");
  root_.write("cg/cpu,cpuacct/docker/ab/cpu.cfs_period_us", "100000\n");
  ASSERT_TRUE(read().has_value());
  EXPECT_EQ(read()->thread_count(), 4u);
}

TEST_F(CpuQuotaTest, TakesTheLeastOfTheWholeChain) {
  be_in_v2("/a/b/c");
  root_.write("cg/a/b/c/cpu.max", "max 100000\n");
  root_.write("cg/a/b/cpu.max", "300000 100000\n");
  root_.write("cg/a/cpu.max", "50000 20000\n");
  ASSERT_TRUE(read().has_value());
  EXPECT_DOUBLE_EQ(read()->cores, 2.5);
  EXPECT_EQ(read()->thread_count(), 3u);
  EXPECT_EQ(read()->path, (root_ / "cg/a").string());
}

TEST_F(CpuQuotaTest, LeavesOneThreadAtLeast) {
  be_in_v2("/a");
  root_.write("cg/a/cpu.max", "1000 100000\n");
  ASSERT_TRUE(read().has_value());
  EXPECT_EQ(read()->thread_count(), 1u);
}

TEST_F(CpuQuotaTest, IsNoneWithoutALimitAndWithGarbage) {
  be_in_v1("/a");
  root_.write("cg/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  root_.write("cg/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(read().has_value());
  root_.write("cg/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  root_.write("cg/cpu,cpuacct/a/cpu.cfs_period_us", "0\n");
  EXPECT_FALSE(read().has_value());
  be_in_v2("/a");
  for (const char* text : {"max 100000\n", "max\n", "", "-1 100000\n", "50000\n", "50000 0\n",
                           "0 100000\n", "lots of time\n"}) {
    root_.write("cg/a/cpu.max", text);
    EXPECT_FALSE(read().has_value()) << text;
  }
}

TEST_F(CpuQuotaTest, BoundsTheCoresOfAThreadPool) {
  const std::size_t allowed = ThreadPool::available_core_count(root_.path());
  be_in_v2("/a");
  root_.write("cg/a/cpu.max", "10000 100000\n");
  EXPECT_EQ(ThreadPool::available_core_count(root_.path()), 1u);
  root_.write("cg/a/cpu.max", "99900000 100000\n");
  EXPECT_EQ(ThreadPool::available_core_count(root_.path()), allowed);
}

}  // namespace
}  // namespace flashmoe
