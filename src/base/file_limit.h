#ifndef FLASHMOE_BASE_FILE_LIMIT_H_
#define FLASHMOE_BASE_FILE_LIMIT_H_

#include <cstdint>

namespace flashmoe {

/// How many files this process may have open (RLIMIT_NOFILE); the largest number for no limit.
struct FileLimit {
  std::uint64_t soft = 0;  // what counts
  std::uint64_t hard = 0;  // what the process may raise it to
};

FileLimit read_file_limit();

/// Raises the soft limit to the hard one, as far as the system lets it; what holds then. A model of
/// many shards has each of them open, and systems come with 256 or 1,024. For programs: a limit
/// belongs to the whole process, so libraries leave it alone.
FileLimit raise_file_limit();

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_FILE_LIMIT_H_
