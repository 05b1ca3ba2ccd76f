#include "io/read_queue.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/file.h"
#include "io/testing/drain.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

File open(const TemporaryFile& file, File::Mode mode) {
  auto opened = File::open(file.path(), mode);
  EXPECT_TRUE(opened.ok()) << opened.status().message();
  return std::move(*opened);
}

class ReadQueueTest : public testing::TestWithParam<IoBackend> {
 protected:
  // Null, with the test skipped, where the backend is not available.
  std::unique_ptr<ReadQueue> make(std::size_t depth = 32) {
    auto queue = make_read_queue({.backend = GetParam(), .depth = depth});
    if (!queue.ok()) return nullptr;
    EXPECT_EQ((*queue)->backend(), GetParam());
    return std::move(*queue);
  }
};

#define FM_MAKE_OR_SKIP(queue, ...)     \
  const auto queue = make(__VA_ARGS__); \
  if (queue == nullptr) GTEST_SKIP() << to_string(GetParam()) << " is not available here"

TEST_P(ReadQueueTest, ReadsAnyRangeOfABufferedFile) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(300000, 1);
  const File file = open(contents, File::Mode::kBuffered);
  std::vector<std::byte> got(100001);
  const ReadRequest request{
      .file = &file, .offset = 12345, .destination = got.data(), .size = got.size(), .tag = 7};
  ASSERT_TRUE(queue->submit({&request, 1}).ok());
  const auto statuses = drain(*queue);
  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_TRUE(statuses.at(7).ok()) << statuses.at(7).message();
  EXPECT_TRUE(std::ranges::equal(got, contents.contents().subspan(12345, got.size())));
  EXPECT_EQ(queue->statistics().bytes_read, got.size());
}

TEST_P(ReadQueueTest, ReadsAnyRangeOfADirectFile) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(3000000, 2);
  const File file = open(contents, File::Mode::kDirect);
  // Larger than a bounce buffer, and up to the file's unaligned end.
  std::vector<std::byte> got(contents.contents().size() - 12345);
  const ReadRequest request{
      .file = &file, .offset = 12345, .destination = got.data(), .size = got.size()};
  ASSERT_TRUE(queue->submit({&request, 1}).ok());
  const auto statuses = drain(*queue);
  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_TRUE(statuses.at(0).ok()) << statuses.at(0).message();
  EXPECT_TRUE(std::ranges::equal(got, contents.contents().subspan(12345)));
}

TEST_P(ReadQueueTest, ReadsPaddedRequestsStraightToTheirPlace) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(3000000, 3);
  const File file = open(contents, File::Mode::kDirect);
  const std::size_t offset = 1234567, size = 1500000;
  auto memory = AlignedBuffer::allocate(size + 2 * File::kDirectAlignmentMax);
  ASSERT_TRUE(memory.ok());
  std::byte* const destination = memory->data() + offset % File::kDirectAlignmentMax;
  const ReadRequest request{
      .file = &file, .offset = offset, .destination = destination, .size = size, .padded = true};
  ASSERT_TRUE(queue->submit({&request, 1}).ok());
  const auto statuses = drain(*queue);
  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_TRUE(statuses.at(0).ok()) << statuses.at(0).message();
  EXPECT_TRUE(
      std::ranges::equal(std::span(destination, size), contents.contents().subspan(offset, size)));
  const std::uint64_t alignment = file.direct_alignment();
  EXPECT_LE(queue->statistics().bytes_read, size + 2 * alignment);
}

TEST_P(ReadQueueTest, QueuesWhatIsBeyondItsDepth) {
  FM_MAKE_OR_SKIP(queue, 2);
  const TemporaryFile contents(1 << 20, 4);
  const File file = open(contents, File::Mode::kDirect);
  std::vector<std::byte> got(contents.contents().size());
  std::vector<ReadRequest> requests;
  const std::size_t piece = 1000;  // unaligned, so that the bounce buffers run out too
  for (std::size_t at = 0; at < got.size(); at += piece) {
    requests.push_back({.file = &file,
                        .offset = at,
                        .destination = got.data() + at,
                        .size = std::min(piece, got.size() - at),
                        .tag = at});
  }
  ASSERT_TRUE(queue->submit(requests).ok());
  EXPECT_EQ(queue->in_flight_count(), requests.size());
  const auto statuses = drain(*queue);
  ASSERT_EQ(statuses.size(), requests.size());
  for (const auto& [tag, status] : statuses) EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(std::ranges::equal(got, contents.contents()));
  EXPECT_EQ(queue->statistics().request_count, requests.size());
  EXPECT_EQ(queue->statistics().bytes_wanted, got.size());
}

