#ifndef FLASHMOE_IO_READ_QUEUE_H_
#define FLASHMOE_IO_READ_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"

namespace flashmoe {

class File;

/// Which system interface carries the reads. All give the same bytes.
enum class IoBackend : std::uint8_t {
  kAuto,     // io_uring where the kernel allows it, else pread
  kIoUring,  // Linux only
  kPread,    // a small pool of threads that call pread
};

std::string_view to_string(IoBackend backend);

/// One positioned read: `size` bytes of `file` at `offset` go to `destination`.
struct ReadRequest {
  const File* file = nullptr;  // stays open until the completion
  std::uint64_t offset = 0;
  std::byte* destination = nullptr;
  std::uint64_t size = 0;
  std::uint64_t tag = 0;  // comes back in the completion

  /// The caller owns the memory from `destination` rounded down to the file's direct_alignment() to
  /// its end rounded up, and `destination` and `offset` agree modulo that alignment: a direct read
  /// may then go straight there, and overwrite the margins. Without it, direct reads go through an
  /// aligned buffer of the queue's and are copied.
  bool padded = false;
};

/// The end of a request. On failure `status` names the file, the offset and what was read of what.
struct ReadCompletion {
  std::uint64_t tag = 0;
  Status status;
};

/// What a queue has done since it was made.
struct ReadStatistics {
  std::uint64_t request_count = 0;  // requests completed, failed ones included
  std::uint64_t bytes_wanted = 0;   // sum of the sizes of completed requests
  std::uint64_t bytes_read = 0;     // bytes the kernel delivered, alignment margins included
};

/// Batched asynchronous positioned reads. A request is complete when all its bytes are in place or
/// it failed: short reads and EINTR/EAGAIN are continued inside the queue. Completions come in any
/// order.
///
/// Threads: one caller at a time (ExpertCache calls it under its lock). Destroying a queue waits
/// for what is in flight.
class ReadQueue {
 public:
  virtual ~ReadQueue() = default;

  /// Starts all `requests` (as one system call where the backend can). The memory of the
  /// destinations must stay valid until the completions; the array itself may go. A failed Status
  /// means that none was started.
  virtual Status submit(std::span<const ReadRequest> requests) = 0;

  /// Writes finished requests to `completions` and returns how many. With `wait`, blocks until
  /// there is at least one, unless nothing is in flight (then 0).
  virtual std::size_t poll(std::span<ReadCompletion> completions, bool wait) = 0;

  /// Requests submitted and not yet returned by poll().
  virtual std::size_t in_flight_count() const = 0;

  /// Whether reads wait for others to end, and for a poll() to pass them on.
  virtual bool needs_poll() const = 0;

  virtual ReadStatistics statistics() const = 0;

  /// The backend in use; never kAuto.
  virtual IoBackend backend() const = 0;
};

inline constexpr std::size_t kReadQueueDepthMax = 4096;

struct ReadQueueOptions {
  IoBackend backend = IoBackend::kAuto;
  /// Reads the device sees at once; more wait in the queue until a poll finds some ended: enough to
  /// keep it busy while those who poll compute. With 512, submitting blocked. The thread pool stops
  /// at 8.
  std::size_t depth = 128;
};

/// What a queue may allocate for unpadded direct reads, whatever its depth and the requests' sizes;
/// nothing until the first such read. For whoever plans memory.
inline constexpr std::size_t kReadQueueBufferBytesMax = std::size_t{4} << 20;

/// Errors: kInvalidArgument if the depth is not 1 to kReadQueueDepthMax; kUnsupported, with the
/// remedy, if a backend asked for by name is not available here.
Result<std::unique_ptr<ReadQueue>> make_read_queue(const ReadQueueOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_READ_QUEUE_H_
