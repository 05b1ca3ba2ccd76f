#include "experts/expert_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace flashmoe {
namespace {

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

// Residents that nobody has leased and whose bytes are in place, in slots that experts of `layer`
// can take; none of `kept`, by place in the table.
class ExpertCache::Evictable final : public EvictableSet {
 public:
  Evictable(const ExpertCache& cache, LayerId layer, const std::vector<bool>* kept = nullptr)
      : cache_(cache), class_(cache.table_.class_of(layer)), kept_(kept) {}
  bool contains(ExpertKey key) const override {
    const std::uint32_t slot_id = cache_.table_.find(key);
    return slot_id != kNoSlot && contains(cache_.table_[slot_id]);
  }
  bool contains(const Slot& slot) const {
    return slot.lease_count == 0 && slot.state == SlotState::kResident &&
           cache_.table_.class_of(slot.key.layer) == class_ &&
           (kept_ == nullptr || !(*kept_)[cache_.table_.place_of(slot.key)]);
  }

 private:
  const ExpertCache& cache_;
  const std::size_t class_;
  const std::vector<bool>* const kept_;
};

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(const ExpertStore& store,
                                                         std::unique_ptr<ResidencyPolicy> policy,
                                                         std::unique_ptr<ReadQueue> queue,
                                                         const ExpertCacheOptions& options) {
  const SlotClasses classes = slot_classes(store);
  SlotPlan plan(classes, {.budget_bytes = options.budget_bytes,
                          .experts_at_once = options.experts_at_once,
                          .slots_max = options.slots_max});
  if (plan.slot_count() == 0 && !classes.classes.empty()) {
    return error(StatusCode::kOutOfBudget,
                 "expert cache: {} for experts hold none, one takes {}: raise --memory",
                 format_size(options.budget_bytes), format_size(classes.slot_size_max()));
  }
  Result<AlignedBuffer> memory = AlignedBuffer::allocate(plan.byte_size());
  if (!memory.ok()) return memory.status().with_prefix("expert cache");
  return std::unique_ptr<ExpertCache>(new ExpertCache(store, std::move(policy), std::move(queue),
                                                      std::move(*memory), std::move(plan)));
}

ExpertCache::ExpertCache(const ExpertStore& store, std::unique_ptr<ResidencyPolicy> policy,
                         std::unique_ptr<ReadQueue> queue, AlignedBuffer memory, SlotPlan plan)
    : store_(store),
      policy_(std::move(policy)),
      plan_(std::move(plan)),
      memory_(std::move(memory), plan_),
      queue_(std::move(queue)),
      table_(store.expert_counts(), plan_),
      segments_(plan_.slot_count()),
      errors_(plan_.slot_count()),
      read_statistics_(queue_->statistics()),  // of what was read through it before
      completions_(kCompletionsMax),
      pump_([this] { return pump(); }) {
  policy_->set_slots(table_.limits());
}

ExpertCache::~ExpertCache() {
  for (std::size_t c = 0; c < table_.class_count(); ++c) {
    FM_CHECK(table_.idle_count(c) == table_.limit(c));  // a lease would dangle
  }
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
    const std::uint32_t slot_id = table_.find({layer, routed[i]});
    if (slot_id == kNoSlot) continue;
    if (table_[slot_id].cause == LoadCause::kGuessed) {
      table_.confirm_guess(slot_id);
      ++statistics_.speculative_hit_count;
    }
    table_.add_lease(slot_id);
    leased_slots_[i] = slot_id;
  }
  for (std::size_t i = 0; i < routed.size(); ++i) {
    if (leased_slots_[i] != kNoSlot) continue;
    leased_slots_[i] = empty_slot(layer);
    table_.add_lease(leased_slots_[i]);
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
  const std::size_t slot_class = table_.class_of(layer);
  for (;;) {
    std::size_t miss_count = 0;
    std::size_t idle_hit_count = 0;  // they stop being idle
    std::size_t idle_reading_hit_count = 0;
    for (const ExpertId expert : routed) {
      const std::uint32_t slot_id = table_.find({layer, expert});
      if (slot_id == kNoSlot) {
        ++miss_count;
      } else if (table_[slot_id].lease_count == 0) {
        ++idle_hit_count;
        if (table_[slot_id].state == SlotState::kReading) ++idle_reading_hit_count;
      }
    }
    if (miss_count == 0) return Status();
    const std::size_t idle_count = table_.idle_count(slot_class);
    if (miss_count + idle_hit_count > idle_count) {
      const std::size_t limit = table_.limit(slot_class);
      return error(StatusCode::kOutOfBudget,
                   "expert cache: layer {} needs {} experts at once, but of {} slots of {} {} "
                   "are leased: {}",
                   layer.value, routed.size(), limit,
                   format_size(plan_.classes()[slot_class].slot_size), limit - idle_count,
                   table_.is_limited(slot_class) ? "the system is short of memory; free some"
                                                 : "raise --memory");
    }
    if (queue_taken_) {
      take_turn(lock);
      continue;
    }
    const std::size_t reading_count =
        table_.idle_reading_count(slot_class) - idle_reading_hit_count;
    if (miss_count + idle_hit_count + reading_count <= idle_count) return Status();
    wait_for_disk(lock);
  }
}

std::uint32_t ExpertCache::empty_slot(LayerId layer) {
  const std::uint32_t slot_id = take_free_slot(layer);
  return slot_id == kNoSlot ? evict(layer) : slot_id;
}

void ExpertCache::rest() {
  const std::lock_guard lock(mutex_);
  memory_.rest();
}

std::uint32_t ExpertCache::take_free_slot(LayerId layer) {
  const std::uint32_t slot_id = table_.take_free(table_.class_of(layer));
  if (slot_id != kNoSlot) memory_.prepare(slot_id);
  return slot_id;
}

// Empties the slot of the expert that leaves so that one of `layer` could come in.
std::uint32_t ExpertCache::evict(LayerId layer) { return evict(layer, Evictable(*this, layer)); }

std::uint32_t ExpertCache::evict(LayerId layer, const EvictableSet& evictable) {
  const ExpertKey victim = policy_->choose_victim(layer, evictable);
  FM_CHECK(evictable.contains(victim));
  const std::uint32_t slot_id = table_.find(victim);
  drop_resident(slot_id);
  return slot_id;
}

// The same, but nobody of `kept` leaves. kNoSlot: nobody else can, or nobody is to, as `kept` is
// empty.
std::uint32_t ExpertCache::slot_of_another(LayerId layer, std::span<const ExpertKey> kept) {
  if (kept.empty()) return kNoSlot;
  std::vector<bool> is_kept(table_.place_count());
  for (const ExpertKey key : kept) is_kept[table_.place_of(key)] = true;
  const Evictable others(*this, layer, &is_kept);
  const bool has_any =
      std::ranges::any_of(table_.slots(), [&](const Slot& s) { return others.contains(s); });
  return has_any ? evict(layer, others) : kNoSlot;
}

void ExpertCache::drop_lease(std::uint32_t slot_id) {
  if (!table_.drop_lease(slot_id)) return;
  const Slot& slot = table_[slot_id];
  if (slot.state == SlotState::kFailed) free_slot(slot_id);
  if (slot.state == SlotState::kResident && !policy_->keeps_unleased()) {
    drop_resident(slot_id);
    free_slot(slot_id);
  }
}

void ExpertCache::drop_resident(std::uint32_t slot_id) {
  table_.drop(slot_id);
  ++statistics_.eviction_count;
  policy_->on_dropped(table_[slot_id].key);
}

void ExpertCache::free_slot(std::uint32_t slot_id) {
  errors_[slot_id] = Status();
  table_.free(slot_id);
}

void ExpertCache::release(std::uint32_t slot_id) {
  const std::lock_guard lock(mutex_);
  drop_lease(slot_id);
}

Result<ExpertView> ExpertCache::wait(std::uint32_t slot_id) {
  const Slot& slot = table_[slot_id];
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
    return table_[leases[i].slot_].state != SlotState::kReading;
  };
  while (std::none_of(which.begin(), which.end(), has_arrived)) wait_for_disk(lock);
}

bool ExpertCache::ready(std::uint32_t slot_id) {
  const Slot& slot = table_[slot_id];
  if (slot.state.load(std::memory_order_acquire) != SlotState::kReading) return true;
  const std::lock_guard lock(mutex_);
  if (slot.state == SlotState::kReading) collect_finished_reads();
  return slot.state != SlotState::kReading;
}

std::size_t ExpertCache::resident_count(LayerId layer) const {
  const std::lock_guard lock(mutex_);
  return table_.resident_counts()[layer.value];
}

bool ExpertCache::is_resident(ExpertKey key) const {
  const std::lock_guard lock(mutex_);
  const std::uint32_t slot_id = table_.find(key);
  return slot_id != kNoSlot && table_[slot_id].state == SlotState::kResident;
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
