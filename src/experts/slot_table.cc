#include "experts/slot_table.h"

#include "base/check.h"

namespace flashmoe {

SlotTable::SlotTable(std::span<const std::size_t> expert_counts, const SlotPlan& plan)
    : plan_(plan),
      slots_(std::make_unique<Slot[]>(plan.slot_count())),
      classes_(plan.classes().size()),
      limits_(plan.slots(plan.slot_count())),
      resident_counts_(expert_counts.size()) {
  FM_CHECK(plan.slot_count() < kNone);
  first_.push_back(0);
  for (const std::size_t count : expert_counts) first_.push_back(first_.back() + count);
  index_.assign(first_.back(), kNone);
  for (std::size_t i = plan.slot_count(); i-- > 0;) {
    Class& of_slot = classes_[plan.class_of_slot(i)];
    of_slot.free.push_back(static_cast<std::uint32_t>(i));
    ++of_slot.idle_count;
  }
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

std::uint32_t SlotTable::take_free(std::size_t slot_class) {
  std::vector<std::uint32_t>& free = classes_[slot_class].free;
  if (free.empty()) return kNone;
  const std::uint32_t slot_id = free.back();
  free.pop_back();
  return slot_id;
}

void SlotTable::free(std::uint32_t slot_id) {
  slots_[slot_id].state = SlotState::kEmpty;
  class_of_slot(slot_id).free.push_back(slot_id);
}

void SlotTable::begin_reading(std::uint32_t slot_id, ExpertKey key, LoadCause cause,
                              std::size_t reads) {
  Slot& slot = slots_[slot_id];
  slot.key = key;
  slot.state = SlotState::kReading;
  slot.cause = cause;
  slot.reads_left = static_cast<std::uint16_t>(reads);
  ++reading_count_;
  if (slot.lease_count == 0) ++class_of_slot(slot_id).idle_reading_count;
  if (cause == LoadCause::kRestored) ++prefetching_count_;
  if (cause == LoadCause::kGuessed) ++guessing_count_;
  index_[place_of(key)] = slot_id;
}

void SlotTable::end_reading(std::uint32_t slot_id) {
  const Slot& slot = slots_[slot_id];
  --reading_count_;
  if (slot.lease_count == 0) --class_of_slot(slot_id).idle_reading_count;
  if (slot.cause == LoadCause::kRestored) --prefetching_count_;
  if (slot.cause == LoadCause::kGuessed) --guessing_count_;
}

void SlotTable::arrive(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  end_reading(slot_id);
  // Whoever sees this without the lock sees the bytes too.
  slot.state.store(SlotState::kResident, std::memory_order_release);
  ++resident_counts_[slot.key.layer.value];
}

void SlotTable::fail(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  end_reading(slot_id);
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
  Class& of_slot = class_of_slot(slot_id);
  --of_slot.idle_count;
  if (slot.state == SlotState::kReading) --of_slot.idle_reading_count;
}

bool SlotTable::drop_lease(std::uint32_t slot_id) {
  Slot& slot = slots_[slot_id];
  if (--slot.lease_count > 0) return false;
  Class& of_slot = class_of_slot(slot_id);
  ++of_slot.idle_count;
  if (slot.state == SlotState::kReading) ++of_slot.idle_reading_count;
  return true;
}

void SlotTable::withhold(std::uint32_t slot_id) {
  Class& of_slot = class_of_slot(slot_id);
  of_slot.withheld.push_back(slot_id);
  --of_slot.idle_count;
  --limits_.counts[plan_.class_of_slot(slot_id)];
}

void SlotTable::restore(std::size_t slot_class, std::size_t count) {
  Class& restored = classes_[slot_class];
  limits_.counts[slot_class] += count;
  restored.idle_count += count;
  for (; count > 0; --count) {
    restored.free.push_back(restored.withheld.back());
    restored.withheld.pop_back();
  }
}

std::size_t SlotTable::free_count() const {
  std::size_t count = 0;
  for (const Class& c : classes_) count += c.free.size();
  return count;
}

std::size_t SlotTable::idle_reading_count() const {
  std::size_t count = 0;
  for (const Class& c : classes_) count += c.idle_reading_count;
  return count;
}

}  // namespace flashmoe
