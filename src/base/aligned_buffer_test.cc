#include "base/aligned_buffer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/memory_info.h"
#include "base/units.h"

namespace flashmoe {
namespace {

std::uintptr_t address(const AlignedBuffer& buffer) {
  return reinterpret_cast<std::uintptr_t>(buffer.data());
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

TEST(AlignedBuffer, IsZeroFilledAndAligned) {
  std::vector<AlignedBuffer> buffers;
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{100000},
        AlignedBuffer::kHugePageSize, 3 * AlignedBuffer::kHugePageSize + 12345}) {
    auto buffer = AlignedBuffer::allocate(size);
    ASSERT_TRUE(buffer.ok()) << buffer.status().message();
    EXPECT_EQ(buffer->size(), size);
    EXPECT_EQ(address(*buffer) % 4096, 0u);
    if (size >= AlignedBuffer::kHugePageSize) {
      EXPECT_EQ(address(*buffer) % AlignedBuffer::kHugePageSize, 0u);
    }
    EXPECT_TRUE(is_zero(buffer->bytes()));
    std::memset(buffer->data(), 0xff, size);
    buffers.push_back(std::move(*buffer));
  }
}

TEST(AlignedBuffer, OfNothingIsEmpty) {
  const auto buffer = AlignedBuffer::allocate(0);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer->data(), nullptr);
  EXPECT_EQ(buffer->size(), 0u);
  EXPECT_EQ(buffer->huge_page_bytes(), 0u);
}

void expect_refused(std::size_t size) {
  const auto buffer = AlignedBuffer::allocate(size);
  ASSERT_FALSE(buffer.ok()) << size;
  EXPECT_EQ(buffer.status().code(), StatusCode::kIo);
  EXPECT_NE(buffer.status().message().find(format_size(size)), std::string::npos);
}

TEST(AlignedBuffer, SaysThatItCannotHaveMoreThanAddressesReach) {
  expect_refused(std::numeric_limits<std::size_t>::max());
  expect_refused(std::size_t{1} << 62);
}

TEST(AlignedBuffer, SaysThatItCannotHaveMoreThanTheSystemGives) {
#ifdef FLASHMOE_EMULATED
  GTEST_SKIP() << "qemu-user grants any mapping, and fills the memory with a note on every page";
#endif
  std::string mode;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> mode;
  if (mode != "0" && mode != "2") {
    GTEST_SKIP() << "the system promises memory that it does not have (overcommit: '" << mode
                 << "')";
  }
  expect_refused(std::size_t{1} << 46);  // addresses reach as far, memory does not
}

TEST(AlignedBuffer, MovesAndReleases) {
  auto first = AlignedBuffer::allocate(100);
  ASSERT_TRUE(first.ok());
  std::byte* const data = first->data();
  AlignedBuffer second(std::move(*first));
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(first->data(), nullptr);
  AlignedBuffer third;
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.size(), 100u);
  third.release();
  EXPECT_EQ(third.data(), nullptr);
  EXPECT_EQ(third.size(), 0u);
  third.release();
}

TEST(AlignedBuffer, DiscardsWholePagesAlone) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  auto buffer = AlignedBuffer::allocate(4 * page + 10);
  ASSERT_TRUE(buffer.ok());
  std::ranges::fill(buffer->bytes(), std::byte{7});
  buffer->discard(page - 1, 2 * page + 1);  // the last byte of a page, and two pages
  const auto at = [&](std::size_t i) { return buffer->bytes()[i]; };
  EXPECT_EQ(at(page - 1), std::byte{7});
  EXPECT_EQ(at(page), std::byte{0});
  EXPECT_EQ(at(3 * page - 1), std::byte{0});
  EXPECT_EQ(at(3 * page), std::byte{7});
  buffer->discard(3 * page + 1, page - 1);  // less than a page
  EXPECT_EQ(at(4 * page - 1), std::byte{7});
  std::ranges::fill(buffer->bytes(), std::byte{9});
  EXPECT_EQ(at(page), std::byte{9});
  buffer->discard(buffer->size(), 0);
}

TEST(AlignedBuffer, GivesDiscardedMemoryBackToTheSystem) {
  constexpr std::size_t kSize = 64 << 20;
  auto buffer = AlignedBuffer::allocate(kSize);
  ASSERT_TRUE(buffer.ok());
  std::ranges::fill(buffer->bytes(), std::byte{1});
  const std::uint64_t with = read_process_memory().rss_bytes;
  buffer->discard(0, kSize / 2);
  constexpr std::uint64_t kSlack = 2 << 20;  // the kernel's counters are approximate
  EXPECT_LE(read_process_memory().rss_bytes + kSize / 2, with + kSlack);
}

TEST(AlignedBufferDeathTest, FaultsOnAnOverrun) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto buffer = AlignedBuffer::allocate(4096);
  ASSERT_TRUE(buffer.ok());
  volatile std::byte* const end = buffer->data() + 4096;
  EXPECT_DEATH(*end = std::byte{1}, "");
}

TEST(AlignedBuffer, ReportsTheHugePagesThatItGot) {
#ifdef FLASHMOE_EMULATED
  GTEST_SKIP() << "qemu-user makes up smaps";
#endif
  std::ifstream mode_file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string mode;
  std::getline(mode_file, mode);
  if (mode.find("[madvise]") == std::string::npos && mode.find("[always]") == std::string::npos) {
    GTEST_SKIP() << "no transparent huge pages here";
  }
  constexpr std::size_t kSize = 8 * AlignedBuffer::kHugePageSize;
  auto buffer = AlignedBuffer::allocate(kSize);
  auto neighbour = AlignedBuffer::allocate(kSize);
  ASSERT_TRUE(buffer.ok());
  ASSERT_TRUE(neighbour.ok());
  EXPECT_EQ(buffer->huge_page_bytes(), 0u);
  std::memset(neighbour->data(), 1, kSize);
  EXPECT_EQ(buffer->huge_page_bytes(), 0u) << "counts its neighbour's";
  std::memset(buffer->data(), 1, kSize);
  // The kernel may be short of huge pages, though hardly of every single one.
  const std::uint64_t huge_bytes = buffer->huge_page_bytes();
  EXPECT_LE(huge_bytes, kSize);
  EXPECT_EQ(huge_bytes % AlignedBuffer::kHugePageSize, 0u);
  const std::uint64_t neighbour_huge_bytes = neighbour->huge_page_bytes();
  EXPECT_EQ(neighbour_huge_bytes % AlignedBuffer::kHugePageSize, 0u);
  EXPECT_GT(huge_bytes + neighbour_huge_bytes, 0u);

  auto small = AlignedBuffer::allocate(100000);
  ASSERT_TRUE(small.ok());
  std::memset(small->data(), 1, small->size());
  EXPECT_EQ(small->huge_page_bytes(), 0u);
}

}  // namespace
}  // namespace flashmoe
