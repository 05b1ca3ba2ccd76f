#include "base/memory_pressure.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/testing/temporary_folder.h"

namespace flashmoe {
namespace {

TEST(StalledTime, IsTheTotalOfSome) {
  EXPECT_EQ(parse_stalled_us("some avg10=12.50 avg60=3.00 avg300=0.71 total=98765\n"
                             "full avg10=1.00 avg60=0.00 avg300=0.00 total=11\n"),
            98765u);
  EXPECT_EQ(parse_stalled_us("some avg10=0.00 avg60=0.00 avg300=0.00 total=0"), 0u);
  EXPECT_EQ(parse_stalled_us("some total=7 avg10=0.00"), 7u);
}

TEST(StalledTime, IsUnknownWhereTheTextIsNotTheKernels) {
  for (const std::string_view text :
       {"", "\n", "some", "some ", "some avg10=0.00",
        "some avg10=0.00 total=", "some avg10=0.00 total=-1", "some avg10=0.00 total=many",
        "some avg10=0.00 total=99999999999999999999999", "full avg10=0.00 total=11",
        "some avg10=0.00\nfull avg10=0.00 total=11", "\nsome avg10=0.00 total=11"}) {
    EXPECT_EQ(parse_stalled_us(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_stalled_us(std::string_view("some \0 total=5", 14)), 5u);
}

// A made-up file system root.
class MemoryPressureProbeTest : public testing::Test {
 protected:
  void write_machine() {
    root_.write("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:   250 kB\n");
    root_.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=70\n");
  }
  void write_v2_group(const std::string& group) {
    root_.write("proc/self/cgroup", "0::" + group + "\n");
    root_.write("proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  }

  TemporaryFolder root_;
};

TEST_F(MemoryPressureProbeTest, HasNothingToWatchOnAnEmptySystem) {
  EXPECT_FALSE(MemoryPressureProbe(root_.path()).available());
  root_.write("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:   250 kB\n");
  EXPECT_FALSE(MemoryPressureProbe(root_.path()).available());
}

TEST_F(MemoryPressureProbeTest, WatchesAMachineWithoutGroups) {
  write_machine();
  const MemoryPressureProbe probe(root_.path());
  EXPECT_TRUE(probe.available());
  EXPECT_EQ(probe.pressure_path(), root_ / "proc/pressure/memory");
  EXPECT_EQ(probe.cgroup_count(), 0u);
  const MemoryPressure pressure = probe.read();
  EXPECT_EQ(pressure.stalled_us, 70u);
  EXPECT_EQ(pressure.limit_hit_count, 0u);
  EXPECT_DOUBLE_EQ(pressure.machine_share_left, 0.25);
  EXPECT_DOUBLE_EQ(pressure.group_share_left, 1);
  root_.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=99\n");
  EXPECT_EQ(probe.read().stalled_us, 99u);
}

TEST_F(MemoryPressureProbeTest, PrefersTheGroupsOwnStallsAndCountsHitsOfAllAbove) {
  write_machine();
  write_v2_group("/outer/inner");
  root_.write("cg/outer/inner/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
  root_.write("cg/outer/inner/memory.events", "low 1\nhigh 20\nmax 3\noom 9\noom_kill 9\n");
  root_.write("cg/outer/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=50\n");
  root_.write("cg/outer/memory.events", "low 0\nhigh 0\nmax 400\n");
  root_.write("cg/outer/memory.max", "1000\n");
  root_.write("cg/outer/memory.current", "990\n");
  root_.write("cg/outer/memory.stat", "anon 940\ninactive_file 40\nactive_file 0\n");
  const MemoryPressureProbe probe(root_.path());
  EXPECT_EQ(probe.pressure_path(), root_ / "cg/outer/inner/memory.pressure");
  EXPECT_EQ(probe.cgroup_count(), 2u);
  const MemoryPressure pressure = probe.read();
  EXPECT_EQ(pressure.stalled_us, 5u);
  EXPECT_EQ(pressure.limit_hit_count, 423u);
  EXPECT_DOUBLE_EQ(pressure.group_share_left, 0.05);
}

TEST_F(MemoryPressureProbeTest, WatchesV1) {
  root_.write("proc/self/cgroup", "4:memory:/a\n");
  root_.write("proc/self/mountinfo", "35 31 0:32 / /cg rw - cgroup cgroup rw,memory\n");
  root_.write("cg/a/memory.limit_in_bytes", "1000\n");
  root_.write("cg/a/memory.usage_in_bytes", "995\n");
  root_.write("cg/a/memory.stat", "total_inactive_file 5\n");
  root_.write("cg/a/memory.failcnt", "12\n");
  root_.write("cg/memory.failcnt", "0\n");
  root_.write("cg/memory.limit_in_bytes", "9223372036854771712\n");
  const MemoryPressureProbe probe(root_.path());
  EXPECT_TRUE(probe.available());
  EXPECT_TRUE(probe.pressure_path().empty());
  EXPECT_EQ(probe.read().limit_hit_count, 12u);
  EXPECT_DOUBLE_EQ(probe.read().group_share_left, 0.01);
}

TEST_F(MemoryPressureProbeTest, IsNotConfusedByGarbageOrFilesThatGo) {
  write_machine();
  write_v2_group("/a");
  root_.write("cg/a/memory.pressure", "pressure");
  root_.write("cg/a/memory.events", "high\nmax many\n");
  root_.write("cg/a/memory.max", "0\n");
  root_.write("proc/meminfo", "MemTotal: 0 kB\nMemAvailable: 5 kB\n");
  const MemoryPressureProbe probe(root_.path());
  EXPECT_EQ(probe.pressure_path(), root_ / "proc/pressure/memory");
  EXPECT_EQ(probe.read().limit_hit_count, 0u);
  EXPECT_DOUBLE_EQ(probe.read().machine_share_left, 1);
  EXPECT_DOUBLE_EQ(probe.read().group_share_left, 1);
  std::filesystem::remove_all(root_.path());
  EXPECT_EQ(probe.read().stalled_us, 0u);
  EXPECT_DOUBLE_EQ(probe.read().group_share_left, 1);
}

TEST(MemoryPressureOfThisMachine, IsPlausible) {
  const MemoryPressureProbe probe;
  const MemoryPressure before = probe.read();
  const MemoryPressure after = probe.read();
  EXPECT_GE(after.stalled_us, before.stalled_us);
  EXPECT_GE(after.limit_hit_count, before.limit_hit_count);
  EXPECT_GE(after.machine_share_left, 0);
  EXPECT_LE(after.machine_share_left, 1);
  EXPECT_LE(after.group_share_left, 1);
}

TEST_F(MemoryPressureProbeTest, TellsWhatOthersOfTheTightestGroupUse) {
  write_machine();
  write_v2_group("/outer/inner");
  root_.write("proc/self/status", "VmHWM:  900 kB\nVmRSS:  100 kB\n");
  root_.write("cg/outer/inner/memory.events", "high 0\nmax 0\n");
  root_.write("cg/outer/inner/memory.max", "2048000\n");
  root_.write("cg/outer/inner/memory.current", "512000\n");
  root_.write("cg/outer/memory.events", "high 0\nmax 0\n");
  root_.write("cg/outer/memory.max", "1024000\n");
  root_.write("cg/outer/memory.current", "819200\n");
  root_.write("cg/outer/memory.stat", "anon 1\ninactive_file 102400\nactive_file 0\n");
  const MemoryPressureProbe probe(root_.path());
  MemoryPressure pressure = probe.read();
  EXPECT_EQ(pressure.group_bytes_left, 1024000u - 819200 + 102400);
  EXPECT_EQ(pressure.others_bytes, 819200u - 102400 - 100 * 1024);
  root_.write("proc/self/status", "VmRSS:  9999 kB\n");
  EXPECT_EQ(probe.read().others_bytes, 0u);
}

}  // namespace
}  // namespace flashmoe
