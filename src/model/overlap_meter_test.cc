#include "model/overlap_meter.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

OverlapMeter::TimePoint at(double seconds) {
  return OverlapMeter::TimePoint() + std::chrono::duration_cast<OverlapMeter::TimePoint::duration>(
                                         std::chrono::duration<double>(seconds));
}

TEST(OverlapMeter, WithoutReadsIsTheComputation) {
  OverlapMeter meter;
  meter.begin(at(10));
  meter.computed(at(11), at(14));
  EXPECT_EQ(meter.reading_seconds(), 0);
  EXPECT_DOUBLE_EQ(meter.computing_seconds(), 3);
  EXPECT_DOUBLE_EQ(meter.bound_seconds(), 3);
}

TEST(OverlapMeter, TakesTheLongerOfReadingAndComputingAndThenTheLastExpert) {
  OverlapMeter slow_disk;
  slow_disk.begin(at(10));
  slow_disk.computed(at(10), at(12));
  slow_disk.arrived(at(15));
  slow_disk.computed(at(16), at(17));  // a second of delay is nobody's need
  EXPECT_DOUBLE_EQ(slow_disk.reading_seconds(), 5);
  EXPECT_DOUBLE_EQ(slow_disk.computing_seconds(), 3) << "without the wait between";
  EXPECT_DOUBLE_EQ(slow_disk.bound_seconds(), 6);

  OverlapMeter fast_disk;
  fast_disk.begin(at(10));
  fast_disk.computed(at(10), at(14));
  fast_disk.arrived(at(14));
  fast_disk.computed(at(14), at(15));
  fast_disk.computed(at(15), at(15.5));
  EXPECT_DOUBLE_EQ(fast_disk.bound_seconds(), 5.5);
}

TEST(OverlapMeter, BeginsAnew) {
  OverlapMeter meter;
  meter.begin(at(1));
  meter.computed(at(1), at(2));
  meter.arrived(at(3));
  meter.begin(at(5));
  EXPECT_EQ(meter.reading_seconds(), 0);
  EXPECT_EQ(meter.computing_seconds(), 0);
  EXPECT_EQ(meter.bound_seconds(), 0);
}

}  // namespace
}  // namespace flashmoe
