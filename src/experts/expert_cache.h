#ifndef FLASHMOE_EXPERTS_EXPERT_CACHE_H_
#define FLASHMOE_EXPERTS_EXPERT_CACHE_H_

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/stopwatch.h"
#include "experts/expert_id.h"
#include "experts/expert_store.h"
#include "experts/fixed_set.h"
#include "experts/read_pump.h"
#include "experts/residency_policy.h"
#include "experts/resident_set.h"
#include "experts/slot_memory.h"
#include "experts/slot_plan.h"
#include "experts/slot_table.h"
#include "io/read_queue.h"

namespace flashmoe {

class ExpertCache;

/// The bytes of one resident expert: its segments in the store's order. Valid while its lease
/// lives.
class ExpertView {
 public:
  /// No pointer is aligned: the bytes lie as they do on disk.
  std::span<const std::byte> segment(std::size_t i) const { return (*segments_)[i]; }

 private:
  friend class ExpertCache;
  using Segments = std::array<std::span<const std::byte>, kExpertSegmentsMax>;
  explicit ExpertView(const Segments* segments) : segments_(segments) {}
  const Segments* segments_;
};

/// Keeps one expert in its slot while alive. Move-only. May be used by one thread at a time, and
/// destroyed by any.
class ExpertLease {
 public:
  ExpertLease() = default;
  ExpertLease(ExpertLease&& other) noexcept;
  ExpertLease& operator=(ExpertLease&& other) noexcept;
  ~ExpertLease();

  /// Blocks until the bytes are in place. Errors: kIo, kCorrupt, naming layer, expert, file and
  /// offset; the expert is then not resident, and the next acquire tries again.
  Result<ExpertView> wait() const;

  /// True if wait() would not block. Collects whatever reads have finished, never waits for the
  /// disk.
  bool ready() const;

 private:
  friend class ExpertCache;
  ExpertLease(ExpertCache* cache, std::uint32_t slot) : cache_(cache), slot_(slot) {}
  ExpertCache* cache_ = nullptr;
  std::uint32_t slot_ = 0;
};

/// Counts since the cache was made.
struct ExpertCacheStatistics {
  std::uint64_t hit_count = 0;   // leases of experts that were resident, or already being read
  std::uint64_t miss_count = 0;  // leases that started a read
  std::uint64_t eviction_count = 0;
  std::uint64_t bytes_wanted = 0;    // expert bytes whose reads completed
  double wait_seconds = 0;           // time that threads spent blocked on the disk
  std::uint64_t prefetch_count = 0;  // experts that prefetches read; neither hits nor misses
  /// Reads that speculate() began, and leases that found an expert thanks to one of them.
  std::uint64_t speculative_read_count = 0;
  std::uint64_t speculative_hit_count = 0;
  /// Time with reads in flight, as far as calls noticed their ends, and the experts read in it.
  double reading_seconds = 0;
  std::uint64_t read_count = 0;
  /// Experts that were read while a thread waited for the last of them, and their reading_seconds:
  /// what the disk takes.
  std::uint64_t timed_read_count = 0;
  double timed_reading_seconds = 0;
  /// Those of eviction_count that lowered the slot limit.
  std::uint64_t limit_eviction_count = 0;
  /// Experts that exchange() read, and the time it took; no part of wait_seconds.
  std::uint64_t exchange_count = 0;
  double exchange_seconds = 0;
};

/// How far ExpertCache::prefetch() came.
struct PrefetchProgress {
  std::size_t done_count = 0;     // first of the list that are here, being read or have no room
  std::size_t reading_count = 0;  // experts that prefetches have in flight
  bool is_full = false;           // nobody else has room
};

struct ExpertCacheOptions {
  /// For slots (SlotPlan).
  std::uint64_t budget_bytes = 0;
  /// As in SlotRequest: a cache that is not told has slots of several sizes only where all experts
  /// have one.
  std::size_t experts_at_once = std::numeric_limits<std::size_t>::max();
  std::size_t slots_max = std::numeric_limits<std::size_t>::max();
};

/// Holds at most `budget_bytes` of expert weights, whatever the policy asks for.
///
/// Thread-safe. One mutex guards the books and is never held while waiting for the disk. The read
/// queue allows one caller: a thread that waits for the disk owns it until the next read ends, and
/// threads with reads to start go before the next wait. So hits never wait for the disk, and misses
/// wait for at most one read of somebody else's before theirs start.
class ExpertCache {
 public:
  /// `store` must outlive the cache, and the cache its leases. Errors: kOutOfBudget if not even one
  /// expert fits; kIo if memory cannot be had.
  static Result<std::unique_ptr<ExpertCache>> create(const ExpertStore& store,
                                                     std::unique_ptr<ResidencyPolicy> policy,
                                                     std::unique_ptr<ReadQueue> queue,
                                                     const ExpertCacheOptions& options);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  /// Leases `routed` (distinct ids, most wanted first) to `leases`, in the order given, and starts
  /// one batch of reads for those that are not resident; never waits for the disk, except where
  /// every slot without a lease is still being read into. What `leases` held before is released
  /// first. On failure they are empty. `rows` is for the policy. Errors: kOutOfBudget if the slots
  /// cannot hold `routed` beside the experts already leased; those of ReadQueue::submit.
  Status acquire(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                 std::span<ExpertLease> leases, const RowCounts& rows = {});

