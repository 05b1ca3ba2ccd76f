#include "experts/resident_set_keeper.h"

#include <algorithm>
#include <utility>

namespace flashmoe {

ResidentSetKeeper::ResidentSetKeeper(Options options, const ExpertStore& store, ExpertCache& cache)
    : options_(std::move(options)), cache_(cache) {
  known_.layers.resize(store.layer_count());
  load(store);
}

void ResidentSetKeeper::load(const ExpertStore& store) {
  Result<ResidentSet> set =
      read_resident_set(options_.path, options_.identity, store.expert_counts());
  if (!set.ok()) {
    if (set.status().code() == StatusCode::kNotFound) return;
    // What is not known to be ours is not ours to replace.
    may_write_ = set.status().code() == StatusCode::kInvalidArgument;
    warn(set.status().with_prefix(may_write_
                                      ? "no experts are restored"
                                      : "no experts are restored, and the file stays as it is"));
    return;
  }
  known_ = *std::move(set);
  std::vector<ExpertKey> wanted = by_rank(known_);
  // As many as there are slots of their size.
  LayerSlots left = cache_.slot_limits();
  std::erase_if(wanted, [&left](ExpertKey key) {
    std::size_t& count = left.counts[left.class_of(key.layer)];
    return count == 0 || count-- == 0;
  });
  sort_in_file_order(store, wanted);
  prefetcher_.emplace(cache_, std::move(wanted));
}

ResidentSetKeeper::~ResidentSetKeeper() {
  prefetcher_.reset();
  if (const Status status = save(); !status.ok()) {
    warn(status.with_prefix("the experts in use are not kept for the next run"));
  }
}

void ResidentSetKeeper::after_step() {
  if (++step_count_ % kSaveInterval != 0) return;
  // If it cannot be written now, perhaps it can at the end; that failure is told.
  static_cast<void>(save());
}

Status ResidentSetKeeper::save() {
  if (!may_write_) return Status();
  ResidentSet set = cache_.resident_set();
  append_missing(set, known_);
  if (set == known_) return Status();
  FM_RETURN_IF_ERROR(write_resident_set(options_.path, options_.identity, set));
  known_ = std::move(set);
  return Status();
}

void ResidentSetKeeper::warn(const Status& status) const {
  if (options_.on_warning) options_.on_warning(status);
}

}  // namespace flashmoe