TEST_P(ReadQueueTest, SaysThatATruncatedFileEnds) {
  FM_MAKE_OR_SKIP(queue);
  for (const auto mode : {File::Mode::kBuffered, File::Mode::kDirect}) {
    const TemporaryFile contents(100000, 5);
    const File file = open(contents, mode);
    contents.truncate(50001);
    std::vector<std::byte> got(20000);
    const ReadRequest requests[] = {
        {.file = &file, .offset = 40000, .destination = got.data(), .size = got.size(), .tag = 1},
        {.file = &file, .offset = 99999, .destination = got.data(), .size = 2, .tag = 2},
        {.file = &file, .offset = ~0ull, .destination = got.data(), .size = 2, .tag = 3},
    };
    ASSERT_TRUE(queue->submit(requests).ok());
    const auto statuses = drain(*queue);
    ASSERT_EQ(statuses.size(), 3u);
    EXPECT_EQ(statuses.at(1).code(), StatusCode::kCorrupt);
    EXPECT_EQ(statuses.at(1).message(),
              contents.path().string() +
                  ": read 10001 of 20000 bytes at 40000: the file ends there; the download may be "
                  "incomplete");
    EXPECT_EQ(statuses.at(2).code(), StatusCode::kCorrupt);
    EXPECT_EQ(statuses.at(3).code(), StatusCode::kCorrupt);
  }
}

TEST_P(ReadQueueTest, ReportsWhatTheKernelRefusesAndGoesOn) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(100000, 6);
  const File file = open(contents, File::Mode::kBuffered);
  const std::size_t size = 8192;
  void* const forbidden = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(forbidden, MAP_FAILED);
  std::vector<std::byte> got(size);
  const ReadRequest requests[] = {
      {.file = &file,
       .offset = 4096,
       .destination = static_cast<std::byte*>(forbidden),
       .size = size,
       .tag = 1},
      {.file = &file, .offset = 4096, .destination = got.data(), .size = size, .tag = 2},
  };
  ASSERT_TRUE(queue->submit(requests).ok());
  const auto statuses = drain(*queue);
  munmap(forbidden, size);
  ASSERT_EQ(statuses.size(), 2u);
  EXPECT_EQ(statuses.at(1).code(), StatusCode::kIo);
  EXPECT_EQ(statuses.at(1).message(),
            contents.path().string() + ": read 0 of 8192 bytes at 4096: Bad address");
  EXPECT_TRUE(statuses.at(2).ok());
  EXPECT_TRUE(std::ranges::equal(got, contents.contents().subspan(4096, size)));
}

TEST_P(ReadQueueTest, CompletesAnEmptyRequest) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(0, 7);
  const File file = open(contents, File::Mode::kDirect);
  const ReadRequest request{.file = &file, .tag = 9};
  ASSERT_TRUE(queue->submit({&request, 1}).ok());
  EXPECT_TRUE(drain(*queue).at(9).ok());
  ReadCompletion completion;
  EXPECT_EQ(queue->poll({&completion, 1}, true), 0u);
}

TEST_P(ReadQueueTest, FinishesTheReadsOfAThreadThatEnded) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(4 << 20, 8);
  const File file = open(contents, File::Mode::kDirect);
  std::vector<std::byte> got(contents.contents().size());
  std::thread([&] {
    const ReadRequest request{.file = &file, .destination = got.data(), .size = got.size()};
    EXPECT_TRUE(queue->submit({&request, 1}).ok());
  }).join();
  const auto statuses = drain(*queue);
  EXPECT_TRUE(statuses.at(0).ok()) << statuses.at(0).message();
  EXPECT_TRUE(std::ranges::equal(got, contents.contents()));
}

TEST_P(ReadQueueTest, WaitsForItsReadsWhenDestroyed) {
  auto queue = make();
  if (queue == nullptr) GTEST_SKIP() << to_string(GetParam()) << " is not available here";
  const TemporaryFile contents(4 << 20, 9);
  const File file = open(contents, File::Mode::kDirect);
  auto memory = AlignedBuffer::allocate(contents.contents().size());
  ASSERT_TRUE(memory.ok());
  std::vector<ReadRequest> requests;
  const std::size_t piece = 1 << 16;
  for (std::size_t at = 0; at < memory->size(); at += piece) {
    requests.push_back({.file = &file,
                        .offset = at,
                        .destination = memory->data() + at,
                        .size = piece,
                        .padded = true});
  }
  ASSERT_TRUE(queue->submit(requests).ok());
  queue.reset();
  // Nothing may write here any more: a read still in flight would show as a piece half there.
  for (std::size_t at = 0; at < memory->size(); at += piece) {
    const auto got = std::span(memory->bytes()).subspan(at, piece);
    const bool is_read = std::ranges::equal(got, contents.contents().subspan(at, piece));
    const bool is_untouched =
        std::ranges::all_of(got, [](std::byte b) { return b == std::byte{0}; });
    EXPECT_TRUE(is_read || is_untouched) << "half-read piece at " << at;
  }
}

#if defined(__linux__)
// One field of /proc/self/io, or nothing where the system has none.
std::optional<std::uint64_t> process_io(const std::string& field) {
  std::ifstream io("/proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  while (io >> name >> value) {
    if (name == field + ":") return value;
  }
  return std::nullopt;
}

