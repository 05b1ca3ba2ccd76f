// What of ExpertCache deals with the read queue.
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/stopwatch.h"
#include "experts/expert_cache.h"

namespace flashmoe {
// Adds the reads of `key` into an empty slot to requests_, which the caller submits.
void ExpertCache::start_reading(std::uint32_t slot_id, ExpertKey key, LoadCause cause) {
  if (table_.reading_count() == 0) {
    reading_watch_ = Stopwatch();
    reads_begun_ = 0;
  }
  ++reads_begun_;
  const ExpertPlacement place = store_.placement(key);
  table_.begin_reading(slot_id, key, cause, place.read_count);
  policy_->on_loaded(key, cause);

  std::byte* const base = memory_.data(slot_id);
  const std::span<const ExpertSegment> parts = store_.segments(key);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    segments_[slot_id][i] = {base + place.segment_offsets[i], parts[i].size};
  }
  for (std::size_t i = 0; i < place.read_count; ++i) {
    const ExpertPlacement::Read& read = place.reads[i];
    requests_.push_back({.file = &store_.file(read.file_index),
                         .offset = read.offset,
                         .destination = base + read.slot_offset,
                         .size = read.size,
                         .tag = slot_id,
                         .padded = read.padded});
  }
  new_slots_.push_back(slot_id);
}

// Submits the reads of new_slots_. On failure none was begun.
Status ExpertCache::submit_reads() {
  if (new_slots_.empty()) return Status();
  Status status = queue_->submit(requests_);
  if (!status.ok()) {
    for (const std::uint32_t slot_id : new_slots_) fail(slot_id);
  } else if (queue_->needs_poll()) {
    pump_.wake();
  }
  return status;
}

// Called by the pump. A thread that waits in the queue passes reads on, but may go away.
bool ExpertCache::pump() {
  const std::lock_guard lock(mutex_);
  collect_finished_reads();
  return queue_taken_ || queue_->needs_poll();
}

// Waits until something happens to the reads in flight; the caller looks whether it is what it
// waits for.
void ExpertCache::wait_for_disk(std::unique_lock<std::mutex>& lock) {
  Stopwatch watch;
  if (queue_taken_ || submitters_waiting_ > 0) {
    queue_changed_.wait(lock);
  } else {
    queue_taken_ = true;
    lock.unlock();
    const std::size_t count = queue_->poll(completions_, /*wait=*/true);
    lock.lock();
    queue_taken_ = false;
    FM_CHECK(count > 0);  // a slot in state kReading has reads in flight
    collect_reads(count, /*waited=*/true);
  }
  statistics_.wait_seconds += watch.lap();
}

// Waits until nobody is in the queue, before those who want to wait in it.
void ExpertCache::take_turn(std::unique_lock<std::mutex>& lock) {
  ++submitters_waiting_;
  queue_changed_.wait(lock, [this] { return !queue_taken_; });
  --submitters_waiting_;
  queue_changed_.notify_all();  // wakes those who let us go first
}

// Books what has ended, unless a thread waits in the queue, which then does.
void ExpertCache::collect_finished_reads() {
  if (table_.reading_count() == 0 || queue_taken_) return;
  collect_reads(queue_->poll(completions_, /*wait=*/false), /*waited=*/false);
}

// Books the first `count` of completions_. `waited`: they have ended just now.
void ExpertCache::collect_reads(std::size_t count, bool waited) {
  for (const ReadCompletion& completion : std::span(completions_).first(count)) {
    const auto slot_id = static_cast<std::uint32_t>(completion.tag);
    if (!completion.status.ok() && errors_[slot_id].ok()) {
      const ExpertKey key = table_[slot_id].key;
      errors_[slot_id] = completion.status.with_prefix(
          fmt::format("expert store: layer {} expert {}", key.layer.value, key.expert.value));
    }
    if (table_.end_read(slot_id)) finish_reading(slot_id);
  }
  read_statistics_ = queue_->statistics();
  if (count == 0) return;
  queue_changed_.notify_all();
  if (table_.reading_count() > 0) return;
  const double seconds = reading_watch_.lap();
  statistics_.reading_seconds += seconds;
  statistics_.read_count += reads_begun_;
  if (!waited) return;
  statistics_.timed_read_count += reads_begun_;
  statistics_.timed_reading_seconds += seconds;
}

void ExpertCache::finish_reading(std::uint32_t slot_id) {
  if (!errors_[slot_id].ok()) {
    fail(slot_id);
    return;
  }
  const Slot& slot = table_[slot_id];
  if (slot.cause == LoadCause::kRestored) ++statistics_.prefetch_count;
  if (slot.cause == LoadCause::kPlaced) ++statistics_.exchange_count;
  table_.arrive(slot_id);
  statistics_.bytes_wanted += store_.expert_size(slot.key.layer);
}

// All reads into the slot have ended, or were not begun.
void ExpertCache::fail(std::uint32_t slot_id) {
  table_.fail(slot_id);
  policy_->on_dropped(table_[slot_id].key);
  if (table_[slot_id].lease_count == 0) free_slot(slot_id);
}

}  // namespace flashmoe
