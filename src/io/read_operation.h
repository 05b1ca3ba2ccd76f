#ifndef FLASHMOE_IO_READ_OPERATION_H_
#define FLASHMOE_IO_READ_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "base/result.h"
#include "io/read_queue.h"

namespace flashmoe {

/// One request on its way through a backend: says which system call comes next and takes its
/// result, until every byte is in place or the request has failed. Knows alignment, short reads,
/// retries and the end of the file; makes no system call itself, except in run(). Not thread-safe.
class ReadOperation {
 public:
  /// The next read to make. Aligned as the file demands.
  struct Call {
    int descriptor = -1;
    std::uint64_t offset = 0;
    std::byte* destination = nullptr;
    std::size_t size = 0;
  };

  ReadOperation() = default;
  /// A request that reaches past the end of its file fails here, without a read.
  explicit ReadOperation(const ReadRequest& request);

  /// True for requests to a direct file whose own memory cannot take whole blocks. They must be
  /// given a buffer (of a multiple of kDirectAlignmentMax bytes, aligned to it) before the first
  /// next_call().
  bool needs_buffer() const { return needs_buffer_; }
  void set_buffer(std::span<std::byte> buffer) { buffer_ = buffer; }
  std::span<std::byte> buffer() const { return buffer_; }

  /// No call is left to make: see status().
  bool done() const { return done_; }
  Call next_call() const;
  /// Takes what the call returned: a byte count, or a negated errno.
  void advance(std::int64_t result);
  /// Ends the request, for a reason outside the file.
  void fail(Status status);

  /// Makes the calls with pread, in this thread, until done().
  void run();

  std::uint64_t tag() const { return request_.tag; }
  std::uint64_t size() const { return request_.size; }
  const Status& status() const { return status_; }
  /// Bytes that the calls delivered, margins included.
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  void fail_at_end_of_file();

  ReadRequest request_;
  std::span<std::byte> buffer_;
  std::uint64_t progress_ = 0;  // bytes of the request that are in place
  std::uint64_t bytes_read_ = 0;
  std::uint32_t retry_count_ = 0;  // EINTR and its kin since the last progress
  bool needs_buffer_ = false;
  bool done_ = false;
  Status status_;
};

/// What a queue's poll() does with the operations that are done: moves them, oldest first, to
/// `completions` until either runs out, counts them in `statistics`, and returns how many.
std::size_t take_finished(std::deque<ReadOperation>& finished,
                          std::span<ReadCompletion> completions, ReadStatistics& statistics);

/// Bytes of one buffer for unpadded direct reads, and how many a queue has at most. Larger requests
/// pass through in several reads.
inline constexpr std::size_t kBounceBufferSize = std::size_t{512} << 10;
inline constexpr std::size_t kBounceBufferCount = 8;
static_assert(kBounceBufferSize * kBounceBufferCount == kReadQueueBufferBytesMax);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_READ_OPERATION_H_