// What /proc/self/io counts (seen on Linux 6.18): read_bytes is what the process had fetched from
// the device, and rises by exactly the size of a direct read, through pread and io_uring alike.
// rchar is what read system calls returned: it counts pread, direct or not, but nothing that came
// through io_uring. So read_bytes is the field to compare our bytes_read with, for direct files.
TEST_P(ReadQueueTest, CountsTheBytesThatTheSystemCounts) {
  FM_MAKE_OR_SKIP(queue);
  const TemporaryFile contents(16 << 20, 10);
  const File file = open(contents, File::Mode::kDirect);
  struct statfs info;
  ASSERT_EQ(fstatfs(file.descriptor(), &info), 0);
  if (info.f_type == TMPFS_MAGIC || file.direct_alignment() == 1 || !process_io("read_bytes")) {
    GTEST_SKIP() << "no direct reads from a disk here, or no /proc/self/io";
  }
  std::vector<std::byte> got(contents.contents().size());
  std::vector<ReadRequest> requests;
  for (std::size_t at = 0; at + 100000 <= got.size(); at += 100000) {
    requests.push_back(
        {.file = &file, .offset = at, .destination = got.data() + at, .size = 100000, .tag = at});
  }
  // Page faults on this program's own file count too: an earlier round brings them in.
  ASSERT_TRUE(queue->submit(requests).ok());
  drain(*queue);
  const std::uint64_t bytes_before = queue->statistics().bytes_read;
  const std::uint64_t device_before = *process_io("read_bytes");
  const std::uint64_t rchar_before = *process_io("rchar");
  ASSERT_TRUE(queue->submit(requests).ok());
  drain(*queue);
  const std::uint64_t bytes_read = queue->statistics().bytes_read - bytes_before;
  const std::uint64_t device_read = *process_io("read_bytes") - device_before;
  const std::uint64_t rchar = *process_io("rchar") - rchar_before;
  constexpr std::uint64_t kOthers = 256 << 10;  // page faults, and reading /proc/self/io
  EXPECT_GE(bytes_read, requests.size() * 100000);
  EXPECT_GE(device_read, bytes_read);
  EXPECT_LE(device_read, bytes_read + kOthers);
  if (GetParam() == IoBackend::kPread) {
    EXPECT_GE(rchar, bytes_read);
    EXPECT_LE(rchar, bytes_read + kOthers);
  } else {
    EXPECT_LE(rchar, kOthers);
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(Backends, ReadQueueTest,
                         testing::Values(IoBackend::kPread, IoBackend::kIoUring),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST(MakeReadQueue, RefusesAnAbsurdDepth) {
  for (const std::size_t depth : {std::size_t{0}, kReadQueueDepthMax + 1}) {
    EXPECT_EQ(make_read_queue({.depth = depth}).status().code(), StatusCode::kInvalidArgument);
  }
}

#if defined(__linux__)
// Makes io_uring_setup fail for this process from now on, as container run times do.
void forbid_io_uring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = std::size(program), .filter = program};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

TEST(MakeReadQueue, FallsBackToPreadWhereIoUringIsForbidden) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto try_both = [] {
    forbid_io_uring();
    const auto automatic = make_read_queue({.backend = IoBackend::kAuto});
    const auto forced = make_read_queue({.backend = IoBackend::kIoUring});
    std::fprintf(stderr, "%s", forced.status().message().c_str());
    const bool is_right = automatic.ok() && (*automatic)->backend() == IoBackend::kPread &&
                          forced.status().code() == StatusCode::kUnsupported;
    std::_Exit(is_right ? 0 : 1);
  };
  EXPECT_EXIT(try_both(), testing::ExitedWithCode(0),
              "io_uring is not available.*or use --io pread");
}

TEST(IoUringQueue, FailsCleanlyWhenTheRingBreaks) {
  auto queue = make_read_queue({.backend = IoBackend::kIoUring, .depth = 4});
  if (!queue.ok()) GTEST_SKIP() << queue.status().message();
  const TemporaryFile contents(100000, 11);
  const File file = open(contents, File::Mode::kDirect);
  int ring_count = 0;
  for (int descriptor = 0; descriptor < 1024; ++descriptor) {
    std::error_code ignored;
    const auto link =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), ignored);
    if (link != "anon_inode:[io_uring]") continue;
    ring_count += 1;
    close(descriptor);
  }
  ASSERT_EQ(ring_count, 1);
  std::vector<std::byte> got(10 * 1000);
  std::vector<ReadRequest> requests;
  for (std::size_t i = 0; i < 10; ++i) {
    requests.push_back({.file = &file,
                        .offset = i * 1000,
                        .destination = got.data() + i * 1000,
                        .size = 1000,
                        .tag = i});
  }
  ASSERT_TRUE((*queue)->submit(requests).ok());
  const auto statuses = drain(**queue);
  EXPECT_EQ(statuses.size(), requests.size());
  for (const auto& [tag, status] : statuses) EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_EQ((*queue)->submit(requests).code(), StatusCode::kIo);
  EXPECT_EQ((*queue)->in_flight_count(), 0u);
}
#endif

}  // namespace
}  // namespace flashmoe
