#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/file.h"
#include "io/read_queue.h"
#include "io/testing/drain.h"
#include "io/testing/temporary_file.h"

namespace flashmoe {
namespace {

// Any batch of requests, in any file, of any alignment, at any depth, on any backend, brings the
// file's bytes, and touches no memory that it was not given.
TEST(ReadQueueProperty, EveryBackendBringsTheBytesOfTheFile) {
  const TemporaryFile contents[] = {TemporaryFile(1500001, 1), TemporaryFile(4096, 2),
                                    TemporaryFile(77, 3)};
  for (const IoBackend backend : {IoBackend::kPread, IoBackend::kIoUring}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      SCOPED_TRACE(testing::Message() << to_string(backend) << ", seed " << seed);
      std::mt19937_64 random(seed);
      auto queue = make_read_queue({.backend = backend, .depth = 1 + random() % 20});
      if (!queue.ok()) break;  // the kernel has no io_uring
      struct Wanted {
        std::size_t file;
        AlignedBuffer memory;
        ReadRequest request;
      };
      std::vector<File> files;
      for (const TemporaryFile& file : contents) {
        const auto mode = random() % 3 == 0 ? File::Mode::kBuffered : File::Mode::kDirect;
        files.push_back(std::move(*File::open(file.path(), mode)));
      }
      std::vector<Wanted> wanted;
      for (std::size_t i = 0, count = 1 + random() % 60; i < count; ++i) {
        const std::size_t f = random() % files.size();
        const std::size_t offset = random() % contents[f].contents().size();
        const std::size_t size = random() % (contents[f].contents().size() - offset + 1);
        const bool padded = random() % 2 == 0;
        const std::size_t page = File::kDirectAlignmentMax;
        auto memory = AlignedBuffer::allocate(size + 4 * page);
        ASSERT_TRUE(memory.ok());
        std::memset(memory->data(), 0xee, memory->size());
        std::byte* const destination =
            memory->data() + page + (padded ? offset % page : random() % page);
        wanted.push_back({f,
                          std::move(*memory),
                          {.file = &files[f],
                           .offset = offset,
                           .destination = destination,
                           .size = size,
                           .tag = i,
                           .padded = padded}});
      }
      for (std::size_t at = 0; at < wanted.size();) {
        std::vector<ReadRequest> batch;
        for (std::size_t left = 1 + random() % 20; left > 0 && at < wanted.size(); --left) {
          batch.push_back(wanted[at++].request);
        }
        ASSERT_TRUE((*queue)->submit(batch).ok());
      }
      const auto statuses = drain(**queue);
      ASSERT_EQ(statuses.size(), wanted.size());
      for (const Wanted& one : wanted) {
        const ReadRequest& request = one.request;
        ASSERT_TRUE(statuses.at(request.tag).ok()) << statuses.at(request.tag).message();
        ASSERT_TRUE(std::ranges::equal(
            std::span(request.destination, request.size),
            contents[one.file].contents().subspan(request.offset, request.size)));
        const std::size_t margin = request.padded ? request.file->direct_alignment() - 1 : 0;
        const auto is_untouched = [](std::byte b) { return b == std::byte{0xee}; };
        const auto untouched_in = [&](const std::byte* from, const std::byte* to) {
          return std::all_of(from, to, is_untouched);
        };
        const std::byte* const begin = one.memory.data();
        ASSERT_TRUE(untouched_in(begin, request.destination - margin));
        ASSERT_TRUE(
            untouched_in(request.destination + request.size + margin, begin + one.memory.size()));
      }
    }
  }
}

}  // namespace
}  // namespace flashmoe
