#include "io/read_queue.h"

#include "io/pread_queue.h"
#ifdef FLASHMOE_HAVE_IO_URING
#include "io/io_uring_queue.h"
#endif

namespace flashmoe {

std::string_view to_string(IoBackend backend) {
  switch (backend) {
    case IoBackend::kAuto:
      return "auto";
    case IoBackend::kIoUring:
      return "io_uring";
    case IoBackend::kPread:
      return "pread";
  }
  return "unknown";
}

Result<std::unique_ptr<ReadQueue>> make_read_queue(const ReadQueueOptions& options) {
  if (options.depth < 1 || options.depth > kReadQueueDepthMax) {
    return error(StatusCode::kInvalidArgument, "read queue depth {}: must be 1 to {}",
                 options.depth, kReadQueueDepthMax);
  }
  if (options.backend != IoBackend::kPread) {
#ifdef FLASHMOE_HAVE_IO_URING
    auto queue = make_io_uring_queue(options);
#else
    Result<std::unique_ptr<ReadQueue>> queue =
        error(StatusCode::kUnsupported,
              "io_uring is not available: this build lacks it; install liburing (Linux) and build "
              "again, or use --io pread");
#endif
    if (queue.ok() || options.backend == IoBackend::kIoUring) return queue;
  }
  return make_pread_queue(options);
}

}  // namespace flashmoe
