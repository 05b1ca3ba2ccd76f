#include "experts/slot_table.h"

#include "base/check.h"

namespace flashmoe {

SlotTable::SlotTable(std::span<const std::size_t> expert_counts, std::size_t slot_count)
    : slot_count_(slot_count),
      slots_(std::make_unique<Slot[]>(slot_count)),
      resident_counts_(expert_counts.size()),
      idle_count_(slot_count) {
  FM_CHECK(slot_count < kNone);
  first_.push_back(0);
  for (const std::size_t count : expert_counts) first_.push_back(first_.back() + count);
  index_.assign(first_.back(), kNone);
  for (std::size_t i = slot_count; i-- > 0;) free_.push_back(static_cast<std::uint32_t>(i));
}

std::size_t SlotTable::place_of(ExpertKey key) const {
  const std::size_t place = first_[key.layer.value] + key.expert.value;
  FM_CHECK(place < first_[key.layer.value + 1]);
  return place;
}

std::span<const std::uint32_t> SlotTable::find_all(LayerId layer) const {
  return std::span(index_).subspan(first_[layer.value],
                                   first_[layer.value + 1] - first_[layer.value]);
}

std::uint32_t SlotTable::take_free() {
  if (free_.empty()) return kNone;
  const std::uint32_t slot_id = free_.back();
  free_.pop_back();
  return slot_id;
}

void SlotTable::free(std::uint32_t slot_id) {
  slots_[slot_id].state = SlotState::kEmpty;
  free_.push_back(slot_id);
}

void SlotTable::begin_reading(std::uint32_t slot_id, ExpertKey key, LoadCause cause,
                              std::size_t reads) {
  Slot& slot = slots_[slot_id];
  slot.key = key;
  slot.state = SlotState::kReading;
  slot.cause = cause;
  slot.reads_left = static_cast<std::uint16_t>(reads);
  ++reading_count_;
  if (slot.lease_count == 0) ++idle_reading_count_;
  if (cause == LoadCause::kRestored) ++prefetching_count_;
  if (cause == LoadCause::kGuessed) ++guessing_count_;
  index_[place_of(key)] = slot_id;
}

void SlotTable::end_reading(const Slot& slot) {
  --reading_count_;
  if (slot.lease_count == 0) --idle_reading_count_;
  if (slot.cause == LoadCause::kRestored) --prefetching_count_;
  if (slot.cause == LoadCause::kGuessed) --guessing_count_;
}

void SlotTable::arrive(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  end_reading(slot);
  // Whoever sees this without the lock sees the bytes too.
  slot.state.store(SlotState::kResident, std::memory_order_release);
  ++resident_counts_[slot.key.layer.value];
}

void SlotTable::fail(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  end_reading(slot);
  forget(slot);
  slot.state = SlotState::kFailed;
}

void SlotTable::drop(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  --resident_counts_[slot.key.layer.value];
  forget(slot);
  slot.state = SlotState::kEmpty;
}

void SlotTable::confirm_guess(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  if (slot.state == SlotState::kReading) --guessing_count_;
  slot.cause = LoadCause::kRouted;
}

void SlotTable::add_lease(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  if (slot.lease_count++ > 0) return;
  --idle_count_;
  if (slot.state == SlotState::kReading) --idle_reading_count_;
}

bool SlotTable::drop_lease(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  if (--slot.lease_count > 0) return false;
  ++idle_count_;
  if (slot.state == SlotState::kReading) ++idle_reading_count_;
  return true;
}

void SlotTable::withhold(std::uint32_t slot_id) {
  withheld_.push_back(slot_id);
  --idle_count_;
}

void SlotTable::restore(std::size_t count) {
  for (; count > 0; --count) {
    free_.push_back(withheld_.back());
    withheld_.pop_back();
    ++idle_count_;
  }
}

}  // namespace flashmoe