  /// Returns when the bytes of at least one of leases[i], i in `which`, have arrived or will not:
  /// at once if one is ready() already. `which` is not empty.
  void wait_any(std::span<const ExpertLease> leases, std::span<const std::size_t> which);

  /// Lets at most `limit` slots be used from now on, those of the first `limit` of the plan in each
  /// class: at least 1, at most slot_count(). Above it, empty slots go first, then experts leave,
  /// coldest first by the policy from the layer that has most; the memory of these slots goes back
  /// to the system. Never waits: leased experts and those being read stay, so the limit it returns,
  /// which holds from now on, can be higher.
  std::size_t set_slot_limit(std::size_t limit);

  /// The same by the memory that they take; returns that of the slots that may be used.
  std::uint64_t set_byte_limit(std::uint64_t bytes);

  /// Starts reading the first of `wanted` that are not here, into free slots. Where there are none,
  /// somebody leaves by the policy who is none of `kept`; nobody, if that is empty. Leases wait for
  /// nothing, as a few experts at most are in flight and none is begun while somebody waits for the
  /// disk. Never waits; call it again for the rest. A read that fails leaves its slot free. Errors:
  /// those of ReadQueue::submit.
  Result<PrefetchProgress> prefetch(std::span<const ExpertKey> wanted,
                                    std::span<const ExpertKey> kept = {});

  /// The places in `ids`, experts of `layer`, of those that are neither here nor being read, to
  /// `places`.
  void find_missing(LayerId layer, std::span<const ExpertId> ids,
                    std::vector<std::size_t>& places) const;

  /// Of every expert of `layer` whether it is here or being read (not 0): [its experts].
  void find_present(LayerId layer, std::span<unsigned char> is_present) const;

  /// Begins to read `wanted`, experts of `layer` that a lease may ask for soon. Where no slot is
  /// free somebody leaves, by the policy, but nobody of `kept`, more experts of the layer. Never
  /// waits: what has no slot at once is left out, and all where a thread waits in the queue. A read
  /// that fails leaves its slot free. Returns how many reads were begun. Errors: those of
  /// ReadQueue::submit.
  Result<std::size_t> speculate(LayerId layer, std::span<const ExpertId> wanted,
                                std::span<const ExpertId> kept);

  /// Brings in those of `swaps`, experts of `layer`, that are to come, each into the slot of who is
  /// to go, and waits for them. Where that one is leased or not here the policy names another;
  /// where the newcomer is here nothing happens. Neither hits nor misses. Errors: as acquire(), and
  /// those of the reads: those who came stay, and the call can be repeated.
  Status exchange(LayerId layer, std::span<const ExpertSwap> swaps);

  /// A step has failed or was given up: no memory is made ready for experts to come, which whoever
  /// frees memory would wait for, until the next acquire().
  void rest();

  /// Another policy decides from now on. It knows who is here, in the order of the one before, and
  /// nothing of the past.
  void set_policy(std::unique_ptr<ResidencyPolicy> policy);

  /// Drops every resident that nobody leases.
  void clear();

  /// The experts that are here or being read, in the policy's order.
  ResidentSet resident_set() const;

