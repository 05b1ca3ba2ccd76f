#ifndef FLASHMOE_EXPERTS_EXPERT_PREFETCHER_H_
#define FLASHMOE_EXPERTS_EXPERT_PREFETCHER_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_id.h"

namespace flashmoe {

/// Reads a list of experts ahead, in a thread of its own, until all are in memory, there is no room
/// or it is destroyed. The thread never waits in the cache: it looks in every half millisecond, so
/// that it is never between a lease and the disk.
class ExpertPrefetcher {
 public:
  enum class Room : std::uint8_t {
    kFreeSlots,
    kOfOthers,  // whoever is not wanted leaves, by the cache's policy
  };

  /// Begins with the first of `wanted`. `cache` must outlive this. Where the system has no thread
  /// left, nothing is read ahead.
  ExpertPrefetcher(ExpertCache& cache, std::vector<ExpertKey> wanted, Room room = Room::kFreeSlots);
  /// Waits for the few reads in flight.
  ~ExpertPrefetcher();
  ExpertPrefetcher(const ExpertPrefetcher&) = delete;
  ExpertPrefetcher& operator=(const ExpertPrefetcher&) = delete;

 private:
  void run();

  ExpertCache& cache_;
  const std::vector<ExpertKey> wanted_;
  const Room room_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_EXPERT_PREFETCHER_H_
