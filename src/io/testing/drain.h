#ifndef FLASHMOE_IO_TESTING_DRAIN_H_
#define FLASHMOE_IO_TESTING_DRAIN_H_

#include <cstdint>
#include <map>

#include "io/read_queue.h"

namespace flashmoe {

/// Polls until nothing is in flight: the status of every request, by tag. Ends the process if a tag
/// completes twice, or a waiting poll brings nothing.
std::map<std::uint64_t, Status> drain(ReadQueue& queue);

}  // namespace flashmoe

#endif  // FLASHMOE_IO_TESTING_DRAIN_H_