  const SlotPlan& slot_plan() const { return plan_; }
  std::size_t slot_count() const { return plan_.slot_count(); }
  /// How many of them may be used now; for experts of one layer; and of each class.
  std::size_t slot_limit() const;
  std::size_t slot_limit(LayerId layer) const;
  LayerSlots slot_limits() const;
  /// How many hold an expert or are being read into.
  std::size_t used_slot_count() const;
  /// The memory of the slots that may be used, and of those in use.
  std::uint64_t byte_limit() const;
  std::uint64_t used_bytes() const;
  /// Experts of `layer` whose bytes are in memory now.
  std::size_t resident_count(LayerId layer) const;
  bool is_resident(ExpertKey key) const;
  ExpertCacheStatistics statistics() const;
  /// Of the queue, since it was made: what others read through it before counts too.
  ReadStatistics read_statistics() const;
  /// Of the slots: AlignedBuffer::huge_page_bytes().
  std::uint64_t huge_page_bytes() const { return memory_.huge_page_bytes(); }

 private:
  friend class ExpertLease;
  class Evictable;
  static constexpr std::uint32_t kNoSlot = SlotTable::kNone;

  ExpertCache(const ExpertStore& store, std::unique_ptr<ResidencyPolicy> policy,
              std::unique_ptr<ReadQueue> queue, AlignedBuffer memory, SlotPlan plan);

  // What leases call.
  Result<ExpertView> wait(std::uint32_t slot_id);
  bool ready(std::uint32_t slot_id);
  void release(std::uint32_t slot_id);

  bool pump();

  // All below are called with mutex_ held; those that take the lock give it up while they wait.
  Status make_room(std::unique_lock<std::mutex>& lock, LayerId layer,
                   std::span<const ExpertId> routed);
  std::uint32_t empty_slot(LayerId layer);
  Status exchange_batch(std::unique_lock<std::mutex>& lock, LayerId layer,
                        std::span<const ExpertSwap> swaps);
  std::uint32_t slot_for(LayerId layer, ExpertId out);
  std::uint32_t evict(LayerId layer);
  std::uint32_t evict(LayerId layer, const EvictableSet& evictable);
  std::uint32_t slot_of_another(LayerId layer, std::span<const ExpertKey> kept);
  void drop_resident(std::uint32_t slot_id);
  std::uint32_t take_free_slot(LayerId layer);
  bool limit_class(std::size_t slot_class, std::size_t limit);
  std::uint64_t bytes_of(std::span<const std::size_t> slot_counts) const;
  void start_reading(std::uint32_t slot_id, ExpertKey key, LoadCause cause);
  Status submit_reads();
  void fail(std::uint32_t slot_id);
  void drop_lease(std::uint32_t slot_id);
  void free_slot(std::uint32_t slot_id);
  void take_turn(std::unique_lock<std::mutex>& lock);
  void wait_for_disk(std::unique_lock<std::mutex>& lock);
  void collect_finished_reads();
  void collect_reads(std::size_t count, bool waited);
  void finish_reading(std::uint32_t slot_id);

  const ExpertStore& store_;
  std::unique_ptr<ResidencyPolicy> policy_;  // under mutex_
  const SlotPlan plan_;
  SlotMemory memory_;  // outlives queue_, whose destruction waits for reads into it

  mutable std::mutex mutex_;
  std::unique_ptr<ReadQueue> queue_;
  std::condition_variable queue_changed_;
  bool queue_taken_ = false;            // a thread waits in it, without mutex_
  std::size_t submitters_waiting_ = 0;  // they go before the next wait

  SlotTable table_;
  std::vector<ExpertView::Segments> segments_;  // of each slot, set when its reads begin
  std::vector<Status> errors_;                  // of each slot: why its reads failed
  // Since nothing was being read: when, and reads begun.
  Stopwatch reading_watch_;
  std::size_t reads_begun_ = 0;
  ExpertCacheStatistics statistics_;
  ReadStatistics read_statistics_;  // of queue_ when it was last polled

  // Reused from call to call.
  std::vector<std::uint32_t> leased_slots_;  // of one call, in its order
  std::vector<std::uint32_t> new_slots_;     // of one call: they must be read
  std::vector<ReadRequest> requests_;
  std::vector<ReadCompletion> completions_;  // belongs to whoever has the queue

  ReadPump pump_;  // its thread ends before all else
};

}  // namespace flashmoe

#endif  // FLASHMOE_EXPERTS_EXPERT_CACHE_H_
