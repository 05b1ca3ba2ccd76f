#ifndef FLASHMOE_IO_IO_URING_QUEUE_H_
#define FLASHMOE_IO_IO_URING_QUEUE_H_

#include <memory>

#include "io/read_queue.h"

namespace flashmoe {

/// A ReadQueue over Linux's io_uring: a batch is one system call, and no thread waits per read.
/// Errors: kUnsupported, with the remedy, where the kernel lacks or forbids it.
Result<std::unique_ptr<ReadQueue>> make_io_uring_queue(const ReadQueueOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_IO_URING_QUEUE_H_
