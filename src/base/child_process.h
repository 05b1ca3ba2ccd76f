#ifndef FLASHMOE_BASE_CHILD_PROCESS_H_
#define FLASHMOE_BASE_CHILD_PROCESS_H_

#include <functional>
#include <string>

#include "base/result.h"

namespace flashmoe {

/// Calls `work` in a child process, a copy of this one, and returns what it gave. So its memory,
/// with the peak that the system remembers, is its own, and goes when it ends. This process must
/// have no other threads. Errors: those of `work`; kIo if there can be no child or it died, saying
/// how.
Result<std::string> run_in_child(const std::function<Result<std::string>()>& work);

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_CHILD_PROCESS_H_
