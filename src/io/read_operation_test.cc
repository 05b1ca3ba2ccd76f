#include "io/read_operation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/file.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

// Plays the kernel: delivers `count` of the bytes that `call` asks for.
std::int64_t deliver(const ReadOperation::Call& call, std::span<const std::byte> file,
                     std::size_t count) {
  const std::size_t available = call.offset < file.size() ? file.size() - call.offset : 0;
  count = std::min({count, call.size, available});
  if (count > 0) std::memcpy(call.destination, file.data() + call.offset, count);
  return static_cast<std::int64_t>(count);
}

class ReadOperationTest : public testing::Test {
 protected:
  ReadOperationTest()
      : contents_(50000, 1),
        buffered_(std::move(*File::open(contents_.path(), File::Mode::kBuffered))),
        direct_(std::move(*File::open(contents_.path(), File::Mode::kDirect))) {}

  TemporaryFile contents_;
  File buffered_;
  File direct_;
};

TEST_F(ReadOperationTest, ContinuesAfterAShortRead) {
  std::vector<std::byte> got(1000);
  ReadOperation operation(
      {.file = &buffered_, .offset = 100, .destination = got.data(), .size = got.size()});
  EXPECT_FALSE(operation.needs_buffer());
  operation.advance(deliver(operation.next_call(), contents_.contents(), 300));
  EXPECT_FALSE(operation.done());
  EXPECT_EQ(operation.next_call().offset, 400u);
  EXPECT_EQ(operation.next_call().size, 700u);
  operation.advance(deliver(operation.next_call(), contents_.contents(), 700));
  EXPECT_TRUE(operation.done());
  EXPECT_TRUE(operation.status().ok());
  EXPECT_TRUE(std::ranges::equal(got, contents_.contents().subspan(100, 1000)));
}

TEST_F(ReadOperationTest, TriesAgainAfterAnInterruption) {
  std::vector<std::byte> got(1000);
  ReadOperation operation({.file = &buffered_, .destination = got.data(), .size = got.size()});
  for (const int reason : {EINTR, EAGAIN, ECANCELED}) operation.advance(-reason);
  EXPECT_FALSE(operation.done());
  operation.advance(deliver(operation.next_call(), contents_.contents(), 1000));
  EXPECT_TRUE(operation.status().ok());
}

TEST_F(ReadOperationTest, GivesUpWhenTheInterruptionsNeverEnd) {
  std::vector<std::byte> got(1000);
  ReadOperation operation({.file = &buffered_, .destination = got.data(), .size = got.size()});
  for (int i = 0; i < 1000000 && !operation.done(); ++i) operation.advance(-EAGAIN);
  ASSERT_TRUE(operation.done());
  EXPECT_EQ(operation.status().code(), StatusCode::kIo);
}

TEST_F(ReadOperationTest, NamesFileOffsetAndProgressWhenTheDiskFails) {
  std::vector<std::byte> got(1000);
  ReadOperation operation(
      {.file = &buffered_, .offset = 100, .destination = got.data(), .size = got.size()});
  operation.advance(deliver(operation.next_call(), contents_.contents(), 300));
  operation.advance(-EIO);
  EXPECT_TRUE(operation.done());
  EXPECT_EQ(operation.status().code(), StatusCode::kIo);
  EXPECT_EQ(operation.status().message(),
            contents_.path().string() + ": read 300 of 1000 bytes at 100: Input/output error");
}

TEST_F(ReadOperationTest, NeedsABufferOnlyWhereTheMemoryCannotTakeWholeBlocks) {
  const std::size_t alignment = direct_.direct_alignment();
  if (alignment == 1) GTEST_SKIP() << "no direct I/O here";
  auto memory = AlignedBuffer::allocate(3 * alignment);
  ASSERT_TRUE(memory.ok());
  std::byte* const at = memory->data();
  const auto needs_buffer = [](const ReadRequest& request) {
    return ReadOperation(request).needs_buffer();
  };
  EXPECT_FALSE(needs_buffer({.file = &direct_, .destination = at, .size = alignment}));
  EXPECT_TRUE(needs_buffer({.file = &direct_, .destination = at, .size = alignment - 1}));
  EXPECT_TRUE(needs_buffer({.file = &direct_, .destination = at + 1, .size = alignment}));
  EXPECT_TRUE(needs_buffer({.file = &direct_, .offset = 1, .destination = at, .size = alignment}));
  EXPECT_FALSE(needs_buffer(
      {.file = &direct_, .offset = 1, .destination = at + 1, .size = 9, .padded = true}));
}

