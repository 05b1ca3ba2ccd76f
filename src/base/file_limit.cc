#include "base/file_limit.h"

#include <sys/resource.h>
#if defined(__APPLE__)
#include <limits.h>

#include <algorithm>
#endif

namespace flashmoe {

FileLimit read_file_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  return {.soft = limit.rlim_cur, .hard = limit.rlim_max};
}

FileLimit raise_file_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  limit.rlim_cur = limit.rlim_max;
#if defined(__APPLE__)
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, OPEN_MAX);  // more is refused
#endif
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  return read_file_limit();
}

}  // namespace flashmoe
