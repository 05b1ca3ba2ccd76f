#include "base/memory_probe.h"

#include <gtest/gtest.h>

namespace flashmoe {
namespace {

TEST(MemoryProbe, ReadsAllOfItAtLeastOnce) {
  const auto speed =
      measure_memory_speed({.threads = 2, .seconds_max = 0, .size_bytes = std::uint64_t{16} << 20});
  ASSERT_TRUE(speed.ok()) << speed.status().message();
  EXPECT_EQ(speed->size_bytes, std::uint64_t{16} << 20);
  EXPECT_GT(speed->bytes_per_second, 0);
  EXPECT_LE(speed->huge_page_bytes, speed->size_bytes);
}

}  // namespace
}  // namespace flashmoe
