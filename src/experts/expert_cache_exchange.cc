// What of ExpertCache changes residents on somebody's word rather than on demand: swaps of a fixed
// set, another policy, an empty cache.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/stopwatch.h"
#include "experts/expert_cache.h"

namespace flashmoe {
namespace {

// Experts of one exchange that are read at once: enough for any disk, and a part of any budget.
constexpr std::size_t kExchangeBatch = 64;

}  // namespace

Status ExpertCache::exchange(LayerId layer, std::span<const ExpertSwap> swaps) {
  FM_CHECK(layer.value < store_.layer_count());
  Stopwatch watch;
  Status status;
  while (status.ok() && !swaps.empty()) {
    std::unique_lock lock(mutex_);
    const std::size_t batch =
        std::min({swaps.size(), kExchangeBatch,
                  std::max<std::size_t>(1, table_.idle_count(table_.class_of(layer)))});
    status = exchange_batch(lock, layer, swaps.first(batch));
    swaps = swaps.subspan(batch);
  }
  const std::lock_guard lock(mutex_);
  statistics_.exchange_seconds += watch.lap();
  return status;
}

Status ExpertCache::exchange_batch(std::unique_lock<std::mutex>& lock, LayerId layer,
                                   std::span<const ExpertSwap> swaps) {
  collect_finished_reads();
  std::vector<ExpertId> incoming;
  for (const ExpertSwap& swap : swaps) incoming.push_back(swap.in);
  const double wait_seconds = statistics_.wait_seconds;
  FM_RETURN_IF_ERROR(make_room(lock, layer, incoming));
  // Those who are here first, so that none of them leaves for another.
  std::vector<std::uint32_t> held;
  for (const ExpertId id : incoming) {
    const std::uint32_t slot_id = table_.find({layer, id});
    if (slot_id == kNoSlot) continue;
    table_.add_lease(slot_id);
    held.push_back(slot_id);
  }
  new_slots_.clear();
  requests_.clear();
  for (const ExpertSwap& swap : swaps) {
    if (table_.find({layer, swap.in}) != kNoSlot) continue;
    const std::uint32_t slot_id = slot_for(layer, swap.out);
    table_.add_lease(slot_id);
    start_reading(slot_id, {layer, swap.in}, LoadCause::kPlaced);
    held.push_back(slot_id);
  }
  Status status = submit_reads().with_prefix(fmt::format("expert store: layer {}", layer.value));
  for (const std::uint32_t slot_id : held) {
    while (table_[slot_id].state == SlotState::kReading) wait_for_disk(lock);
    if (status.ok() && table_[slot_id].state == SlotState::kFailed) status = errors_[slot_id];
  }
  for (const std::uint32_t slot_id : held) drop_lease(slot_id);
  // The computation does not stand still for these: it has not begun.
  statistics_.wait_seconds = wait_seconds;
  return status;
}

// A slot for a newcomer to `layer`: that of `out` if it can go, else a free one or the policy's.
std::uint32_t ExpertCache::slot_for(LayerId layer, ExpertId out) {
  if (out != kNobody) {
    const std::uint32_t slot_id = table_.find({layer, out});
    if (slot_id != kNoSlot && table_[slot_id].lease_count == 0 &&
        table_[slot_id].state == SlotState::kResident) {
      drop_resident(slot_id);
      return slot_id;
    }
  }
  return empty_slot(layer);
}

void ExpertCache::set_policy(std::unique_ptr<ResidencyPolicy> policy) {
  const std::lock_guard lock(mutex_);
  policy->set_slots(table_.limits());
  for (std::uint32_t l = 0; l < store_.layer_count(); ++l) {
    std::vector<ExpertId> residents = policy_->ranked_residents(LayerId{l});
    std::ranges::reverse(residents);  // the most wanted is the last to have come
    for (const ExpertId id : residents) {
      policy->on_loaded({LayerId{l}, id}, LoadCause::kRestored);
    }
  }
  policy_ = std::move(policy);
}

void ExpertCache::clear() {
  const std::lock_guard lock(mutex_);
  collect_finished_reads();
  for (std::uint32_t slot_id = 0; slot_id < slot_count(); ++slot_id) {
    const Slot& slot = table_[slot_id];
    if (slot.state != SlotState::kResident || slot.lease_count > 0) continue;
    drop_resident(slot_id);
    table_.free(slot_id);
  }
}

}  // namespace flashmoe
