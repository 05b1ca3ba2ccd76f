#include "experts/expert_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace flashmoe {
namespace {

// Bytes of slots not used yet whose pages are made ready: what a fast disk fills in some 0.2 s.
constexpr std::size_t kWarmAhead = std::size_t{512} << 20;

// Completions taken from the queue at once.
constexpr std::size_t kCompletionsMax = 64;

}  // namespace

ExpertLease::ExpertLease(ExpertLease&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)), slot_(other.slot_) {}

ExpertLease& ExpertLease::operator=(ExpertLease&& other) noexcept {
  if (this != &other) {
    if (cache_ != nullptr) cache_->release(slot_);
    cache_ = std::exchange(other.cache_, nullptr);
    slot_ = other.slot_;
  }
  return *this;
}

ExpertLease::~ExpertLease() {
  if (cache_ != nullptr) cache_->release(slot_);
}

Result<ExpertView> ExpertLease::wait() const {
  FM_CHECK(cache_ != nullptr);
  return cache_->wait(slot_);
}

bool ExpertLease::ready() const {
  FM_CHECK(cache_ != nullptr);
  return cache_->ready(slot_);
}

// Residents that nobody has leased and whose bytes are in place; none of `kept`, by place in
// index_.
class ExpertCache::Evictable final : public EvictableSet {
 public:
  explicit Evictable(const ExpertCache& cache, const std::vector<bool>* kept = nullptr)
      : cache_(cache), kept_(kept) {}
  bool contains(ExpertKey key) const override {
    const std::uint32_t slot_id = cache_.slot_of(key);
    return slot_id != kNoSlot && contains(cache_.slots_[slot_id]);
  }
  bool contains(const Slot& slot) const {
    return slot.lease_count == 0 && slot.state == SlotState::kResident &&
           (kept_ == nullptr || !(*kept_)[cache_.place_of(slot.key)]);
  }

 private:
  const ExpertCache& cache_;
  const std::vector<bool>* const kept_;
};

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(const ExpertStore& store,
                                                         std::unique_ptr<ResidencyPolicy> policy,
                                                         std::unique_ptr<ReadQueue> queue,
                                                         const ExpertCacheOptions& options) {
  std::uint64_t slot_count = 0;
  for (const std::size_t count : store.expert_counts()) slot_count += count;
  if (slot_count > 0) {
    slot_count = std::min(slot_count, options.budget_bytes / store.slot_size());
    if (slot_count == 0) {
      return error(StatusCode::kOutOfBudget,
                   "expert cache: {} for experts hold none, one takes {}: raise --memory",
                   format_size(options.budget_bytes), format_size(store.slot_size()));
    }
  }
  FM_CHECK(slot_count < kNoSlot);
  Result<AlignedBuffer> memory = AlignedBuffer::allocate(slot_count * store.slot_size());
  if (!memory.ok()) return memory.status().with_prefix("expert cache");
  return std::unique_ptr<ExpertCache>(
      new ExpertCache(store, std::move(policy), std::move(queue), std::move(*memory), slot_count));
}

ExpertCache::ExpertCache(const ExpertStore& store, std::unique_ptr<ResidencyPolicy> policy,
                         std::unique_ptr<ReadQueue> queue, AlignedBuffer memory,
                         std::size_t slot_count)
    : store_(store),
      policy_(std::move(policy)),
      slot_count_(slot_count),
      memory_(std::move(memory)),
      warmer_(memory_.bytes()),
      queue_(std::move(queue)),
      slots_(std::make_unique<Slot[]>(slot_count)),
      segments_(slot_count),
      errors_(slot_count),
      resident_counts_(store.layer_count()),
      idle_count_(slot_count),
      read_statistics_(queue_->statistics()),  // of what was read through it before
      completions_(kCompletionsMax),
      pump_([this] { return pump(); }) {
  first_.push_back(0);
  for (const std::size_t count : store.expert_counts()) first_.push_back(first_.back() + count);
  index_.assign(first_.back(), kNoSlot);
  // Slots fill from the front: memory that is not needed is never touched.
  for (std::size_t i = slot_count; i-- > 0;) free_slots_.push_back(static_cast<std::uint32_t>(i));
  policy_->set_slot_count(slot_count);
  warmer_.want(kWarmAhead);
}

ExpertCache::~ExpertCache() {
  FM_CHECK(idle_count_ + withheld_slots_.size() == slot_count_);  // a lease would dangle
}

