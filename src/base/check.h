#ifndef FLASHMOE_BASE_CHECK_H_
#define FLASHMOE_BASE_CHECK_H_

namespace flashmoe::internal {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace flashmoe::internal

/// Ends the process when an invariant of ours is broken. For mistakes of the outside world return a
/// Status.
#define FM_CHECK(condition)           \
  ((condition) ? static_cast<void>(0) \
               : ::flashmoe::internal::check_failed(#condition, __FILE__, __LINE__))

/// FM_CHECK for inner loops: compiled out of release builds.
#ifdef NDEBUG
#define FM_DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#else
#define FM_DCHECK(condition) FM_CHECK(condition)
#endif

#endif  // FLASHMOE_BASE_CHECK_H_
