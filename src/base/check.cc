#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace flashmoe::internal {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "flash-moe: %s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace flashmoe::internal