Status ExpertCache::acquire(std::uint64_t step, LayerId layer, std::span<const ExpertId> routed,
                            std::span<ExpertLease> leases, const RowCounts& rows) {
  FM_CHECK(layer.value < store_.layer_count());
  FM_CHECK(routed.size() == leases.size());
  for (ExpertLease& lease : leases) lease = ExpertLease();

  std::unique_lock lock(mutex_);
  collect_finished_reads();  // so that a pause of the disk is not taken for part of its work
  FM_RETURN_IF_ERROR(make_room(lock, layer, routed));
  // From here to the end of submit nobody else comes in between.
  policy_->on_routed(step, layer, routed, rows);

  // Hits first, so that no victim is one of them.
  leased_slots_.assign(routed.size(), kNoSlot);
  new_slots_.clear();
  requests_.clear();
  for (std::size_t i = 0; i < routed.size(); ++i) {
    const std::uint32_t slot_id = slot_of({layer, routed[i]});
    if (slot_id == kNoSlot) continue;
    if (slots_[slot_id].cause == LoadCause::kGuessed) confirm_guess(slots_[slot_id]);
    add_lease(slots_[slot_id]);
    leased_slots_[i] = slot_id;
  }
  for (std::size_t i = 0; i < routed.size(); ++i) {
    if (leased_slots_[i] != kNoSlot) continue;
    leased_slots_[i] = empty_slot(layer);
    add_lease(slots_[leased_slots_[i]]);
    start_reading(leased_slots_[i], {layer, routed[i]}, LoadCause::kRouted);
  }

  if (const Status status = submit_reads(); !status.ok()) {
    for (const std::uint32_t slot_id : leased_slots_) drop_lease(slot_id);
    return status.with_prefix(fmt::format("expert store: layer {}", layer.value));
  }
  statistics_.miss_count += new_slots_.size();
  statistics_.hit_count += routed.size() - new_slots_.size();
  for (std::size_t i = 0; i < routed.size(); ++i) leases[i] = ExpertLease(this, leased_slots_[i]);
  return Status();
}

// Returns when every expert of `routed` is here or has a slot that it can take at once.
Status ExpertCache::make_room(std::unique_lock<std::mutex>& lock, LayerId layer,
                              std::span<const ExpertId> routed) {
  for (;;) {
    std::size_t miss_count = 0;
    std::size_t idle_hit_count = 0;  // they stop being idle
    std::size_t idle_reading_hit_count = 0;
    for (const ExpertId expert : routed) {
      const std::uint32_t slot_id = slot_of({layer, expert});
      if (slot_id == kNoSlot) {
        ++miss_count;
      } else if (slots_[slot_id].lease_count == 0) {
        ++idle_hit_count;
        if (slots_[slot_id].state == SlotState::kReading) ++idle_reading_hit_count;
      }
    }
    if (miss_count == 0) return Status();
    if (miss_count + idle_hit_count > idle_count_) {
      const std::size_t limit = slot_count_ - withheld_slots_.size();
      return error(
          StatusCode::kOutOfBudget,
          "expert cache: layer {} needs {} experts at once, but of {} slots of {} {} "
          "are leased: {}",
          layer.value, routed.size(), limit, format_size(store_.slot_size()), limit - idle_count_,
          limit == slot_count_ ? "raise --memory" : "the system is short of memory; free some");
    }
    if (queue_taken_) {
      take_turn(lock);
      continue;
    }
    const std::size_t reading_count = idle_reading_count_ - idle_reading_hit_count;
    if (miss_count + idle_hit_count + reading_count <= idle_count_) return Status();
    wait_for_disk(lock);
  }
}

std::uint32_t ExpertCache::empty_slot(LayerId layer) {
  return free_slots_.empty() ? evict(layer) : take_free_slot();
}

void ExpertCache::rest() {
  const std::lock_guard lock(mutex_);
  warmer_.rest();
}

std::uint32_t ExpertCache::take_free_slot() {
  const std::uint32_t slot_id = free_slots_.back();
  free_slots_.pop_back();
  warmer_.want(slot_id * store_.slot_size() + kWarmAhead);
  return slot_id;
}

// Empties the slot of the expert that leaves so that one of `layer` could come in.
std::uint32_t ExpertCache::evict(LayerId layer) { return evict(layer, Evictable(*this)); }

std::uint32_t ExpertCache::evict(LayerId layer, const EvictableSet& evictable) {
  const ExpertKey victim = policy_->choose_victim(layer, evictable);
  FM_CHECK(evictable.contains(victim));
  const std::uint32_t slot_id = slot_of(victim);
  drop_resident(slot_id);
  return slot_id;
}

