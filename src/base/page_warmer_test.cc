#include "base/page_warmer.h"

#include <gtest/gtest.h>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"

namespace flashmoe {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(PageWarmer, ChangesNoByteAndMayEndAtAnyTime) {
  AlignedBuffer buffer = AlignedBuffer::allocate(96 * kMiB).value();
  for (std::size_t i = 0; i < buffer.size(); i += 4096) buffer.data()[i] = std::byte{0x5a};
  {
    PageWarmer warmer(buffer.bytes());
    warmer.want(1);
    warmer.want(40 * kMiB);
    warmer.want(buffer.size() + 1);
  }
  { PageWarmer unused(buffer.bytes()); }
  { PageWarmer(buffer.bytes()).want(buffer.size()); }
  for (std::size_t i = 0; i < buffer.size(); i += 4096) {
    ASSERT_EQ(buffer.data()[i], std::byte{0x5a}) << i;
  }
}

#if defined(__linux__)
std::size_t resident_pages(AlignedBuffer& buffer, std::size_t begin, std::size_t size) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> in_memory(size / page);
  EXPECT_EQ(mincore(buffer.data() + begin, size, in_memory.data()), 0);
  return static_cast<std::size_t>(std::count_if(in_memory.begin(), in_memory.end(),
                                                [](unsigned char state) { return state & 1; }));
}

TEST(PageWarmer, BacksWhatIsWantedAndNoMore) {
  // A kernel may refuse, and an emulator say yes and do nothing.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  AlignedBuffer probe = AlignedBuffer::allocate(kMiB).value();
  if (madvise(probe.data(), probe.size(), 23) != 0 ||
      resident_pages(probe, 0, kMiB) < kMiB / page) {
    GTEST_SKIP() << "this system does not populate pages on request";
  }
  AlignedBuffer buffer = AlignedBuffer::allocate(128 * kMiB).value();
  PageWarmer warmer(buffer.bytes());
  warmer.want(32 * kMiB);
  while (resident_pages(buffer, 0, 32 * kMiB) < 32 * kMiB / page) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(resident_pages(buffer, 48 * kMiB, 80 * kMiB), 0u);

  AlignedBuffer large = AlignedBuffer::allocate(1024 * kMiB).value();
  PageWarmer resting(large.bytes());
  resting.want(large.size());
  resting.rest();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::size_t begun = resident_pages(large, 0, large.size());
  EXPECT_LT(begun, large.size() / page);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(resident_pages(large, 0, large.size()), begun);
  resting.want(32 * kMiB);
  while (resident_pages(large, 0, 32 * kMiB) < 32 * kMiB / page) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}
#endif

}  // namespace
}  // namespace flashmoe