// Whatever the kernel delivers at a time, the bytes are right, every call is aligned, stays inside
// the memory that the request gave, and the operation ends.
TEST_F(ReadOperationTest, SurvivesAnySequenceOfShortReads) {
  auto memory = AlignedBuffer::allocate(64 << 10);
  auto buffer = AlignedBuffer::allocate(2 * File::kDirectAlignmentMax);
  ASSERT_TRUE(memory.ok());
  ASSERT_TRUE(buffer.ok());
  const std::size_t file_size = contents_.contents().size();
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const File& file = seed % 2 == 0 ? direct_ : buffered_;
    const std::size_t alignment = file.direct_alignment();
    const std::size_t offset = random() % file_size;
    const std::size_t size = 1 + random() % (file_size - offset);
    const bool padded = random() % 2 == 0;
    std::byte* const destination =
        memory->data() + (padded ? offset : random()) % File::kDirectAlignmentMax;
    std::memset(memory->data(), 0, memory->size());
    ReadOperation operation({.file = &file,
                             .offset = offset,
                             .destination = destination,
                             .size = size,
                             .padded = padded});
    if (operation.needs_buffer()) operation.set_buffer(buffer->bytes());
    const std::span<std::byte> target =
        operation.needs_buffer()
            ? buffer->bytes()
            : std::span(destination - offset % alignment,
                        (offset % alignment + size + alignment - 1) / alignment * alignment);
    for (int step = 0; !operation.done(); ++step) {
      ASSERT_LT(step, 1000000);
      const ReadOperation::Call call = operation.next_call();
      ASSERT_EQ(call.offset % alignment, 0u);
      ASSERT_EQ(call.size % alignment, 0u);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(call.destination) % alignment, 0u);
      ASSERT_GE(call.destination, target.data());
      ASSERT_LE(call.destination + call.size, target.data() + target.size());
      if (random() % 4 == 0) {
        operation.advance(-EINTR);
        continue;
      }
      // Whole blocks from a disk, anything from the page cache.
      std::size_t count = call.size;
      if (random() % 2 == 0) count = alignment * (1 + random() % 4);
      if (alignment == 1) count = 1 + random() % call.size;
      operation.advance(deliver(call, contents_.contents(), count));
    }
    ASSERT_TRUE(operation.status().ok()) << operation.status().message();
    ASSERT_TRUE(std::ranges::equal(std::span(destination, size),
                                   contents_.contents().subspan(offset, size)));
    ASSERT_GE(operation.bytes_read(), size);
  }
}

TEST_F(ReadOperationTest, TriesAPartlyDeliveredBlockAgain) {
  const std::size_t alignment = direct_.direct_alignment();
  if (alignment == 1) GTEST_SKIP() << "no direct I/O here";
  auto memory = AlignedBuffer::allocate(4 * alignment);
  ASSERT_TRUE(memory.ok());
  ReadOperation operation({.file = &direct_, .destination = memory->data(), .size = 2 * alignment});
  operation.advance(deliver(operation.next_call(), contents_.contents(), alignment + 7));
  ASSERT_FALSE(operation.done());
  EXPECT_EQ(operation.next_call().offset, alignment);
  operation.advance(deliver(operation.next_call(), contents_.contents(), alignment));
  EXPECT_TRUE(operation.status().ok());
  EXPECT_TRUE(std::ranges::equal(memory->bytes().first(2 * alignment),
                                 contents_.contents().first(2 * alignment)));

  ReadOperation ending({.file = &direct_, .destination = memory->data(), .size = 2 * alignment});
  ending.advance(deliver(ending.next_call(), contents_.contents(), alignment + 7));
  ending.advance(7);  // nothing beyond what came before: the file ends here
  ASSERT_TRUE(ending.done());
  EXPECT_EQ(ending.status().code(), StatusCode::kCorrupt);
}

}  // namespace
}  // namespace flashmoe