// The same, but nobody of `kept` leaves. kNoSlot: nobody else can, or nobody is to, as `kept` is
// empty.
std::uint32_t ExpertCache::slot_of_another(LayerId layer, std::span<const ExpertKey> kept) {
  if (kept.empty()) return kNoSlot;
  std::vector<bool> is_kept(index_.size());
  for (const ExpertKey key : kept) is_kept[place_of(key)] = true;
  const Evictable others(*this, &is_kept);
  const std::span<const Slot> slots(slots_.get(), slot_count_);
  const bool has_any =
      std::ranges::any_of(slots, [&](const Slot& s) { return others.contains(s); });
  return has_any ? evict(layer, others) : kNoSlot;
}

// The slot's expert is no longer here.
void ExpertCache::forget(const Slot& slot) {
  slot_of(slot.key) = kNoSlot;
  policy_->on_dropped(slot.key);
}

void ExpertCache::add_lease(Slot& slot) {
  if (slot.lease_count++ > 0) return;
  --idle_count_;
  if (slot.state == SlotState::kReading) --idle_reading_count_;
}

void ExpertCache::drop_lease(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  if (--slot.lease_count > 0) return;
  ++idle_count_;
  if (slot.state == SlotState::kReading) ++idle_reading_count_;
  if (slot.state == SlotState::kFailed) free_slot(slot_id);
  if (slot.state == SlotState::kResident && !policy_->keeps_unleased()) {
    drop_resident(slot_id);
    free_slot(slot_id);
  }
}

void ExpertCache::drop_resident(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  --resident_counts_[slot.key.layer.value];
  ++statistics_.eviction_count;
  forget(slot);
  slot.state = SlotState::kFree;
}

void ExpertCache::free_slot(std::uint32_t slot_id) {
  slots_[slot_id].state = SlotState::kFree;
  errors_[slot_id] = Status();
  free_slots_.push_back(slot_id);
}

void ExpertCache::release(std::uint32_t slot_id) {
  const std::lock_guard lock(mutex_);
  drop_lease(slot_id);
}

Result<ExpertView> ExpertCache::wait(std::uint32_t slot_id) {
  const Slot& slot = slots_[slot_id];
  // A leased resident stays one, so what was resident needs no lock.
  if (slot.state.load(std::memory_order_acquire) != SlotState::kResident) {
    std::unique_lock lock(mutex_);
    while (slot.state == SlotState::kReading) wait_for_disk(lock);
    if (slot.state == SlotState::kFailed) return errors_[slot_id];
  }
  return ExpertView(&segments_[slot_id]);
}

void ExpertCache::wait_any(std::span<const ExpertLease> leases,
                           std::span<const std::size_t> which) {
  FM_CHECK(!which.empty());
  std::unique_lock lock(mutex_);
  const auto has_arrived = [&](std::size_t i) {
    FM_DCHECK(leases[i].cache_ == this);
    return slots_[leases[i].slot_].state != SlotState::kReading;
  };
  while (std::none_of(which.begin(), which.end(), has_arrived)) wait_for_disk(lock);
}

bool ExpertCache::ready(std::uint32_t slot_id) {
  const Slot& slot = slots_[slot_id];
  if (slot.state.load(std::memory_order_acquire) != SlotState::kReading) return true;
  const std::lock_guard lock(mutex_);
  if (slot.state == SlotState::kReading) collect_finished_reads();
  return slot.state != SlotState::kReading;
}

std::size_t ExpertCache::place_of(ExpertKey key) const {
  const std::size_t place = first_[key.layer.value] + key.expert.value;
  FM_CHECK(place < first_[key.layer.value + 1]);
  return place;
}

const std::uint32_t& ExpertCache::slot_of(ExpertKey key) const { return index_[place_of(key)]; }

std::uint32_t& ExpertCache::slot_of(ExpertKey key) {
  return const_cast<std::uint32_t&>(std::as_const(*this).slot_of(key));
}

std::size_t ExpertCache::resident_count(LayerId layer) const {
  const std::lock_guard lock(mutex_);
  return resident_counts_[layer.value];
}

bool ExpertCache::is_resident(ExpertKey key) const {
  const std::lock_guard lock(mutex_);
  const std::uint32_t slot_id = slot_of(key);
  return slot_id != kNoSlot && slots_[slot_id].state == SlotState::kResident;
}

ExpertCacheStatistics ExpertCache::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

ReadStatistics ExpertCache::read_statistics() const {
  const std::lock_guard lock(mutex_);
  return read_statistics_;
}

}  // namespace flashmoe
