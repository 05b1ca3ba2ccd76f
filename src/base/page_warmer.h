#ifndef FLASHMOE_BASE_PAGE_WARMER_H_
#define FLASHMOE_BASE_PAGE_WARMER_H_

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>
#include <thread>

namespace flashmoe {

/// Has the system back a buffer with pages ahead of their use, on a thread of its own. The first
/// touch of a page clears it, and in a virtual machine may have to get it from the host first:
/// reads into untouched memory went at a quarter of the disk's speed, all of it system time of
/// whoever submitted them.
///
/// Where the system cannot populate pages (before Linux 5.14, elsewhere) or refuses a thread, the
/// first use still does. Never changes a byte.
class PageWarmer {
 public:
  /// `memory`, which begins on a page, must outlive the warmer.
  explicit PageWarmer(std::span<std::byte> memory) : memory_(memory) {}
  ~PageWarmer();
  PageWarmer(const PageWarmer&) = delete;
  PageWarmer& operator=(const PageWarmer&) = delete;

  /// The first `size` bytes (or all, if that is more than there are) will be used soon. Never
  /// waits. Threads: one caller at a time.
  void want(std::size_t size);

  /// Nothing more will be used soon, until want() says otherwise. Never waits. Threads: as want().
  void rest();

 private:
  void run();

  const std::span<std::byte> memory_;
  std::size_t asked_ = 0;  // by the caller, in whole steps
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t wanted_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_BASE_PAGE_WARMER_H_
