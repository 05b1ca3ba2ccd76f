#ifndef FLASHMOE_IO_PREAD_QUEUE_H_
#define FLASHMOE_IO_PREAD_QUEUE_H_

#include <memory>

#include "io/read_queue.h"

namespace flashmoe {

/// A ReadQueue over a pool of threads that call pread: works on every system and file. Errors: kIo
/// if a thread cannot be started.
Result<std::unique_ptr<ReadQueue>> make_pread_queue(const ReadQueueOptions& options);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_PREAD_QUEUE_H_
