#include "base/limited_cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/aligned_buffer.h"
#include "base/child_process.h"
#include "base/memory_info.h"

namespace flashmoe {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kLimit = std::uint64_t{96} << 20;

/// Touches so much memory in a child that entered the group, and returns the limit it sees.
Result<std::string> touch_in(const LimitedCgroup& group, std::uint64_t bytes) {
  return run_in_child([&]() -> Result<std::string> {
    FM_RETURN_IF_ERROR(group.enter());
    FM_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::allocate(bytes));
    for (std::uint64_t i = 0; i < bytes; i += 4096) buffer.data()[i] = std::byte{1};
    return std::to_string(read_memory_info().limit_bytes());
  });
}

TEST(LimitedCgroup, LimitsWhoEnters) {
  const auto group = LimitedCgroup::create(kLimit);
  if (group.status().code() == StatusCode::kUnsupported) {
    GTEST_SKIP() << group.status().message();
  }
  ASSERT_TRUE(group.ok()) << group.status().message();
  const auto fits = touch_in(**group, kLimit / 6);
  ASSERT_TRUE(fits.ok()) << fits.status().message();
  EXPECT_EQ(*fits, std::to_string(kLimit));
  EXPECT_THAT(touch_in(**group, 5 * kLimit).status().message(), HasSubstr("signal 9"));
  // This process is not in it.
  EXPECT_NE(read_memory_info().limit_bytes(), kLimit);
}

TEST(LimitedCgroup, LeavesNoFolder) {
  for (int i = 0; i < 2; ++i) {  // the second finds the name free
    const auto group = LimitedCgroup::create(kLimit);
    if (!group.ok()) GTEST_SKIP() << group.status().message();
  }
}

}  // namespace
}  // namespace flashmoe
